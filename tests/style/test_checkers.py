#!/usr/bin/env python3
"""test_checkers: the checkers of this folder find what they are there to find.

Each row plants one file into an empty tree with the real docs/architecture.md and says what the
checker must print, or that it must be content.
"""

import pathlib
import sys
import tempfile

import include_layers
import sizes

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

LAYERS = [  # name, path, text, what must be said (None: content)
    ("lower room of hbone", "hbone/relay.c", "#include <hbone/stream.h>\n", None),
    ("upper room of hbone", "hbone/stream.c", "#include <hbone/relay.h>\n", "stands above it"),
    ("hbone knows no agent", "hbone/tcp.c", '#include "mesh/store.h"\n', "not for this room"),
    ("hbone knows no kernel map", "hbone/tcp.c", "#include <culvert/maps.h>\n", "not for this room"),
    ("a word hbone does not know", "hbone/waypoint.c", "#include <hbone/base.h>\n", "no word"),
    ("proxy never sees control", "agent/proxy/pod.c", '#include "control/certs.h"\n', "not for this room"),
    ("control never sees proxy", "agent/control/ca.c", '#include "proxy/flow.h"\n', "not for this room"),
    ("mesh has no sockets", "agent/mesh/route.c", "#include <sys/socket.h>\n", "never know"),
    ("mesh has no loop", "agent/mesh/route.c", "#include <hbone/loop.h>\n", "not for this room"),
    ("mesh has addresses", "agent/mesh/route.c", "#include <hbone/addr.h>\n", None),
    ("bpf has no libc", "bpf/x.bpf.c", "#include <stdio.h>\n", "not for this room"),
    ("bpf reads the shared header", "bpf/x.bpf.c", "#include <culvert/maps.h>\n", None),
    ("a skeleton outside node", "agent/proxy/x.c", '#include "connect.skel.h"\n', "not for this room"),
    ("a skeleton in node", "agent/node/x.c", '#include "connect.skel.h"\n', None),
    ("a vendor in the wrong file", "hbone/relay.c", "#include <openssl/ssl.h>\n", "OpenSSL is only for"),
    ("a vendor in its file", "hbone/tls.c", "#include <openssl/ssl.h>\n", None),
    ("two vendors", "hbone/tls.c", "#include <openssl/ssl.h>\n#include <liburing.h>\n", "two vendors"),
    ("culvertctl stands alone", "agent/ctl/c.c", "#include <hbone/addr.h>\n", "not for this room"),
    ("main may all", "agent/main.c", '#include "control/certs.h"\n#include "proxy/flow.h"\n', None),
    ("a header that is not there", "agent/main.c", '#include "gone.h"\n', "not in the tree"),
    ("a folder without a row", "extra/x.c", "#include <stdio.h>\n", "no row"),
]

SIZES = [
    ("599 lines", "hbone/a.c", "\n" * 599, None),
    ("600 lines", "hbone/a.c", "\n" * 600, "must be under 600"),
    ("main of 149", "agent/main.c", "\n" * 149, None),
    ("main of 150", "agent/main.c", "\n" * 150, "must be under 150"),
    ("function of 100", "hbone/a.c", "int f(void)\n{\n" + "\t;\n" * 100 + "}\n", None),
    ("function of 101", "hbone/a.c", "int f(void)\n{\n" + "\t;\n" * 101 + "}\n", "at most 100"),
]

# Headers that the rows above include.
PLANTED = ["include/culvert/maps.h", "include/hbone/base.h", "include/hbone/stream.h", "include/hbone/relay.h",
           "include/hbone/loop.h", "include/hbone/addr.h", "agent/mesh/store.h", "agent/control/certs.h", "agent/proxy/flow.h"]


def run(check, path, text):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in PLANTED + ["docs/architecture.md", path]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("")
        (root / "docs/architecture.md").write_text((ROOT / "docs/architecture.md").read_text())
        (root / path).write_text(text)
        return "\n".join(check(root, path))


def layers(root, path):
    return include_layers.check_file(root, include_layers.Rules(root), path)


def main():
    failed = 0
    for check, rows in ((layers, LAYERS), (sizes.check, SIZES)):
        for name, path, text, said in rows:
            got = run(check, path, text)
            if (got != "") if said is None else (said not in got):
                failed += 1
                print(f"{name}: expected {said or 'no complaint'!r}, got {got!r}")
    print(f"{len(LAYERS) + len(SIZES) - failed} rows right, {failed} wrong")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

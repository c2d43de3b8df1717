#!/usr/bin/python3
"""secrets: is anything secret in a log? Exit status 1, and the log's name, where it is.

    secrets.py --token FILE... --keys-of PID... --log FILE...

Secret are the tokens, and every private key that the processes hold as PEM in their memory now (it is an error if
one holds none, for then nothing was tried). They are looked for as bytes, in hex (with colons too), and in Base64
at each of its three alignments, also where lines break it as in PEM, and in what is itself in Base64, as the
certificates of a dump are.
"""

import argparse
import base64
import pathlib
import re
import sys

PEM = re.compile(rb"-----BEGIN (?:EC )?PRIVATE KEY-----\n([A-Za-z0-9+/=\n]{100,400})-----END (?:EC )?PRIVATE KEY-----")
RUN = re.compile(rb"[A-Za-z0-9+/]{64,}")  # may be Base64 of something
MAPPING_MAX = 1 << 30  # bytes; larger is a sanitizer's shadow, which has terabytes of nothing
SCALAR = b"\x02\x01\x01\x04\x20"  # RFC 5915: version 1, then an octet string of 32 bytes


def keys_in_memory(pid):
    """32 bytes each."""
    found = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, access, _, _, inode, *_ = line.split()
            if not access.startswith("rw") or inode != "0":
                continue
            start, end = (int(part, 16) for part in where.split("-"))
            if end - start > MAPPING_MAX:
                continue
            while start < end:
                try:
                    memory.seek(start)
                    piece = memory.read(min(end - start, 16 << 20))
                except (OSError, OverflowError, ValueError):
                    break  # the kernel's own, or not there
                if not piece:
                    break
                for match in PEM.finditer(piece):
                    der = base64.b64decode(match.group(1))
                    at = der.find(SCALAR)
                    if at >= 0:
                        found.add(der[at + len(SCALAR):][:32])
                start += len(piece)
    return found


def forms(secret):
    """How it could stand in a text."""
    yield secret
    for text in (secret.hex(), secret.hex(":")):
        yield text.encode()
        yield text.upper().encode()
    for shift in range(3):
        # The first and last characters depend on what is beside it.
        yield base64.b64encode(b"\0" * shift + secret)[4 if shift else 0:-4]


def unbroken(text):
    return text.replace(b"\n", b"").replace(b"\\n", b"")


def layers(text):
    """@text, without line breaks, and with all that is Base64 in it decoded, from wherever it may begin."""
    decoded = []
    for run in RUN.findall(text):
        for start in range(4):
            decoded.append(base64.b64decode(run[start:start + (len(run) - start) // 4 * 4]))
    inside = b"\0".join(decoded)
    return [text, unbroken(text), inside, unbroken(inside)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--token", nargs="+", type=pathlib.Path, default=[])
    parser.add_argument("--keys-of", nargs="+", type=int, default=[])
    parser.add_argument("--log", nargs="+", type=pathlib.Path, required=True)
    options = parser.parse_args()
    secrets = [("token", token.read_bytes().strip()) for token in options.token]
    for pid in options.keys_of:
        keys = keys_in_memory(pid)
        if not keys:
            sys.exit(f"process {pid} holds no private key that could be looked for")
        secrets += [("private key", key) for key in keys]
    logs = {path: path.read_bytes() for path in options.log}
    found = [f"{path.name}: a {what}" for path, whole in logs.items() for text in layers(whole)
             for what, secret in secrets if any(form in text for form in forms(secret))]
    if found:
        sys.exit("\n".join(found))
    print(f"{len(secrets)} secrets, none of them in {sum(map(len, logs.values()))} bytes of logs")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""test_controlclient: our client of a control plane (gRPC, xDS, certificates; controlclient.c) over TLS against the test
control plane: all that is served is in the store, and whatever goes wrong, it is so again.

    test_controlclient.py CONTROLCLIENT
"""

import os
import queue
import re
import subprocess
import sys
import threading
import time
import unittest

from test_controlplane import Plane  # ends with 77 where it cannot run

CLIENT = "spiffe://cluster.local/ns/demo/sa/client"


class Client:
    """A process, and the lines that it has said."""

    def __init__(self, plane, *identities, token="good"):
        (plane.path / "token").write_text(token + "\n")
        self.process = subprocess.Popen(
            [PROGRAM, f"https://127.0.0.1:{plane.port}", str(plane.path / "root.pem"), str(plane.path / "token"),
             "node-a", *identities],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})  # it ends in the middle of things
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(line.rstrip()) for line in self.process.stdout],
                         daemon=True).start()

    def until(self, want):
        """The first line from here on that matches; what came before it is in the error."""
        seen, end = [], time.monotonic() + 20
        while True:
            try:
                seen.append(self.lines.get(timeout=max(0, end - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"{want!r} is not among {seen[-20:]}") from None
            if re.search(want, seen[-1]):
                return seen[-1]

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        return status


class Together(unittest.TestCase):
    options = ()

    def setUp(self):
        self.plane = Plane(*self.options)
        self.addCleanup(self.plane.close)

    def client(self, *identities, **fields):
        client = Client(self.plane, *identities, **fields)
        self.addCleanup(lambda: self.assertEqual(client.close(), 0))
        return client

    def settle(self):
        self.plane.say("streams", "1", "20")

    def test_all_of_it_and_what_changes(self):
        client = self.client()
        client.until("^ready")
        self.settle()
        mesh = self.plane.path / "mesh"
        (mesh / "policies.yaml").write_text("")
        self.plane.say("reload")
        client.until("^published 2 1 0")
        (mesh / "more.yaml").write_text(
            "services:\n- {name: more, namespace: demo, hostname: more, vips: [/10.96.0.9], ports: {}}\n")
        self.plane.say("reload")
        client.until("^published 2 2 0")
        self.settle()
        self.plane.say("no-nacks")
        self.plane.say("no-violations")

    def test_one_bad_among_good_ones(self):
        client = self.client()
        client.until("^ready")
        self.plane.say("put", "address", "lab//Pod/demo/bad", "ff")
        self.assertRegex(self.plane.say("expect-nack", "20", "address"), "^3 lab//Pod/demo/bad: ")
        client.until("^nack lab//Pod/demo/bad: ")
        self.plane.say("huge", "10")
        client.until("^published 12 1 1")
        self.plane.say("no-violations")

    def test_ends_of_every_kind(self):
        client = self.client()
        client.until("^ready")
        for commands in (["goaway 0.2"], ["cut"], ["restart"], ["end unavailable gone"],
                         ["fail resource-exhausted request rate limit exceeded", "cut"],
                         ["end resource-exhausted received message larger than max"]):
            self.settle()
            for command in commands:
                self.plane.say(*command.split())
            client.until("^published 2 1 1")
        # In the middle of a message, nothing of which may be believed.
        self.settle()
        self.plane.say("cut-after", "100000")
        self.plane.say("huge", "5000")
        client.until("^published 5002 1 1")
        self.plane.say("huge", "0")
        client.until("^published 2 1 1")
        self.settle()
        self.plane.say("no-violations")
        self.plane.say("no-nacks")

    def test_what_is_gone_while_it_is_away(self):
        client = self.client()
        client.until("^ready")
        self.settle()
        self.plane.say("away")
        (self.plane.path / "mesh/policies.yaml").write_text("")
        self.plane.say("remove", "address", "lab//Pod/demo/server")
        self.plane.say("remove", "policy", "demo/refuse")
        self.plane.say("back")
        client.until("^published 1 1 0")

    def test_shapes_of_pushes(self):
        for shape in ("reverse", "duplicate", "twice", "policies-first", "split 1"):
            self.plane.say("shape", *shape.split())
            client = self.client()
            client.until("^published 2 1 1")
            self.settle()
            self.plane.say("no-nacks")
            self.plane.say("no-violations")

    def test_certificates(self):
        other = "spiffe://cluster.local/ns/demo/sa/server"
        self.plane.say("ca-ttl", "1000")
        client = self.client(CLIENT, other)
        said = {client.until("^(certificate|refused) ") for _ in range(2)}
        self.assertIn(f"certificate {CLIENT} 1000", said)
        self.assertTrue(any(line.startswith(f"refused {other} ") and
                            "request impersonation authentication failure" in line for line in said), said)

    def test_certificates_that_are_wrong(self):
        for kind in ("no-root", "empty", "garbage", "other-identity", "other-key"):
            self.plane.say("ca-fault", kind)
            line = self.client(CLIENT).until("^(certificate|refused) ")
            self.assertTrue(line.startswith("refused "), (kind, line))

    def test_who_is_not_let_in(self):
        client = self.client(CLIENT, token="bad")
        either = "^(refused .*request authenticate failure|ended .*authentication failure)"
        self.assertEqual({client.until(either).split()[0] for _ in range(2)}, {"refused", "ended"})
        (self.plane.path / "token").write_text("good\n")  # it is read again
        client.until("^ready")

    def test_servers_that_are_not_it(self):
        for kind in ("expired", "other-name", "other-root"):
            self.plane.say("certificate", kind)
            client = self.client()
            client.until("^ended could not connect")
            self.plane.say("certificate", "good")
            client.until("^ready")


class SmallRequests(Together):
    """The server takes 128 KiB: what we have cannot be told as a whole."""

    options = ("--max-request", "131072")

    def test_a_large_mesh_again(self):
        client = self.client()
        client.until("^ready")
        self.plane.say("huge", "5000")
        client.until("^published 5002 1 1")
        self.settle()
        self.plane.say("shape", "split", "2000")
        self.plane.say("away")
        self.plane.say("remove", "address", "lab//Pod/demo/server")
        self.plane.say("back")
        # Three parts, and the policies: nothing goes because it has not been told yet. Then what was not told does.
        for _ in range(4):
            self.assertRegex(client.until("^published"), "^published 5002 1 1")
        client.until("^published 5001 1 1")
        self.settle()
        self.plane.say("no-violations")


for inherited in [name for name in dir(Together) if name.startswith("test_")]:
    setattr(SmallRequests, inherited, None)

if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()

"""The benchmark's own tools tell the truth: over loopback, with no root and no agents.

Run as: test_tools.py DIRECTORY_OF_load_AND_relay
"""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import cells  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402
import wire  # noqa: E402

TOOLS = sys.argv.pop(1) if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]) else "."
WAIT_S = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def words(text):
    return dict(word.split("=", 1) for word in text.split())


class Started(unittest.TestCase):
    """Each test has a server of its own, and a relay before it."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.far = os.path.join(self.directory.name, "far")
        self.sink, self.echo, self.source = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.server = self.start("load", "server", "--sink", self.sink, "--echo", self.echo,
                                 "--source", self.source, "--far", self.far)

    def start(self, *command):
        process = subprocess.Popen([os.path.join(TOOLS, command[0]), *command[1:]], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), "ready\n", command)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.communicate()

    def relay_to(self, target, tool="relay"):
        address = f"127.0.0.1:{free_port()}"
        self.start(tool, address, target)
        return address

    def client(self, *arguments, status=0):
        done = subprocess.run([os.path.join(TOOLS, "load"), *arguments, "--warm", "0.05",
                               "--seconds", "0.2"], text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=WAIT_S, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return words(done.stdout) if status == 0 else done.stderr


class Clients(Started):
    def test_bulk_counts_what_arrived_and_what_it_cost(self):
        found = self.client("bulk", "--to", self.sink, "--conns", "4", "--far", self.far,
                            "--agent", str(self.server.pid))
        gbps = int(found["bytes"]) * 8 / 1e9 / float(found["seconds"])
        self.assertGreater(int(found["bytes"]), 0)
        self.assertAlmostEqual(float(found["gbps"]), gbps, delta=0.01 * gbps)
        self.assertGreater(float(found["agents_s"]), 0)
        self.assertGreater(float(found["apps_s"]), 0)
        with open(self.far, "rb") as file:
            arrived = int.from_bytes(file.read(8), sys.byteorder)
        self.assertGreaterEqual(arrived, int(found["bytes"]))

    def test_pull_counts_what_arrived_here(self):
        for target in (self.source, self.relay_to(self.source, "splice")):
            found = self.client("pull", "--to", target, "--conns", "4",
                                "--agent", str(self.server.pid))
            gbps = int(found["bytes"]) * 8 / 1e9 / float(found["seconds"])
            self.assertGreater(int(found["bytes"]), 0)
            self.assertAlmostEqual(float(found["gbps"]), gbps, delta=0.01 * gbps)
            self.assertGreater(float(found["agents_s"]), 0)

    def test_an_open_loop_sends_what_is_due_and_no_more(self):
        found = self.client("open", "--to", self.relay_to(self.echo), "--conns", "3",
                            "--rate", "2000")
        self.assertEqual(found["done"], "400")
        self.assertLessEqual(float(found["p50_us"]), float(found["p99_us"]))
        self.assertLessEqual(float(found["p99_us"]), float(found["p999_us"]))

    def test_pingpong_and_connect_count_round_trips(self):
        for mode in ("pingpong", "connect"):
            found = self.client(mode, "--to", self.relay_to(self.echo), "--conns", "8")
            self.assertGreater(int(found["done"]), 8, mode)
            self.assertEqual(found["errors"], "0", mode)
            self.assertLessEqual(float(found["p50_us"]), float(found["p99_us"]), mode)

    def test_hold_keeps_all_until_told(self):
        command = [os.path.join(TOOLS, "load"), "hold", "--to", self.echo, "--conns", "200"]
        with subprocess.Popen(command, text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as holder:
            line = words(holder.stdout.readline())
            self.assertEqual((line["mode"], line["conns"]), ("hold", "200"))
            self.assertGreater(float(line["p50_us"]), 0)
            held = len(os.listdir(f"/proc/{self.server.pid}/fd"))
            self.assertGreaterEqual(held, 200)
            out, _ = holder.communicate(timeout=WAIT_S)
        self.assertEqual(out, "lost=0\n")

    def test_nobody_listens(self):
        nobody = f"127.0.0.1:{free_port()}"
        self.assertIn("refused", self.client("pingpong", "--to", nobody, status=1))
        self.assertIn("refused", self.client("connect", "--to", nobody, status=1))
        self.assertIn("refused", self.client("open", "--to", nobody, status=1))

    def test_bad_arguments(self):
        for arguments in (["pingpong"], ["pingpong", "--to", "nowhere"], ["no-such-role"],
                          ["bulk", "--to", self.sink], ["hold", "--to", self.echo, "--conns", "0"],
                          ["pingpong", "--to", self.echo, "--size", "1e9"]):
            self.assertIn("load", self.client(*arguments, status=2))


class Peers(Started):
    """A server written here, that answers as it is told."""

    def serve(self, answer):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def loop():
            try:
                stream, _ = listener.accept()
                with stream:
                    while data := stream.recv(65536):
                        stream.sendall(answer(data))
            except OSError:
                return  # the test is over

        threading.Thread(target=loop, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def test_an_echo_that_differs_is_an_error(self):
        target = self.serve(lambda data: data[:-1] + b"?")
        self.assertIn("differs", self.client("pingpong", "--to", target, status=1))

    def test_latency_is_at_least_the_server_s(self):
        late = threading.Event()  # never set: waits its whole time
        target = self.serve(lambda data: late.wait(0.02) or data)
        found = self.client("pingpong", "--to", target)
        self.assertGreaterEqual(float(found["p50_us"]), 20000 * 0.99)
        self.assertGreaterEqual(float(found["p99_us"]), float(found["p50_us"]))


    def test_an_open_loop_counts_from_when_it_was_due(self):
        """One stall of 100 ms: whatever was due meanwhile waited too, and is told so."""
        late = threading.Event()  # never set: waits its whole time
        stalls = iter([False] * 80 + [True])
        target = self.serve(lambda data: (next(stalls, False) and late.wait(0.1)) or data)
        found = self.client("open", "--to", target, "--conns", "1", "--rate", "1000",
                            "--size", "64")
        self.assertEqual(found["done"], "200")
        # Of 200 messages 100 fell into the stall, evenly; a closed loop would have one.
        self.assertGreater(float(found["p99_us"]), 80000)
        self.assertIn("differs", self.client("open", "--to", self.serve(lambda data: b"?" + data),
                                             status=1))


class Relay(Started):
    def test_every_byte_and_half_close_pass_a_slow_reader(self):
        """All is sent before any echo is read, and more than the sockets between can hold."""
        for tool in ("relay", "splice"):
            with self.subTest(tool):
                self.pass_a_slow_reader(tool)

    def pass_a_slow_reader(self, tool):
        host, port = self.relay_to(self.relay_to(self.echo, tool), tool).split(":")
        sent = os.urandom(1 << 20) * 48
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as stream:
            def write():
                stream.sendall(sent)
                stream.shutdown(socket.SHUT_WR)

            writer = threading.Thread(target=write)
            writer.start()
            writer.join(0.3)
            got = bytearray()
            while data := stream.recv(1 << 16):
                got += data
            writer.join(WAIT_S)
        self.assertEqual(len(got), len(sent))
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(sent).digest())

    def test_a_refused_target_ends_the_connection(self):
        for tool in ("relay", "splice"):
            host, port = self.relay_to(f"127.0.0.1:{free_port()}", tool).split(":")
            with socket.create_connection((host, int(port)), timeout=WAIT_S) as stream:
                self.assertEqual(stream.recv(1), b"", tool)

    def test_a_client_that_resets_does_not_end_a_relay(self):
        for tool in ("relay", "splice"):
            address = self.relay_to(self.source, tool)
            host, port = address.split(":")
            for _ in range(20):
                with socket.create_connection((host, int(port)), timeout=WAIT_S) as stream:
                    self.assertTrue(stream.recv(1), tool)  # and leaves the rest unread
            self.assertGreater(int(self.client("pull", "--to", address)["bytes"]), 0)


class Wire(unittest.TestCase):
    # RFC 8446 4.1.3 by hand: cipher 0x1301; supported_versions 0x0304, key_share X25519
    BODY = (b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x01\x00" + b"\x00\x2e" +
            b"\x00\x33\x00\x24\x00\x1d\x00\x20" + bytes(32) + b"\x00\x2b\x00\x02\x03\x04")
    HELLO = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76" + BODY
    # IPv4, protocol TCP, 40 bytes of headers; the tail is Ethernet's padding
    FRAME = (bytes(12) + b"\x08\x00\x45\x00" + (40 + len(HELLO)).to_bytes(2, "big") + bytes(5) +
             b"\x06" + bytes(10) + bytes(12) + b"\x50" + bytes(7) + HELLO + bytes(6))

    def test_a_server_hello_tells_what_was_chosen(self):
        payload = wire.tcp_payload(self.FRAME)
        self.assertEqual(payload, self.HELLO)
        self.assertEqual(wire.describe(payload), "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519")

    def test_what_is_none_is_none(self):
        client_hello = self.HELLO[:5] + b"\x01" + self.HELLO[6:]
        for payload in (b"", self.HELLO[:40], client_hello, b"GET / HTTP/1.1\r\n" * 8):
            self.assertIsNone(wire.describe(payload), payload)


class Report(unittest.TestCase):
    ROUNDS = {
        "direct": [{"up1_gbps": value, "open_p50": 60.0} for value in (40.0, 44.0, 42.0)],
        "haproxy": [{"up1_gbps": 10.0, "idle_kb": 50.0}],
        "mine": [{"up1_gbps": 21.0, "idle_kb": 0.25, "connect_errors": 2, "open_p50": 100.0,
                  "start_mb": 20.0, "burst_mb": 24.0}],
        "broken": [],
    }

    def row(self, text, start):
        return next(line for line in text.splitlines() if line.startswith(start)).split()[-3:]

    def test_medians_and_ratios(self):
        self.assertEqual(report.medians(self.ROUNDS["direct"]),
                         {"up1_gbps": 42.0, "open_p50": 60.0})
        self.assertEqual(report.all_medians(self.ROUNDS)["mine"]["open_added"], 40.0)
        text = report.ratio_table(self.ROUNDS, "direct")
        self.assertEqual(self.row(text, "upload, 1 conn"), ["up", "0.24x", "0.50x"])
        text = report.ratio_table(self.ROUNDS, "haproxy")
        self.assertEqual(self.row(text, "idle"), ["down", "-", "0.005x"])

    def test_a_pair_without_figures_is_a_dash(self):
        self.assertEqual(self.row(report.figures_table(self.ROUNDS), "upload, 1 conn"),
                         ["10.00", "21.00", "-"])

    def test_rounds_far_apart_are_marked(self):
        text = report.figures_table({"direct": [{"up1_gbps": 10.0}, {"up1_gbps": 20.0}]})
        self.assertIn("15.00~", text)

    def test_failures_and_a_busy_machine_are_told(self):
        text = report.render(self.ROUNDS, [0.01, 0.2, 0.3])
        self.assertIn("mine: 2 short connections failed", text)
        self.assertIn("do not publish", text)
        self.assertNotIn("do not publish", report.render(self.ROUNDS, [0.01]))
        self.assertIn("do not publish", report.render({"mine": [{"others_share": 0.3}]}, [0.01]))


class Targets(unittest.TestCase):
    TEXT = """# comment
mine up1_gbps haproxy >=2 >=3
mine idle_kb  haproxy <=0.1 -   # words
mine burst_mb own:start_mb <=1.15 -
mine idle_kb  value - <=0.2
mine up1_gbps absent >=1 -
"""

    def verdicts(self, text):
        return [row[3] for row in targets.rows(targets.parse(text),
                                               report.all_medians(Report.ROUNDS))]

    def test_each_is_met_or_missed(self):
        self.assertEqual(self.verdicts(self.TEXT), ["met", "met", "missed", "aim missed"])
        self.assertEqual(self.verdicts("mine up1_gbps haproxy >=2 >=2.1"), ["met, aim too"])
        text = report.render(Report.ROUNDS, [0.01], targets.parse(self.TEXT))
        self.assertIn("mine: 1 of 4 targets missed", text)
        self.assertIn("own start", text)

    def test_the_file_names_what_there_is(self):
        known = {key for key, *_ in report.METRICS}
        for goal in targets.load():
            self.assertIn(goal.metric, known)
            base = goal.baseline.removeprefix("own:")
            self.assertTrue(base in known if base != goal.baseline else True, goal)
            for pair in goal.pairs:
                self.assertTrue(os.path.exists(os.path.join(HERE, "pairs", pair + ".sh")), pair)

    def test_a_line_that_is_none(self):
        for line in ("mine up1_gbps haproxy", "mine up1_gbps haproxy 2 3", "a b c >=x -"):
            with self.assertRaisesRegex(ValueError, "line 1"):
                targets.parse(line)


class Cells(unittest.TestCase):
    def test_choosing(self):
        self.assertEqual(cells.choose(None), list(cells.CELLS))
        self.assertEqual(cells.choose("up,idle,down16"),
                         ["idle", "up1", "up16", "up128", "down16"])
        with self.assertRaisesRegex(ValueError, "pong"):
            cells.choose("idle,pong")


if __name__ == "__main__":
    unittest.main()

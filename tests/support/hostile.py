#!/usr/bin/env python3
"""hostile: does one attack to an agent and says what it did to it and to a good client alongside.

    hostile.py good ADDRESS PORT FILE            asks for /small over new connections until SIGTERM; notes each in FILE
    hostile.py quiet FILE                        waits for five seconds of the good client, and prints its p99 in ms
    hostile.py try ATTACK --address A --app-port P --cert C --key K --ca R --agent PID --good FILE --quiet MS --log FILE
                --admin SOCK
    hostile.py attacks                           lists them

A try prints a line per outcome and one about the agent: the good client's errors (none are allowed), its p99 and the
ratio to when it is quiet, the agent's memory at its peak and kept, its descriptors. Exit status 1: an attack did not
end as it has to, the good client saw an error, or descriptors are left.
"""

import argparse
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import hostile_attacks  # noqa: E402
from hostile_peer import Target  # noqa: E402

SMALL = 1024  # bytes of /small
AT_LEAST_S = 1.5  # shorter attacks are done again until then, to see what they do to others
PACE_S = 0.025
FDS_BACK_S = 12  # the agent lingers 5 s for the last words of a peer
SETTLE_S = 8  # it gives memory back a little later

# ---- the good client ----


def ask(address, port):
    """None, or what went wrong."""
    try:
        with socket.create_connection((address, port), timeout=10) as sock:
            sock.sendall(b"GET /small HTTP/1.0\r\nHost: good\r\n\r\n")
            answer = b""
            while data := sock.recv(65536):
                answer += data
    except OSError as error:
        return type(error).__name__
    head, _, body = answer.partition(b"\r\n\r\n")
    return None if b" 200 " in head[:16] and len(body) == SMALL else f"wrong-answer-of-{len(answer)}-bytes"


def be_good(address, port, path):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(path, "w", buffering=1) as notes:
        while not stop.is_set():
            began = time.monotonic()
            error = ask(address, port)
            took = time.monotonic() - began
            notes.write(f"{began:.6f} {took * 1000:.3f} {error or '-'}\n")
            stop.wait(max(0.0, PACE_S - took))
    return 0


def notes_between(path, begin, end):
    """(latencies in ms, errors) of the requests that were under way between the two."""
    times, errors = [], []
    for line in pathlib.Path(path).read_text().splitlines():
        fields = line.split()
        if len(fields) != 3:
            continue  # being written
        at, took = float(fields[0]), float(fields[1])
        if at > end or at + took / 1000 < begin:
            continue
        times.append(took)
        if fields[2] != "-":
            errors.append(fields[2])
    return times, errors


def p99(times):
    return sorted(times)[int(len(times) * 0.99)] if times else 0.0


def tell_quiet(path):
    begin = time.monotonic()
    time.sleep(5)
    times, errors = notes_between(path, begin, time.monotonic())
    if errors or len(times) < 20:
        print(f"the good client is not well: {len(times)} requests, {errors[:3]}", file=sys.stderr)
        return 1
    print(f"{p99(times):.2f}")
    return 0


# ---- the agent ----


class Agent:
    def __init__(self, pid):
        self.pid = pid
        self.peak = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def rss(self):
        pages = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def watch(self):
        while not self.done.is_set():
            self.peak = max(self.peak, self.rss())
            self.done.wait(0.02)

    def base(self):
        """Descriptors as they are with the good client at work: the most of half a second."""
        most = 0
        for _ in range(25):
            most = max(most, self.fds())
            time.sleep(0.02)
        return most

    def fds_back(self, base):
        deadline = time.monotonic() + FDS_BACK_S
        while (fds := self.fds()) > base and time.monotonic() < deadline:
            time.sleep(0.05)
        return fds


    def settled(self, rss):
        deadline = time.monotonic() + SETTLE_S
        while (now := self.rss()) > rss + (4 << 20) and time.monotonic() < deadline:
            time.sleep(0.05)
        return now


def mib(size):
    return f"{size / (1 << 20):.1f}"


def repeat(attack, target):
    """Outcomes by what was done: the last, or the first that was wrong, with the most it took."""
    merged, times, begin = {}, 0, time.monotonic()
    while times == 0 or time.monotonic() - begin < AT_LEAST_S:
        times += 1
        for new in attack(target):
            old = merged.get(new.what, new)
            one = new if old.ok else old
            one.frames, one.seconds = max(old.frames, new.frames), max(old.seconds, new.seconds)
            merged[new.what] = one
    return list(merged.values()), times


def counted(path, mark):
    """The most frames that the agent counted before it ended a flood, by its log."""
    with open(path, "rb") as log:
        log.seek(mark)
        found = re.findall(rb"peer floods.* of=(\S.*) frames=(\d+)", log.read())
    most = max(found, key=lambda f: int(f[1]), default=None)
    return f"; the agent counted {most[1].decode()} frames until it was a flood of {most[0].decode()}" if most else ""


def tell(outcomes, times, log_says):
    again = f", {times} times" if times > 1 else ""
    for o in outcomes:
        after = f"{o.frames} frames sent, " if o.frames else ""
        say = log_says if "ENHANCE_YOUR_CALM" in o.how else ""
        print(f"    {'' if o.ok else 'WRONG '}{o.what}: {o.how}, after {after}{o.seconds:.2f} s{again}{say}")


def try_attack(args):
    target = Target(args.address, 15008, args.app_port, args.cert, args.key, args.ca)
    attack = hostile_attacks.attacks(args.admin)[args.attack]
    agent = Agent(args.agent)
    base, rss = agent.base(), agent.rss()
    mark = os.stat(args.log).st_size
    agent.thread.start()
    begin = time.monotonic()
    try:
        outcomes, times = repeat(attack, target)
        end = time.monotonic()
        fds, kept = agent.fds_back(base), agent.settled(rss) - rss
    finally:
        agent.done.set()
        agent.thread.join()
    requests, errors = notes_between(args.good, begin, end)
    tell(outcomes, times, counted(args.log, mark))
    now = p99(requests)
    print(
        f"    good client: {len(requests)} requests, {len(errors)} errors{' ' + errors[0] if errors else ''},"
        f" p99 {now:.1f} ms, {now / args.quiet:.1f} times quiet;"
        f" agent: {mib(agent.peak - rss)} MiB more at the peak, {mib(kept)} MiB kept,"
        f" descriptors {base} before, {fds} after"
    )
    return 0 if all(o.ok for o in outcomes) and not errors and requests and fds <= base else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    good = commands.add_parser("good")
    good.add_argument("address")
    good.add_argument("port", type=int)
    good.add_argument("file")
    commands.add_parser("quiet").add_argument("file")
    commands.add_parser("attacks")
    one = commands.add_parser("try")
    one.add_argument("attack")
    for name in ("address", "cert", "key", "ca", "good", "log", "admin"):
        one.add_argument("--" + name, required=True)
    one.add_argument("--app-port", type=int, required=True)
    one.add_argument("--agent", type=int, required=True)
    one.add_argument("--quiet", type=float, required=True)
    args = parser.parse_args()
    if args.command == "good":
        return be_good(args.address, args.port, args.file)
    if args.command == "quiet":
        return tell_quiet(args.file)
    if args.command == "attacks":
        print("\n".join(hostile_attacks.attacks("")))
        return 0
    return try_attack(args)


if __name__ == "__main__":
    sys.exit(main())

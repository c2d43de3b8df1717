#!/usr/bin/env python3
"""hostile: does one attack to an agent and says what it did to it and to a good client alongside.

    hostile.py good ADDRESS PORT FILE            asks for /small over new connections until SIGTERM; notes each in FILE
    hostile.py head                              prints the head of the table
    hostile.py try ATTACK --address A --app-port P --cert C --key K --ca R --agent PID --good FILE --log FILE
                --admin SOCK --kept-mib M [--seen-s S] --also NAME=PID...
    hostile.py attacks                           lists them

A try waits for some seconds without an attack, then for the attack. It prints a line per outcome, with how the attacker
was ended, and a row of the table: the good client's errors, its p99 when it was quiet and under the attack, what the
agent's memory grew by at its peak and what it kept, its descriptors. A second line says where the time went. Exit status
1: an attack did not end as it has to, the good client saw an error, more than M MiB are kept, or descriptors are left.
Latency is printed, not judged: an attack is repeated until REQUESTS of the good client's were under way meanwhile, so that
its p99 is the fifth worst of them or more. With --seen-s only those of the first S seconds count, after which it says
so: what others do to the good client from then on is not this attack's doing.
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
from hostile_cost import Cost  # noqa: E402
from hostile_peer import Target  # noqa: E402

SMALL = 1024  # bytes of /small
REQUESTS = 500  # shorter attacks are done again until so many, to see what they do to others
AT_MOST_S = 20  # but no longer
PACE_S = 0.004
FDS_BACK_S = 12  # the agent lingers 5 s for the last words of a peer
SETTLE_S = 40  # it gives memory back when it is calm, and where it never is, after half a minute

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


def quiet_p99(path):
    """In ms, or None: the good client is not well."""
    begin, times, errors = time.monotonic(), [], []
    while len(times) < REQUESTS and not errors and time.monotonic() - begin < AT_MOST_S:
        time.sleep(0.5)
        times, errors = notes_between(path, begin, time.monotonic())
    if errors or len(times) < REQUESTS:
        print(f"the good client is not well: {len(times)} requests, {errors[:3]}", file=sys.stderr)
        return None
    return p99(times)


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


def repeat(attack, target, good):
    """Outcomes by what was done: the last, or the first that was wrong, with the most it took."""
    merged, times, begin = {}, 0, time.monotonic()

    def is_enough(now):
        return now - begin > AT_MOST_S or len(notes_between(good, begin, now)[0]) >= REQUESTS

    while times == 0 or not is_enough(time.monotonic()):
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
        rate = f" ({o.frames / o.seconds:.0f}/s)" if o.seconds > 0 else ""
        after = f"{o.frames} frames sent{rate}, " if o.frames else ""
        say = log_says if "ENHANCE_YOUR_CALM" in o.how else ""
        print(f"    {'' if o.ok else 'WRONG '}{o.what}: {o.how}, after {after}{o.seconds:.2f} s{again}{say}")


ROW = "    {:<24} {:>8} {:>6} {:>9} {:>9} {:>6} {:>9} {:>9} {:>9}"
HEAD = ("attack", "requests", "errors", "quiet ms", "p99 ms", "ratio", "peak MiB", "kept MiB", "fds")


def tell_row(name, requests, errors, quiet, grown, kept, base, fds):
    now = p99(requests)
    cells = (name, len(requests), len(errors), f"{quiet:.1f}", f"{now:.1f}", f"{now / quiet:.1f}", mib(grown), mib(kept))
    print(ROW.format(*cells, f"{base}->{fds}"))


def tell_cost(turn_ms, each):
    used = ", ".join(f"{name} {cpu:.0f} % {waited:.2f}" for name, (cpu, waited) in each.items())
    print(f"      longest turn {turn_ms:.2f} ms; of a CPU, and ms waited for it each time: {used}")


class Look:
    """What the good client, and the cost, were during an attack: until it ends, or for its first @seconds."""

    def __init__(self, cost, seconds):
        self.cost, self.begin = cost, time.monotonic()
        self.timer = threading.Timer(seconds, self.done) if seconds else None
        if self.timer:
            self.timer.start()

    def done(self):
        self.end = time.monotonic()
        self.turn_ms, self.each = self.cost.end()
        if self.timer:
            print("    its first seconds have been looked at", flush=True)

    def finish(self):
        if self.timer:
            self.timer.join()
        else:
            self.done()


def try_attack(args):
    target = Target(args.address, 15008, args.app_port, args.cert, args.key, args.ca)
    attack = hostile_attacks.attacks(args.admin)[args.attack]
    agent = Agent(args.agent)
    quiet = quiet_p99(args.good)
    if quiet is None:
        return 1
    base, rss = agent.base(), agent.rss()
    mark = os.stat(args.log).st_size
    agent.thread.start()
    look = Look(Cost({"agent": args.agent} | dict(args.also), args.admin), args.seen_s)
    try:
        outcomes, times = repeat(attack, target, args.good)
        look.finish()
        fds, kept = agent.fds_back(base), agent.settled(rss) - rss
    finally:
        agent.done.set()
        agent.thread.join()
    requests, errors = notes_between(args.good, look.begin, look.end)
    tell(outcomes, times, counted(args.log, mark))
    tell_row(args.attack, requests, errors, quiet, agent.peak - rss, kept, base, fds)
    tell_cost(look.turn_ms, look.each)
    for error in sorted(set(errors)):
        print(f"    WRONG the good client saw {error}")
    well = not errors and requests and fds <= base and kept <= args.kept_mib << 20
    return 0 if all(o.ok for o in outcomes) and well else 1


def named_pid(text):
    name, pid = text.split("=")
    return name, int(pid)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    good = commands.add_parser("good")
    good.add_argument("address")
    good.add_argument("port", type=int)
    good.add_argument("file")
    commands.add_parser("head")
    commands.add_parser("attacks")
    one = commands.add_parser("try")
    one.add_argument("attack")
    for name in ("address", "cert", "key", "ca", "good", "log", "admin"):
        one.add_argument("--" + name, required=True)
    one.add_argument("--app-port", type=int, required=True)
    one.add_argument("--agent", type=int, required=True)
    one.add_argument("--kept-mib", type=int, required=True)
    one.add_argument("--seen-s", type=float)
    one.add_argument("--also", type=named_pid, nargs="*", default=[])
    args = parser.parse_args()
    if args.command == "good":
        return be_good(args.address, args.port, args.file)
    if args.command == "head":
        print(ROW.format(*HEAD))
        return 0
    if args.command == "attacks":
        print("\n".join(hostile_attacks.attacks("")))
        return 0
    return try_attack(args)


if __name__ == "__main__":
    sys.exit(main())

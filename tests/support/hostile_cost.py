"""hostile_cost: where the time of an attack went. Part of hostile.py.

The longest turn of the victim's worker by its own clock, which also runs while something else has its CPU; and, for each
process, the share of a CPU that it used and how long its threads waited for one each time they wanted it.
"""

import pathlib
import re
import socket
import time


def longest_turn_ms(admin):
    """Since it was last asked: asking begins anew."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(admin)
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := sock.recv(65536):
            answer += data
    turns = re.findall(rb'culvert_loop_longest_turn_seconds\{worker="\d+"\} (\S+)', answer)
    return 1000 * max(map(float, turns))


def schedstat(pid):
    """(ns on a CPU, ns waited for one, times) of all threads that live."""
    sums = [0, 0, 0]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            fields = (task / "schedstat").read_text().split()
        except OSError:
            continue  # it has just ended
        sums = [a + int(b) for a, b in zip(sums, fields)]
    return sums


class Cost:
    """From its making to end()."""

    def __init__(self, pids, admin):
        self.pids, self.admin = pids, admin
        self.began = time.monotonic()
        self.before = {name: schedstat(pid) for name, pid in pids.items()}
        longest_turn_ms(admin)

    def end(self):
        """(ms of the longest turn, {name: (% of a CPU, ms that it waited for one, at the mean)})"""
        seconds = time.monotonic() - self.began
        each = {}
        for name, pid in self.pids.items():
            used, waited, times = (b - a for a, b in zip(self.before[name], schedstat(pid)))
            each[name] = (used / seconds / 1e7, waited / max(1, times) / 1e6)
        return longest_turn_ms(self.admin), each

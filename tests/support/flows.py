#!/usr/bin/env python3
"""flows: many connections that are held open, and who of them was ended when.

usage: flows.py serve PORT                        echoes, until SIGTERM
       flows.py hold ADDRESS PORT COUNT STATUS    opens COUNT, asks each for an echo again and again
                                                  (RATE a second), until SIGTERM

STATUS is a file with one line, written anew five times a second:
"open=N echoes=N ended=N reset=N first=T last=T"; T: time of day in seconds when the first and last
connection ended, 0: none did. reset: those of them that ended by a reset, not by an orderly end.
"""

import os
import selectors
import signal
import socket
import sys
import time

RATE = 2000  # echoes a second
OPENING = 64  # connects under way at once
OPEN_S = 120


def stop_on_sigterm():
    def stop(_signal, _frame):
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, stop)


def serve(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, backlog=1024,
                                  dualstack_ipv6=True)
    server.setblocking(False)
    events = selectors.DefaultSelector()
    events.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj is server:
                connection, _ = server.accept()
                connection.setblocking(False)
                events.register(connection, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(4096)
                key.fileobj.sendall(data)
            except OSError:
                data = b""
            if not data:
                events.unregister(key.fileobj)
                key.fileobj.close()


class Holder:
    def __init__(self, address, port, status):
        self.target = (address, port)
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.status = status
        self.events = selectors.DefaultSelector()
        self.waiting = set()  # for an echo
        self.open = []
        self.echoes = self.ended = self.reset = 0
        self.first = self.last = 0.0

    def tell(self):
        text = (f"open={len(self.open)} echoes={self.echoes} ended={self.ended} "
                f"reset={self.reset} first={self.first:.3f} last={self.last:.3f}\n")
        with open(self.status + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(self.status + ".new", self.status)

    def connect(self):
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        connection.settimeout(20)
        connection.connect(self.target)
        return connection

    def open_all(self, count):
        """Each is asked for one echo, so that it is open to the far end."""
        deadline = time.monotonic() + OPEN_S
        while len(self.open) < count:
            if time.monotonic() > deadline:
                sys.exit(f"only {len(self.open)} of {count} were open after {OPEN_S} s")
            batch = [self.connect() for _ in range(min(OPENING, count - len(self.open)))]
            for connection in batch:
                connection.sendall(b"x")
            for connection in batch:
                if connection.recv(1) != b"x":
                    sys.exit(f"connection {len(self.open)} was ended at once")
                connection.setblocking(False)
                self.events.register(connection, selectors.EVENT_READ)
                self.open.append(connection)

    def end(self, connection, was_reset):
        now = time.time()
        self.first, self.last = self.first or now, now
        self.ended += 1
        self.reset += was_reset
        self.waiting.discard(connection)
        self.events.unregister(connection)
        self.open.remove(connection)
        connection.close()

    def ask(self, connection):
        if connection in self.waiting:
            return
        try:
            connection.send(b"y")
            self.waiting.add(connection)
        except OSError:
            self.end(connection, True)

    def hear(self, connection):
        try:
            data = connection.recv(64)
        except BlockingIOError:
            return
        except OSError:
            self.end(connection, True)
            return
        if not data:
            self.end(connection, False)
            return
        self.echoes += 1
        self.waiting.discard(connection)

    def hold(self):
        turn = 0
        told = 0.0
        asked_at = time.monotonic()
        while True:
            now = time.monotonic()
            for _ in range(min(int((now - asked_at) * RATE), 500)):
                if self.open:
                    turn += 1
                    self.ask(self.open[turn % len(self.open)])
            if now - asked_at > 1 / RATE:
                asked_at = now
            for key, _ in self.events.select(0.01):
                self.hear(key.fileobj)
            if now - told > 0.2:
                told = now
                self.tell()


def main():
    stop_on_sigterm()
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    elif len(sys.argv) == 6 and sys.argv[1] == "hold":
        holder = Holder(sys.argv[2], int(sys.argv[3]), sys.argv[5])
        holder.open_all(int(sys.argv[4]))
        holder.hold()
    else:
        sys.exit(__doc__)


main()

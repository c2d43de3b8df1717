#!/usr/bin/env python3
"""stalled: TCP connections that one end does not read, and one that is read, to see what they do to
each other.

  stalled.py server PORT                     until SIGTERM
  stalled.py hold ADDR PORT down|up N        opens N, says "stalled" when no byte moves any more, and
                                             keeps them until its standard input ends
  stalled.py carry ADDR PORT down|up BYTES   prints the seconds that it took

down: the server sends and the client does not read; up: the other way round. The client says in a
header of 9 bytes what it wants: d or u and how much; all ones is for ever, and unread."""

import select
import socket
import struct
import sys
import threading
import time

FOR_EVER = 2**64 - 1
PIECE = bytes(262144)
MOVED_S = 0.5  # a connection that takes nothing for so long stands still
GIVE_UP_S = 60


def receive(sock, count):
    """Reads and drops so many bytes."""
    into = bytearray(len(PIECE))
    while count > 0:
        some = sock.recv_into(into, min(count, len(into)))
        if some == 0:
            raise ConnectionError(f"the end came {count} bytes early")
        count -= some


def send(sock, count):
    while count > 0:
        count -= sock.send(PIECE[:count] if count < len(PIECE) else PIECE)


def hang(sock):
    """Never reads; only a reset ends it."""
    poll = select.poll()
    poll.register(sock, 0)  # errors and hang-ups are always told
    poll.poll()


def serve(sock):
    with sock:
        try:
            header = b""
            while len(header) < 9:
                some = sock.recv(9 - len(header))
                if not some:
                    return
                header += some
            what, count = struct.unpack("!cQ", header)
            if what == b"d":
                send(sock, count)
                sock.shutdown(socket.SHUT_WR)
            elif count == FOR_EVER:
                hang(sock)
            else:
                receive(sock, count)
                sock.send(b"!")
        except OSError:
            pass  # the client has had enough


def server(port):
    listener = socket.create_server(("", port), backlog=256)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def connect(address, port, direction, count):
    sock = socket.create_connection((address, port), GIVE_UP_S)
    sock.sendall(struct.pack("!cQ", direction[0].encode(), count))
    return sock


def fill(sock):
    """Writes until nobody takes it."""
    sock.settimeout(MOVED_S)
    try:
        while True:
            sock.send(PIECE)
    except socket.timeout:
        pass


def unread(sock):
    """Until what waits here grows no more."""
    deadline, before = time.monotonic() + GIVE_UP_S, -1
    while time.monotonic() < deadline:
        sock.settimeout(MOVED_S)
        waits = len(sock.recv(1 << 24, socket.MSG_PEEK))
        if waits == before and waits:
            return
        before = waits
        time.sleep(0.05)
    raise TimeoutError("it never stands still")


def hold(address, port, direction, count):
    socks = [connect(address, port, direction, FOR_EVER) for _ in range(count)]
    threads = [threading.Thread(target=fill if direction == "up" else unread, args=(sock,))
               for sock in socks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("stalled", flush=True)
    sys.stdin.read()
    for sock in socks:
        # Unread bytes would make it a reset anyhow.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def carry(address, port, direction, count):
    begin = time.monotonic()
    with connect(address, port, direction, count) as sock:
        if direction == "down":
            receive(sock, count)
        else:
            send(sock, count)
            receive(sock, 1)
    print(f"{time.monotonic() - begin:.6f}")


def main():
    match sys.argv[1:]:
        case ["server", port]:
            server(int(port))
        case ["hold", address, port, "down" | "up" as direction, count]:
            hold(address, int(port), direction, int(count))
        case ["carry", address, port, "down" | "up" as direction, count]:
            carry(address, int(port), direction, int(count))
        case _:
            sys.exit(__doc__)


main()

#!/usr/bin/env python3
"""hbone_app: the two apps at the ends of a tunnel: plain TCP, and each says how its connection ended.

    hbone_app.py serve PORT=KIND...   one listener each, on all addresses, until SIGTERM
        echo      sends back what comes, ends after the peer has ended
        tail      reads to the end, then answers with the SHA-256 of it and ends
        farewell  says "farewell" and finishes at once, then reads to the end
        reset     sends "so far" after the first byte, then resets
        source    sends 1 MiB and finishes
        hold      says "ready", then reads to the end
      Prints a line for each connection: KIND FROM got=BYTES end=eof|reset
    hbone_app.py ask ADDRESS PORT [--bytes N] [--connections N]
        Holds N connections at once, sends BYTES random bytes on each, finishes, and wants the
        same bytes back and a clean end (of an echo). Prints the SHA-256 of one, sent and received.
    hbone_app.py tail ADDRESS PORT --bytes N
        The same of a tail: finishes first, then gets the SHA-256 of what it sent.
    hbone_app.py end ADDRESS PORT [--say TEXT]
        Reads to the end and prints: what came, then "eof" or "reset", after how many milliseconds.
    hbone_app.py farewell ADDRESS PORT
        Reads to the end, says "and you", finishes, and prints what it read.
"""

import argparse
import hashlib
import os
import socket
import struct
import sys
import threading
import time

DEADLINE = 60
CHUNK = 65536


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock):
    """(bytes, "eof" or "reset")"""
    data = bytearray()
    try:
        while True:
            piece = sock.recv(CHUNK)
            if not piece:
                return bytes(data), "eof"
            data += piece
    except ConnectionError:
        return bytes(data), "reset"


# ---- servers: each returns (bytes received, how the client ended) ----


def serve_echo(sock):
    got = 0
    try:
        while piece := sock.recv(CHUNK):
            got += len(piece)
            sock.sendall(piece)
    except ConnectionError:
        return got, "reset"
    return got, "eof"


def serve_tail(sock):
    data, end = read_all(sock)
    if end == "eof":
        sock.sendall(hashlib.sha256(data).hexdigest().encode())
    return len(data), end


def serve_farewell(sock):
    sock.sendall(b"farewell")
    sock.shutdown(socket.SHUT_WR)
    data, end = read_all(sock)
    return len(data), end


def serve_reset(sock):
    got = len(sock.recv(1))
    sock.sendall(b"so far")
    reset(sock)
    return got, "by us"


def serve_source(sock):
    try:
        sock.sendall(bytes(1048576))
        sock.shutdown(socket.SHUT_WR)
    except ConnectionError:
        return 0, "reset"
    data, end = read_all(sock)
    return len(data), end


def serve_hold(sock):
    sock.sendall(b"ready")
    data, end = read_all(sock)
    return len(data), end


KINDS = {name[6:]: kind for name, kind in globals().items() if name.startswith("serve_")}


def serve_one(name, sock, client):
    try:
        got, end = KINDS[name](sock)
    except ConnectionError:
        got, end = 0, "reset"
    sock.close()
    print(f"{name} {client[0]} got={got} end={end}", flush=True)


def listen(name, port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    while True:
        sock, client = listener.accept()
        threading.Thread(target=serve_one, args=(name, sock, client), daemon=True).start()


def serve(args):
    threads = []
    for one in args.listeners:
        port, name = one.split("=")
        threads.append(threading.Thread(target=listen, args=(name, int(port)), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()


# ---- clients ----


def dial(args):
    return socket.create_connection((args.address, args.port), timeout=DEADLINE)


def send_all(sock, data):
    try:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the reader says how it ended


def ask(args):
    data = os.urandom(args.bytes)
    socks = [dial(args) for _ in range(args.connections)]
    for number, sock in enumerate(socks):  # all of them stand before the first one ends
        sock.sendall(data[:1])
        if sock.recv(1) != data[:1]:
            sys.exit(f"connection {number + 1} of {len(socks)} ended without an answer")
    for sock in socks:
        threading.Thread(target=send_all, args=(sock, data[1:]), daemon=True).start()
    for number, sock in enumerate(socks):
        back, end = read_all(sock)
        if data[1:] != back or end != "eof":
            sys.exit(f"connection {number + 1}: {len(back) + 1} of {len(data)} bytes came back, then {end}")
    print(hashlib.sha256(data).hexdigest(), hashlib.sha256(data[:1] + back).hexdigest())


def tail(args):
    data = os.urandom(args.bytes)
    sock = dial(args)
    send_all(sock, data)
    back, end = read_all(sock)
    if back.decode() != hashlib.sha256(data).hexdigest() or end != "eof":
        sys.exit(f"the other side's SHA-256 is another: {back!r}, then {end}")
    print(back.decode())


def read_end(args):
    began = time.monotonic()
    data, end = b"", "reset"
    try:
        sock = dial(args)
        if args.say:
            sock.sendall(args.say.encode())
        data, end = read_all(sock)
    except ConnectionError:
        pass  # so soon that connect() or send() hears of it
    print(data.decode(), end, int((time.monotonic() - began) * 1000))


def farewell(args):
    sock = dial(args)
    data, end = read_all(sock)
    sock.sendall(b"and you")
    sock.shutdown(socket.SHUT_WR)
    print(data.decode(), end)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("serve")
    one.add_argument("listeners", nargs="+")
    one.set_defaults(run=serve)
    for name, run in (("ask", ask), ("tail", tail), ("end", read_end), ("farewell", farewell)):
        one = commands.add_parser(name)
        one.add_argument("address")
        one.add_argument("port", type=int)
        one.add_argument("--bytes", type=int, default=1000)
        one.add_argument("--connections", type=int, default=1)
        one.add_argument("--say", default="")
        one.set_defaults(run=run)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()

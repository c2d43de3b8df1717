#!/usr/bin/env python3
"""An exchange of known size: a client sends 11 bytes, the server answers with 22.

    exchange.py serve PORT                 on IPv4 and IPv6, until it is killed; prints "listening"
    exchange.py ask HOST PORT [FIFO]       with FIFO: after the answer it waits until that is written to
"""

import socket
import sys
import threading

QUESTION = b"eleven byte"
ANSWER = b"and twenty-two of them"


def read_exactly(conn, count):
    data = b""
    while len(data) < count:
        piece = conn.recv(count - len(data))
        if not piece:
            raise EOFError(f"ended after {len(data)} bytes")
        data += piece
    return data


def answer(conn):
    with conn:
        if read_exactly(conn, len(QUESTION)) == QUESTION:
            conn.sendall(ANSWER)
        conn.recv(1)


def serve(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    print("listening", flush=True)
    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()


def ask(host, port, fifo=None):
    with socket.create_connection((host, port), timeout=10) as conn:
        conn.sendall(QUESTION)
        assert read_exactly(conn, len(ANSWER)) == ANSWER
        if fifo:
            print("answered", flush=True)
            with open(fifo) as file:
                file.read()
        conn.shutdown(socket.SHUT_WR)
        assert conn.recv(1) == b""


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])

#!/usr/bin/env python3
"""proxy_app: a server that wants a PROXY header of version 2 first, written from its specification
(haproxy, doc/proxy-protocol.txt, 2.2) and from no code of ours.

    proxy_app.py PORT [--plain] [--forward ADDRESS:PORT | --forward dst]

Of each connection it reads header and bytes to the end, and answers with one line: what the header
says, from where the connection comes, and the bytes that followed; then it ends. --plain: no header.
--forward: as a waypoint it asks there (dst: where the header says), and adds that answer to its own.
"""

import argparse
import ipaddress
import socket
import struct
import threading

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
FAMILIES = {0x11: (4, "TCP4"), 0x21: (16, "TCP6"), 0x01: (0, "UNSPEC")}


def take(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ValueError(f"the end after {len(data)} of {count} bytes")
        data += piece
    return data


def tlvs(rest):
    while rest:
        kind, length = struct.unpack("!BH", rest[:3])
        if len(rest) < 3 + length:
            raise ValueError("a TLV is cut short")
        yield f"{kind:#x}={rest[3 : 3 + length].decode()}"
        rest = rest[3 + length :]


def read_header(sock):
    fixed = take(sock, 16)
    if fixed[:12] != SIGNATURE:
        raise ValueError(f"no signature: {fixed!r}")
    if fixed[12] != 0x21:
        raise ValueError(f"version and command are {fixed[12]:#x}")
    size, name = FAMILIES[fixed[13]]
    body = take(sock, struct.unpack("!H", fixed[14:])[0])
    words = [name]
    if size:
        src, dst = (ipaddress.ip_address(body[i * size : (i + 1) * size]) for i in (0, 1))
        ports = struct.unpack("!HH", body[2 * size : 2 * size + 4])
        words += [f"src={src}", "sport=" + ("yes" if ports[0] else "no"), f"dst={dst}", f"dport={ports[1]}"]
    return words + list(tlvs(body[2 * size + 4 :] if size else body))


def ask(where, said):
    address, port = where.rsplit(":", 1)
    with socket.create_connection((address.strip("[]"), int(port)), 10) as sock:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def serve(sock, client, args):
    try:
        words = [] if args.plain else read_header(sock)
        said = b""
        while piece := sock.recv(65536):
            said += piece
        words += [f"from={client[0].removeprefix('::ffff:')}", f"said={said.decode()}"]
        if args.forward:
            facts = dict(word.split("=", 1) for word in words if "=" in word)
            where = args.forward if args.forward != "dst" else f"{facts['dst']}:{facts['dport']}"
            words += ["then", ask(where, said)]
    except (ValueError, KeyError, OSError) as error:
        words = [f"WRONG {error}"]
    sock.sendall(" ".join(words).encode())
    sock.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--forward")
    args = parser.parse_args()
    listener = socket.create_server(("::", args.port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        sock, client = listener.accept()
        threading.Thread(target=serve, args=(sock, client, args), daemon=True).start()


if __name__ == "__main__":
    main()

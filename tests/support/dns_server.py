#!/usr/bin/env python3
"""dns_server: a name server for tests, over UDP, written from RFC 1035 and RFC 3596.

  dns_server.py ADDRESS NAME=IP[,IP...]... [NAME=silent]... [NAME=fails]...

A and AAAA of the names that are given, in their order; a silent name is not answered, one that fails
with SERVFAIL; others do not exist. One line "asked NAME TYPE" for each question.
"""
import ipaddress
import socket
import struct
import sys

A, AAAA, IN = 1, 28, 1
NXDOMAIN, SERVFAIL = 3, 2


def question(packet):
    at, labels = 12, []
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    kind, _ = struct.unpack_from("!HH", packet, at + 1)
    return ".".join(labels).lower(), kind, packet[12 : at + 5]


def answer(packet, names):
    name, kind, asked = question(packet)
    print("asked", name, {A: "A", AAAA: "AAAA"}.get(kind, kind), flush=True)
    known = names.get(name)
    if known == "silent":
        return None
    rcode = NXDOMAIN if known is None else SERVFAIL if known == "fails" else 0
    records = []
    if rcode == 0:
        addresses = [ipaddress.ip_address(ip) for ip in known.split(",")]
        records = [ip.packed for ip in addresses if {4: A, 6: AAAA}[ip.version] == kind]
    # QR, RD as asked, RA; the name of each record is the one at offset 12.
    flags = 0x8080 | (struct.unpack_from("!H", packet, 2)[0] & 0x0100) | rcode
    head = packet[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return head + asked + b"".join(struct.pack("!HHHIH", 0xC00C, kind, IN, 1, len(r)) + r for r in records)


def main():
    names = dict(arg.split("=", 1) for arg in sys.argv[2:])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1], 53))
    print("serving", flush=True)
    while True:
        packet, peer = sock.recvfrom(4096)
        out = answer(packet, names)
        if out:
            sock.sendto(out, peer)


main()

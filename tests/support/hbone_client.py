#!/usr/bin/python3
"""hbone_client: CONNECTs to a pod's 15008 over mutual TLS, with python3-h2, and says what is not right.

    hbone_client.py CASE ADDRESS --certs DIR --name NAME --ca FILE [--server ID]

The apps of the pod are those of hbone_app.py on the ports below. CASE is a function case_* of this
file. Exit 0: all as it should be. 1: one line for each thing that was not. Needs python3-h2.
"""

import argparse
import socket
import sys

from hbone import Connection, ErrorCodes, Failure, Setting, Stream, expect, tls_context

ECHO, TAIL, FAREWELL, RESET, SOURCE, HOLD, NOBODY = 9001, 9002, 9003, 9004, 9005, 9006, 9099


class Client(Connection):
    def __init__(self, args, **more):
        raw = socket.create_connection((args.address, 15008), timeout=10)
        context = tls_context(False, args.certs, args.name, args.ca)
        sock = context.wrap_socket(raw)
        expect("the ALPN that was agreed", "h2", sock.selected_alpn_protocol())
        names = [value for kind, value in sock.getpeercert()["subjectAltName"] if kind == "URI"]
        expect("the server's identity", [args.server], names)
        self.address = args.address
        super().__init__(sock, True, **more)

    def request(self, headers, end=False):
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers, end_stream=end)
        stream = self.streams[stream_id] = Stream(stream_id)
        self.flush()
        return stream

    def ask(self, port):
        """A CONNECT that is not waited for."""
        return self.request([(":method", "CONNECT"), (":authority", f"{self.address}:{port}")])

    def connect(self, port):
        stream = self.ask(port)
        self.wait(lambda: stream.headers or stream.over, f"the answer to CONNECT {port}")
        expect(f"the answer to CONNECT {port}", (200, None), (stream.status, stream.reset))
        return stream

    def wait_over(self, stream, what):
        self.wait(lambda: stream.over, what)


def case_exchange(args):
    """The preface, the answer's fields and their order, bytes both ways."""
    c = Client(args)
    stream = c.connect(ECHO)
    expect("the answer", [(":status", "200"), ("baggage", args.baggage)], stream.headers)
    c.wait(lambda: c.peer_settings is not None, "SETTINGS")
    settings = dict(c.peer_settings)
    expect("MAX_CONCURRENT_STREAMS", 1000, settings.get(3))
    expect("MAX_HEADER_LIST_SIZE", 65536, settings.get(6))
    expect("the connection's credit", 16777216 - 65535, c.peer_window)
    data = bytes(range(256)) * 1000
    c.send(stream, data, end=True)
    c.wait_over(stream, "the end of the echo")
    expect("the echo and its end", (data, True, None), (bytes(stream.body), stream.finished, stream.reset))


def case_we_finish_first(args):
    """Our END_STREAM is a FIN for the app, and what it says after that still comes."""
    c = Client(args)
    stream = c.connect(TAIL)
    c.send(stream, b"the whole of it", end=True)
    c.wait_over(stream, "the answer after our end")
    expect("bytes and end", (64, True, None), (len(stream.body), stream.finished, stream.reset))


def case_app_finishes_first(args):
    """The app's FIN is END_STREAM, and what we say after that still goes."""
    c = Client(args)
    stream = c.connect(FAREWELL)
    c.wait_over(stream, "END_STREAM")
    expect("bytes and end", (b"farewell", True, None), (bytes(stream.body), stream.finished, stream.reset))
    c.send(stream, bytes(100000), end=True)
    c.ping()
    expect("a reset afterwards", None, stream.reset)


def case_app_resets(args):
    """The app's RST is RST_STREAM(CONNECT_ERROR) and no END_STREAM."""
    c = Client(args)
    stream = c.connect(RESET)
    c.send(stream, b"x")
    c.wait_over(stream, "the reset")
    expect("how it ended", (False, ErrorCodes.CONNECT_ERROR), (stream.finished, stream.reset))


def case_we_reset(args):
    """A RST_STREAM of any code is a reset for the app, and no other stream is harmed."""
    c = Client(args)
    other = c.connect(ECHO)
    for code in (ErrorCodes.CANCEL, ErrorCodes.NO_ERROR, ErrorCodes.CONNECT_ERROR, ErrorCodes.INTERNAL_ERROR):
        stream = c.connect(HOLD)
        c.wait(lambda: len(stream.body) == 5, "the app's first bytes")
        c.reset(stream, code)
    c.send(other, b"still here", end=True)
    c.wait_over(other, "the other stream's echo")
    expect("the other stream", (b"still here", None), (bytes(other.body), other.reset))


def case_say(args):
    """A CONNECT for --authority, some bytes, our end; prints what comes back."""
    c = Client(args)
    stream = c.request([(":method", "CONNECT"), (":authority", args.authority)])
    c.wait(lambda: stream.headers or stream.over, "the answer")
    if stream.status == 200:
        c.send(stream, b"hello", end=True)
        c.wait_over(stream, "the end of what comes back")
    print(stream.status, bytes(stream.body).decode())


def case_introduces(args):
    """Several lines of each field, and a network of its own: what the agent logs is looked at outside."""
    c = Client(args)
    stream = c.request([(":method", "CONNECT"), (":authority", f"{args.address}:{ECHO}"),
                        ("baggage", "k8s.cluster.name=far,k8s.namespace.name=beyond"), ("forwarded", "for=a"),
                        ("baggage", "k8s.deployment.name=visitor"), ("x-forwarded-network", args.network),
                        ("forwarded", "for=b;host=nobody.demo.svc.cluster.local")])
    c.wait(lambda: stream.headers or stream.over, "the answer")
    expect("the answer", (200, None), (stream.status, stream.reset))
    c.send(stream, b"x", end=True)
    c.wait_over(stream, "the end of the echo")


def case_named(args):
    """A service's name instead of an address; without an application nothing else tells which is meant."""
    c = Client(args)
    stream = c.request([(":method", "CONNECT"), (":authority", "web.demo.svc.cluster.local:80")])
    c.wait(lambda: stream.headers or stream.over, "the answer")
    expect("the answer", ([(":status", "503")], None), (stream.headers, stream.reset))


def status_rows(address):
    """name, authority, what is answered: a status, or the code of a RST_STREAM alone"""
    protocol_error = ErrorCodes.PROTOCOL_ERROR
    return [
        ("no port", address, 400),
        ("port 70000", f"{address}:70000", 400),
        ("port 0", f"{address}:0", 503),
        ("a port with a zero in front", f"{address}:09001", 200),
        ("a port that is no number", f"{address}:http", 400),
        ("user info", f"user@{address}:{ECHO}", 503),
        ("an octal-looking address", f"010.2.0.11:{ECHO}", 503),
        ("the own address, mapped", f"[::ffff:{address}]:{ECHO}", 400),
        ("the pod's IPv6 over IPv4", f"[fd00:2::11]:{ECHO}", 400),
        ("another pod", f"10.2.0.12:{ECHO}", 400),
        ("loopback", f"127.0.0.1:{ECHO}", 400),
        ("the pod's own service", "10.96.0.7:80", 400),
        ("an unknown host", "nobody.demo.svc.cluster.local:80", 503),
        ("a service's name in upper case", "WEB.demo.svc.cluster.local:80", 503),
        ("nobody listens", f"{address}:{NOBODY}", 503),
        ("a port of the agent", f"{address}:15008", 503),
        ("empty", "", protocol_error),
        ("with a path", f"{address}:{ECHO}/x", protocol_error),
        ("with a blank", f"{address} :{ECHO}", protocol_error),
    ]


def request_rows(address):
    authority = (":authority", f"{address}:{ECHO}")
    connect = (":method", "CONNECT")
    get = [(":method", "GET"), (":scheme", "https"), authority, (":path", "/")]
    protocol_error = ErrorCodes.PROTOCOL_ERROR
    return [
        ("no authority", [connect], protocol_error),
        ("host instead of authority", [connect, ("host", f"{address}:{ECHO}")], protocol_error),
        ("GET", get, 400),
        (":scheme and :path", [connect, authority, (":scheme", "https"), (":path", "/")], protocol_error),
        (":protocol", [connect, authority, (":protocol", "websocket")], protocol_error),
        ("two authorities", [connect, authority, authority], protocol_error),
        ("no method", [authority], protocol_error),
        ("connection: close", [connect, authority, ("connection", "close")], protocol_error),
        ("a pseudo header after a regular one", [connect, ("a", "b"), authority], protocol_error),
        ("unknown fields", [connect, authority, ("x-unknown", "1"), ("baggage", "a=b")], 200),
    ]


def case_refusals(args):
    """Each row on one connection, which all of them leave whole."""
    c = Client(args)
    rows = [(name, [(":method", "CONNECT"), (":authority", authority)], want)
            for name, authority, want in status_rows(args.address)]
    wrong = []
    for name, headers, want in rows + request_rows(args.address):
        try:
            judge(c, c.request(headers), want)
        except Failure as failure:
            wrong.append(f"{name}: {failure}")
        if c.goaway or c.closed:
            wrong.append(f"{name}: the connection was ended: {c.goaway}")
            c = Client(args)
    if not wrong:
        c.connect(ECHO)
    if wrong:
        raise Failure("\n".join(wrong))


def judge(c, stream, want):
    """A refusal is HEADERS with END_STREAM, then RST_STREAM(NO_ERROR); nothing else."""
    if isinstance(want, ErrorCodes):
        c.wait(lambda: stream.over, "RST_STREAM")
        expect("the reset", (None, want), (stream.headers, stream.reset))
        return
    c.wait(lambda: stream.headers or stream.reset is not None, "the answer")
    expect("the answer's status", (want, None), (stream.status, stream.reset))
    if want == 200:
        c.reset(stream, ErrorCodes.CANCEL)
        return
    c.wait(lambda: stream.reset is not None, "RST_STREAM after the answer")
    expect("all of the answer", [(":status", str(want))], stream.headers)
    expect("how it ended", (True, ErrorCodes.NO_ERROR, b""), (stream.finished, stream.reset, bytes(stream.body)))


def case_large_headers(args):
    """A header list of 70 KB is 431 and RST_STREAM(PROTOCOL_ERROR), and harms nobody else."""
    c = Client(args)
    headers = [(":method", "CONNECT"), (":authority", f"{args.address}:{ECHO}")]
    headers += [(f"x-{n}", "v" * 1000) for n in range(70)]
    stream = c.request(headers)
    c.wait(lambda: stream.reset is not None, "RST_STREAM")
    expect("status and reset", (431, ErrorCodes.PROTOCOL_ERROR), (stream.status, stream.reset))
    c.connect(ECHO)


def case_denied(args):
    """Policy says no to this identity: 401, before anything was dialled."""
    c = Client(args)
    judge(c, c.ask(ECHO), 401)


def case_small_window(args):
    """5,000 granted are 5,000 sent, and then what each WINDOW_UPDATE allows, to the byte."""
    c = Client(args, settings={Setting.INITIAL_WINDOW_SIZE: 5000}, hold=True)
    stream = c.connect(SOURCE)
    other = c.connect(SOURCE)
    total = 5000
    for grant in (0, 1, 1234, 16385, 0):
        if grant:
            c.grant(stream, grant)
            total += grant
        # One byte too many would be a flow control error of python3-h2.
        c.wait(lambda: len(stream.body) >= total, f"{total} bytes")
        c.ping()
        expect(f"bytes after {total} were granted", total, len(stream.body))
    c.wait(lambda: len(other.body) >= 5000, "5,000 bytes of the other stream")
    expect("bytes of the other stream", 5000, len(other.body))
    c.grant(stream, 1048576)
    c.grant(other, 1048576)
    c.wait(lambda: len(stream.body) + len(other.body) >= 65535, "what the connection's window allows")
    c.ping()
    expect("bytes on the connection", 65535, len(stream.body) + len(other.body))
    c.h2.increment_flow_control_window(4194304)
    c.flush()
    for one in (stream, other):
        c.wait_over(one, "the end of the source")
        expect("bytes at the end", (1048576, True), (len(one.body), one.finished))


def case_too_many_streams(args):
    """1000 stand at once, the next one is refused, and there is room again when one has gone."""
    c = Client(args)
    c.wait(lambda: c.peer_settings is not None, "SETTINGS")
    c.ping()
    c.h2.remote_settings[Setting.MAX_CONCURRENT_STREAMS] = 2000  # python3-h2 would not do it
    c.h2.remote_settings.acknowledge()
    streams = [c.ask(HOLD) for _ in range(1000)]
    for number, stream in enumerate(streams):
        c.wait(lambda: stream.body or stream.over, f"the app's first byte on stream {number + 1}")
        expect(f"stream {number + 1}", (200, None), (stream.status, stream.reset))
    extra = c.ask(HOLD)
    c.wait(lambda: extra.over or c.goaway, "the refusal of the 1001st")
    expect("the 1001st, and GOAWAY", (None, ErrorCodes.REFUSED_STREAM, None), (extra.headers, extra.reset, c.goaway))
    c.send(streams[0], end=True)
    c.wait_over(streams[0], "the end of the first")
    c.connect(ECHO)
    expect("streams that were reset", [], [s.id for s in streams if s.reset is not None])


def main():
    cases = {name[5:]: case for name, case in globals().items() if name.startswith("case_")}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=cases)
    parser.add_argument("address")
    parser.add_argument("--certs", required=True)
    parser.add_argument("--name", default="peer")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--server", default="spiffe://cluster.local/ns/demo/sa/server")
    parser.add_argument("--baggage", default="")
    parser.add_argument("--authority", default="")
    parser.add_argument("--network", default="")
    args = parser.parse_args()
    try:
        cases[args.case](args)
    except (Failure, OSError) as failure:
        sys.exit(f"{args.case}: {failure}")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""hbone_server: an HBONE server on 15008 over mutual TLS, with python3-h2; the port asked for says what
it does.

    hbone_server.py ADDRESS --certs DIR --name NAME --ca FILE [--streams N] [--silent]

A CONNECT for port N00 to N99 of the table BEHAVIOURS is answered as the function there says. Each
connection is checked as it comes: SNI, ALPN, SETTINGS, credit; each request: fields, their order and
form, no END_STREAM, no byte before the answer. What is not right is a line "WRONG ..." in the output;
what was done is a line "PORT CONNECTION STREAM what".
--streams N grants N streams at once and refuses what is opened beyond it. --silent never speaks
after TLS. Needs python3-h2.
"""

import argparse
import re
import socket
import threading
import time

import h2.exceptions
import hyperframe.frame

from hbone import Connection, ErrorCodes, Failure, Setting, client_hello, expect, tls_context

SERVER_NAME, ALPN = 0, 16  # TLS extensions
TRIES = {}  # of each port that answers the second try
TRACES = {}  # traceparent: forwarded, so which connection of an app
LOCK = threading.Lock()


def say(*words):
    print(*words, flush=True)


# ---- what is done with a request: (connection, stream, number within the hundred) ----


def accept(c, stream, _):
    """200, then an echo."""
    c.ping()
    expect("bytes before the answer", b"", bytes(stream.body))
    c.answer(stream, 200)
    c.echoing.add(stream.id)


def refuse(c, stream, number):
    """Status 200 + NUMBER, 400 + NUMBER and so on: the port says it."""
    c.answer(stream, number, end=True)


def with_body(c, stream, number):
    """The same with a body: it is none of the app's."""
    c.answer(stream, number)
    c.send(stream, b"not for the app", end=True)


def early_hints(c, stream, _):
    """100 and 103, then 200."""
    for status in ("100", "103"):
        c.h2.send_headers(stream.id, [(":status", status)])
        c.flush()
        c.ping()
    accept(c, stream, _)


def second_try(port):
    with LOCK:
        TRIES[port] = TRIES.get(port, 0) + 1
        return TRIES[port] > 1


def going_away(c, stream, port):
    """GOAWAY that names all streams but this one; 200 at the second try."""
    if second_try(port):
        accept(c, stream, port)
        return
    c.raw(hyperframe.frame.GoAwayFrame(0, last_stream_id=stream.id - 2 if stream.id > 1 else 0))


def refuse_once(c, stream, port):
    if second_try(port):
        accept(c, stream, port)
    else:
        c.reset(stream, ErrorCodes.REFUSED_STREAM)


def refuse_always(c, stream, port):
    second_try(port)
    c.reset(stream, ErrorCodes.REFUSED_STREAM)


def reset_at_once(c, stream, _):
    c.reset(stream, ErrorCodes.INTERNAL_ERROR)


def never(c, stream, _):
    """No answer."""


def cut_short(c, stream, _):
    """200, some bytes, RST_STREAM(CANCEL)."""
    c.answer(stream, 200)
    c.send(stream, b"so far")
    c.wait(lambda: stream.body, "the app's first byte")
    c.reset(stream, ErrorCodes.CANCEL)


def lose(c, stream, _):
    """200, some bytes, then the whole connection is gone without a word."""
    c.answer(stream, 200)
    c.send(stream, b"so far")
    c.wait(lambda: stream.body, "the app's first byte")
    c.sock.shutdown(socket.SHUT_RDWR)


def farewell(c, stream, _):
    """200, bytes and END_STREAM, and then reads to the app's end."""
    c.answer(stream, 200)
    c.send(stream, b"farewell", end=True)
    c.wait(lambda: stream.over, "the app's end")
    say(f"farewell got={bytes(stream.body)!r} finished={stream.finished} reset={stream.reset}")


BEHAVIOURS = {
    7000: accept, 7001: early_hints, 7002: going_away, 7003: refuse_once, 7004: refuse_always,
    7005: reset_at_once, 7006: never, 7007: cut_short, 7008: farewell, 7009: lose,
    7201: refuse, 7204: refuse, 7206: with_body, 7302: refuse, 7401: refuse, 7403: refuse, 7503: refuse,
}


def check_request(c, stream, authority):
    names = [name for name, _ in stream.headers]
    values = dict(stream.headers)
    expect("the fields, in order", [":method", ":authority", "baggage", "forwarded", "traceparent"], names)
    expect(":method", "CONNECT", values[":method"])
    expect(":authority", authority, values[":authority"])
    expect("baggage", c.args.baggage, values["baggage"])
    if not re.fullmatch(rf'for="{re.escape(c.client)}:\d+"', values["forwarded"]):
        raise Failure(f"forwarded is {values['forwarded']!r}, the client is {c.client}")
    if not re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00", values["traceparent"]):
        raise Failure(f"traceparent is {values['traceparent']!r}")
    if TRACES.setdefault(values["traceparent"], values["forwarded"]) != values["forwarded"]:
        raise Failure("two connections of the app have the same traceparent")
    expect("END_STREAM on the CONNECT", False, stream.headers_only)


class Server(Connection):
    def __init__(self, sock, number, client, args):
        self.number = number
        self.client = client
        self.args = args
        self.echoing = set()
        self.open = set()
        self.acknowledged = False
        settings = {Setting.MAX_CONCURRENT_STREAMS: args.streams} if args.streams else {}
        super().__init__(sock, False, settings=settings)
        self.h2.local_settings[Setting.MAX_CONCURRENT_STREAMS] = 1000  # what is beyond is judged here
        self.h2.local_settings.acknowledge()

    def answer(self, stream, status, end=False):
        self.h2.send_headers(stream.id, [(":status", str(status))], end_stream=end)
        self.flush()

    def on_event(self, name, stream):
        try:
            if name == "SettingsAcknowledged":
                self.acknowledged = True
            elif name == "RequestReceived":
                self.on_request(stream)
            elif name == "DataReceived" and stream.id in self.echoing:
                data = bytes(stream.body)
                stream.body.clear()
                self.send(stream, data)
            elif name == "StreamEnded" and stream.id in self.echoing:
                self.send(stream, end=True)
            if stream and stream.over:
                self.open.discard(stream.id)
        except Failure as failure:
            say("WRONG", f"connection {self.number}:", failure)

    def on_request(self, stream):
        authority = dict(stream.headers)[":authority"]
        port = int(authority.rsplit(":", 1)[1])
        if self.args.streams and len(self.open) >= self.args.streams:
            if self.acknowledged:
                raise Failure(f"stream {stream.id} is beyond the {self.args.streams} that were granted")
            say(port, self.number, stream.id, "refused: SETTINGS were not read yet")
            self.reset(stream, ErrorCodes.REFUSED_STREAM)
            return
        self.open.add(stream.id)
        host = f"[{self.args.address}]" if ":" in self.args.address else self.args.address
        check_request(self, stream, f"{host}:{port}")
        say(port, self.number, stream.id, BEHAVIOURS[port].__name__)
        number = port if port < 7100 else port - 7000
        BEHAVIOURS[port](self, stream, number)

    def check_preface(self):
        self.wait(lambda: self.peer_settings is not None and self.peer_window, "SETTINGS and WINDOW_UPDATE")
        expect("SETTINGS", {2: 0, 4: 262144, 5: 49152, 6: 16384}, dict(self.peer_settings))
        expect("the connection's credit", 16777216 - 65535, self.peer_window)
        if min(self.streams, default=1) != 1:
            raise Failure("the first stream is not 1")

    def run(self):
        self.check_preface()
        while not self.closed:
            self.next_event(time.monotonic() + 3600)


def serve(raw, number, client, args):
    raw.settimeout(15)
    try:
        hello = client_hello(raw)
        expect("the ALPN offered", b"\x00\x03\x02h2", hello.get(ALPN))
        expect("SNI", None, hello.get(SERVER_NAME))
        sock = tls_context(True, args.certs, args.name, args.ca).wrap_socket(raw, server_side=True)
        expect("the ALPN agreed", "h2", sock.selected_alpn_protocol())
        names = [value for kind, value in sock.getpeercert()["subjectAltName"] if kind == "URI"]
        expect("the client's identity", [args.client], names)
        say("connection", number, "from", client[0])
        if args.silent:
            sock.settimeout(None)
            while sock.recv(65536):
                pass
            return
        Server(sock, number, client[0].removeprefix("::ffff:"), args).run()
    except (Failure, h2.exceptions.H2Error) as failure:
        say("WRONG", f"connection {number}:", failure)
    except OSError as error:
        say(f"connection {number} ended: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--certs", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--client", default="spiffe://cluster.local/ns/demo/sa/client")
    parser.add_argument("--baggage", default="")
    parser.add_argument("--streams", type=int)
    parser.add_argument("--silent", action="store_true")
    args = parser.parse_args()
    listener = socket.create_server((args.address, 15008), backlog=512,
                                    family=socket.AF_INET6 if ":" in args.address else socket.AF_INET)
    number = 0
    while True:
        sock, client = listener.accept()
        number += 1
        threading.Thread(target=serve, args=(sock, number, client, args), daemon=True).start()


if __name__ == "__main__":
    main()

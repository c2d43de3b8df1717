#!/usr/bin/env python3
"""web_app: the two ends of requests that a waypoint looks into.

    web_app.py serve PORT NAME
        Answers every GET with one line: NAME path=PATH try=N peer=X-PEER client=CLIENT for=X-FORWARDED-FOR.
        N counts requests for the same path; what begins with /flaky gets 503 the first two times.
    web_app.py ask ADDRESS PORT PATH [--count N] [--connections N] [--version V]
        Sends N GETs on each connection, one after another. For one alone: prints STATUS, milliseconds, the
        x-waypoint header and the answer. With --version as x-version header. For more: how many answers began with which word, or had which status.
"""

import argparse
import collections
import http.client
import http.server
import socket
import sys
import threading
import time

DEADLINE = 60


class Server(http.server.ThreadingHTTPServer):
    """A client that resets is nothing to tell of."""

    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    name = ""
    tries = collections.Counter()
    lock = threading.Lock()

    def do_GET(self):
        with self.lock:
            self.tries[self.path] += 1
            number = self.tries[self.path]
        said = {name: self.headers.get(name, "-") for name in ("x-peer", "x-forwarded-for")}
        client = self.client_address[0].removeprefix("::ffff:")
        line = f"{self.name} path={self.path} try={number} peer={said['x-peer']} client={client} for={said['x-forwarded-for']}\n"
        body = line.encode()
        self.send_response(503 if self.path.startswith("/flaky") and number <= 2 else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def serve(args):
    Handler.name = args.name
    Server(("::", args.port), Handler).serve_forever()


def get(connection, args):
    connection.request("GET", args.path, headers={"host": "web", **({"x-version": args.version} if args.version else {})})
    answer = connection.getresponse()
    return answer, answer.read().decode().strip()


def ask(args):
    if args.count * args.connections == 1:
        connection = http.client.HTTPConnection(args.address, args.port, timeout=DEADLINE)
        start = time.monotonic()
        answer, text = get(connection, args)
        ms = int((time.monotonic() - start) * 1000)
        print(answer.status, ms, answer.getheader("x-waypoint", "-"), text)
        return
    words = collections.Counter()
    failures = []

    def run():
        try:
            connection = http.client.HTTPConnection(args.address, args.port, timeout=DEADLINE)
            for _ in range(args.count):
                answer, text = get(connection, args)
                words[text.split()[0] if answer.status == 200 else str(answer.status)] += 1
        except OSError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(args.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(" ".join(f"{word}={count}" for word, count in sorted(words.items())))
    if failures:
        sys.exit(f"{len(failures)} connections failed: {failures[0]}")


def main():
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(dest="kind", required=True)
    server = kinds.add_parser("serve")
    server.add_argument("port", type=int)
    server.add_argument("name")
    client = kinds.add_parser("ask")
    client.add_argument("address")
    client.add_argument("port", type=int)
    client.add_argument("path")
    client.add_argument("--count", type=int, default=1)
    client.add_argument("--connections", type=int, default=1)
    client.add_argument("--version")
    args = parser.parse_args()
    serve(args) if args.kind == "serve" else ask(args)


main()

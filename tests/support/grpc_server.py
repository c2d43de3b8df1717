#!/usr/bin/python3
"""A gRPC server (Debian's grpcio) for tests of gRPC clients; messages are bytes.

grpc_server.py CHAIN KEY    serves TLS on 127.0.0.1 until its standard input ends; says the port.

/test.T/Echo     a message for a message, unary
/test.T/Chat     the same, as a stream
/test.T/Seen     the value of the request's header that the message names, unary
/test.T/Fail     PERMISSION_DENIED before anything else
/test.T/Half     one message, then INTERNAL
/test.T/Slow     no answer
/test.T/Large    as many bytes as the message says in decimal
/test.T/Leave    a stream: one message, then the server goes (GOAWAY), cutting what lives after 200 ms
Exits with 77 where there is no grpcio.
"""
import os
import sys
import threading
from concurrent import futures

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # refused handshakes are what tests ask for
try:
    import grpc
except ImportError:
    sys.exit(77)


def fail(request, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identities matched: 100% é\n")


def half(requests, context):
    yield b"half"
    context.abort(grpc.StatusCode.INTERNAL, "and no more")


def slow(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait(60)
    return b""


def seen(request, context):
    name = request.decode()
    return ",".join(v for k, v in context.invocation_metadata() if k == name).encode()


class Handler(grpc.GenericRpcHandler):
    def __init__(self):
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        self.methods = {
            "Echo": unary(lambda request, context: request),
            "Chat": stream(lambda requests, context: (r for r in requests)),
            "Seen": unary(seen),
            "Fail": unary(fail),
            "Half": stream(half),
            "Slow": unary(slow),
            "Large": unary(lambda request, context: bytes(int(request))),
            "Leave": stream(self.leave),
        }
        self.server = None

    def leave(self, requests, context):
        yield b"last"
        self.server.stop(0.2)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(60)

    def service(self, call):
        return self.methods.get(call.method.rsplit("/", 1)[-1])


def main():
    chain, key = (open(path, "rb").read() for path in sys.argv[1:3])
    handler = Handler()
    server = handler.server = grpc.server(futures.ThreadPoolExecutor(16), [handler], options=[
        ("grpc.max_send_message_length", -1)])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


main()

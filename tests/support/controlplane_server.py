"""controlplane_server: the parts of the test control plane together, and its commands (controlplane.py says
what each does).
"""

import argparse
import concurrent.futures
import datetime
import ipaddress
import json
import os
import pathlib
import signal
import socket
import socketserver
import tempfile
import threading

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

import controlplane_ca as ca_module
import controlplane_mesh as mesh_file
import controlplane_proto as proto
import controlplane_xds as xds
from controlplane_wire import Wire

KINDS = {"address": proto.ADDRESS, "policy": proto.AUTHORIZATION}


def code_of(word):
    return grpc.StatusCode[word.upper().replace("-", "_")]


class ControlPlane:
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.TemporaryDirectory(prefix="culvert-cp-")
        self.sockets = 0
        accounts = ca_module.Accounts(options.accounts, options.cluster or ["Kubernetes"])
        self.mesh = self.make_mesh(accounts)
        self.churner = xds.Churn(self.mesh)
        root = ca_module.Root.read(*options.ca) if options.ca else ca_module.Root.make()
        self.server_root = root
        self.ca = ca_module.Ca(self.mesh, accounts, root)
        if options.root:
            pathlib.Path(options.root).write_text(ca_module.pem(root.certificate))
        self.reload()
        self.shown = self.make_certificate("good")
        host, _, port = options.listen.rpartition(":") if ":" in options.listen.rpartition("]")[2] \
            else (options.listen, "", "15012")
        self.server = None
        self.wire = Wire(host.strip("[]"), int(port))
        self.start_server()
        self.over = threading.Event()

    make_mesh = xds.Mesh

    # The server.

    def handlers(self):
        mesh, ca = self.mesh, self.ca
        return (
            grpc.method_handlers_generic_handler(
                proto.XDS_SERVICE, {proto.XDS_METHOD: grpc.stream_stream_rpc_method_handler(mesh.serve)}),
            grpc.method_handlers_generic_handler(
                proto.CA_SERVICE, {proto.CA_METHOD: grpc.unary_unary_rpc_method_handler(ca.serve)}),
        )

    def start_server(self):
        settings = [
            ("grpc.max_receive_message_length", self.options.max_request),
            ("grpc.max_send_message_length", -1),
            ("grpc.http2.min_ping_interval_without_data_ms", 15000),  # istiod's enforcement policy
            ("grpc.http2.max_ping_strikes", 2),
        ]
        if self.options.max_age:
            settings += [("grpc.max_connection_age_ms", int(self.options.max_age * 1000)),
                         ("grpc.max_connection_age_grace_ms", 1000)]
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), options=settings)
        server.add_generic_rpc_handlers(self.handlers())
        self.sockets += 1
        path = f"{self.folder.name}/{self.sockets}"
        credentials = grpc.dynamic_ssl_server_credentials(self.shown, lambda: self.shown)
        server.add_secure_port(f"unix:{path}", credentials)
        server.start()
        old, self.server, self.wire.inner = self.server, server, path
        return old

    def make_certificate(self, kind):
        names = [x509.DNSName(name) for name in self.options.name or ["istiod.istio-system.svc"]]
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(self.options.listen.rpartition(":")[0].strip("[]"))))
        except ValueError:
            pass  # a name, or nothing
        start, end = ca_module.now() - ca_module.BACKDATED, ca_module.now() + datetime.timedelta(days=1)
        if kind == "expired":
            start, end = start - datetime.timedelta(days=1), ca_module.now() - datetime.timedelta(seconds=60)
        elif kind == "other-name":
            names = [x509.DNSName("somebody-else.example")]
        root = ca_module.Root.make() if kind == "other-root" else self.server_root
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = root.sign(key.public_key(), names, start, end, [ExtendedKeyUsageOID.SERVER_AUTH])
        chain = ca_module.pem(leaf) + ca_module.pem(root.certificate)
        return grpc.ssl_server_certificate_configuration([(ca_module.key_pem(key).encode(), chain.encode())])

    # Commands: methods by their names; texts in, a text out.

    def reload(self):
        loaded = mesh_file.load(self.options.mesh)
        self.mesh.replace(loaded)
        return " ".join(f"{word}={len(loaded[kind])}" for word, kind in KINDS.items())

    def put(self, kind, name, value, version=None):
        value = bytes.fromhex(value)
        version = mesh_file.version_of(value) if version is None else version
        if KINDS[kind] == proto.AUTHORIZATION:
            version = ""
        self.mesh.put(KINDS[kind], {name: mesh_file.Entry(version, value, (), "", ())})

    def remove(self, kind, *names):
        self.mesh.remove(KINDS[kind], names)

    def huge(self, count):
        self.churner.huge(int(count))

    def churn(self, percent, seconds):
        self.churner.start(float(percent), int(seconds))

    def churn_end(self):
        if self.churner.thread:
            self.churner.thread.join()
        return f"rounds={self.churner.rounds}"

    def shape(self, name, count="0"):
        if name not in xds.SHAPES or (name == "split" and int(count) < 1):
            raise ValueError(f"{name} is none of {', '.join(xds.SHAPES)}")
        self.mesh.shape, self.mesh.split = name, int(count)

    def raw(self, value):
        with self.mesh.changed:
            for stream in self.mesh.streams:
                stream.raw.append(bytes.fromhex(value))
            self.mesh.changed.notify_all()
            return f"streams={len(self.mesh.streams)}"

    def status(self):
        with self.mesh.changed:
            return json.dumps({
                "streams": [stream.describe() for stream in self.mesh.streams],
                "resources": {word: len(self.mesh.resources[kind]) for word, kind in KINDS.items()},
                "nacks": list(self.mesh.nacks), "violations": list(self.mesh.violations),
                "counts": self.mesh.counts, "churning": self.churner.is_running(),
                "accepted": self.wire.accepted, "connections": len(self.wire.pairs), "bytes": self.wire.sent,
            })

    def ca_status(self):
        with self.mesh.changed:
            return json.dumps(self.ca.describe())

    def wait(self, seconds, condition, what):
        if not self.mesh.wait(seconds, condition):
            raise TimeoutError(f"{what}: not within {seconds} s; {self.status()}")

    def streams(self, count, seconds):
        self.wait(seconds, lambda: self.mesh.is_settled(int(count)), f"{count} streams that have all")

    def no_streams(self, seconds):
        self.wait(seconds, lambda: not self.mesh.streams, "no stream")

    def expect_nack(self, seconds, kind=None):
        def found():
            return next((nack for nack in self.mesh.nacks if kind is None or nack[0] == KINDS[kind]), None)

        self.wait(seconds, found, "a NACK")
        with self.mesh.changed:
            nack = found()
            self.mesh.nacks.remove(nack)
        return f"{nack[1]} {nack[2]}"

    def no_nacks(self):
        if self.mesh.nacks:
            raise ValueError(f"NACKs: {list(self.mesh.nacks)}")

    def no_violations(self):
        if self.mesh.violations:
            raise ValueError("; ".join(self.mesh.violations))

    def fail(self, code, *text):
        with self.mesh.changed:
            self.mesh.refusals.append((code_of(code), " ".join(text)))

    def end(self, code, *text):
        return f"streams={self.mesh.end_streams(code_of(code), ' '.join(text))}"

    def goaway(self, seconds):
        self.start_server().stop(float(seconds))

    def cut(self):
        return f"connections={self.wire.cut()}"

    def cut_after(self, count):
        self.wire.cut_in(int(count))

    def hold(self):
        self.wire.hold(True)

    def go_on(self):
        self.wire.hold(False)

    def away(self):
        return f"connections={self.wire.away()}"

    def back(self):
        self.wire.back()

    def restart(self, seconds="0"):
        self.wire.away()
        self.start_server().stop(0).wait()
        threading.Event().wait(float(seconds))
        self.wire.back()

    def certificate(self, kind):
        if kind not in ("good", "expired", "other-name", "other-root"):
            raise ValueError(f"{kind} is no kind of certificate")
        self.shown = self.make_certificate(kind)
        # gRPC asks for it with each handshake, and takes over what is another object.

    def ca_ttl(self, seconds):
        self.ca.ttl_s = int(seconds)

    def ca_slow(self, seconds):
        self.ca.slow(float(seconds))

    def ca_release(self):
        self.ca.release()

    def ca_refuse(self, identity):
        self.ca.refused.add(identity)

    def ca_accept(self, identity):
        self.ca.refused.discard(identity)

    def ca_fault(self, kind, times="1"):
        if kind not in ca_module.FAULTS:
            raise ValueError(f"{kind} is none of {', '.join(ca_module.FAULTS)}")
        with self.mesh.changed:
            self.ca.faults.extend([kind] * int(times))

    def ca_fail(self, code, *text):
        with self.mesh.changed:
            self.ca.faults.append((code_of(code), " ".join(text)))

    def ca_root(self, cert, key):
        self.ca.root = ca_module.Root.read(cert, key)

    def ca_wait(self, count, seconds):
        self.wait(seconds, lambda: self.ca.counts["signed"] >= int(count), f"{count} certificates")

    def ca_waiting(self, count, seconds):
        self.wait(seconds, lambda: self.ca.waiting >= int(count), f"{count} who wait")

    def quit(self):
        self.over.set()

    COMMANDS = (
        "reload", "put", "remove", "huge", "churn", "churn-end", "shape", "raw", "status", "ca-status", "streams",
        "no-streams", "expect-nack", "no-nacks", "no-violations", "fail", "end", "goaway", "cut", "cut-after", "hold",
        "go-on", "away", "back", "restart", "certificate", "ca-ttl", "ca-slow", "ca-release", "ca-refuse",
        "ca-accept", "ca-fault", "ca-fail", "ca-root", "ca-wait", "ca-waiting", "quit",
    )

    def do(self, line):
        words = line.split()
        try:
            if not words or words[0] not in self.COMMANDS:
                raise ValueError(f"no such command: {line.strip()!r}")
            answer = getattr(self, words[0].replace("-", "_"))(*words[1:])
            return f"ok {answer or ''}".strip()
        except Exception as error:  # every failure is the script's to judge
            return f"error {type(error).__name__}: {error}".replace("\n", " ")


class Commands(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def serve(words, make=ControlPlane):
    parser = argparse.ArgumentParser(prog="controlplane.py serve")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--mesh", action="append", required=True)
    parser.add_argument("--name", action="append")
    parser.add_argument("--ca", nargs=2)
    parser.add_argument("--root")
    parser.add_argument("--accounts")
    parser.add_argument("--cluster", action="append")
    parser.add_argument("--max-request", type=int, default=4 << 20)
    parser.add_argument("--max-age", type=float)
    plane = make(parser.parse_args(words))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(plane.do(line.decode()).encode() + b"\n")

    path = plane.options.socket
    if os.path.exists(path):
        os.unlink(path)
    commands = Commands(path, Handler)
    threading.Thread(target=commands.serve_forever, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: plane.over.set())
    print(f"listening on {plane.wire.address}:{plane.wire.port}", flush=True)
    plane.over.wait()
    plane.wire.away()
    plane.server.stop(0).wait()
    plane.churner.stop()
    os.unlink(path)
    plane.folder.cleanup()

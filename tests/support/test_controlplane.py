#!/usr/bin/python3
"""test_controlplane: the test control plane itself, from a plain gRPC client: what istiod does, and each fault."""

import json
import os
import pathlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

try:
    import grpc
    import yaml  # noqa: F401
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    import controlplane_proto as proto
except (ImportError, FileNotFoundError) as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
NAME = "istiod.istio-system.svc"
MESH = """
workloads:
- {uid: lab//Pod/demo/server, name: server, namespace: demo, serviceAccount: server, node: node-b, protocol: HBONE,
   workloadIps: ["10.2.0.11", "fd00:2::11"], services: {demo/web.demo.svc.cluster.local: {80: 8080}}}
- {uid: lab//Pod/demo/client, name: client, namespace: demo, serviceAccount: client, node: node-a, protocol: HBONE,
   workloadIps: ["10.1.0.11"], services: {}}
services:
- {name: web, namespace: demo, hostname: web.demo.svc.cluster.local, vips: [/10.96.0.7], ports: {80: 8080}}
"""
POLICIES = """
policies:
- {name: refuse, namespace: demo, scope: WorkloadSelector, action: Deny, dryRun: false,
   rules: [[[{principals: [!Exact cluster.local/ns/demo/sa/client], notPrincipals: [!Presence []]}]]]}
"""
ACCOUNTS = """
- {token: good, namespace: istio-system, serviceAccount: ztunnel, pod: ztunnel-a, node: node-a}
- {token: stranger, namespace: demo, serviceAccount: client}
"""
ALL = {"lab//Pod/demo/server", "lab//Pod/demo/client", "demo/web.demo.svc.cluster.local"}


class Plane:
    """A control plane of its own process."""

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        (self.path / "mesh").mkdir()
        (self.path / "mesh/mesh.yaml").write_text(MESH)
        (self.path / "mesh/policies.yaml").write_text(POLICIES)
        (self.path / "accounts.yaml").write_text(ACCOUNTS)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "controlplane.py"), "serve", "--listen", "127.0.0.1:0",
             "--socket", str(self.path / "sock"), "--mesh", str(self.path / "mesh"),
             "--root", str(self.path / "root.pem"), "--accounts", str(self.path / "accounts.yaml"), *options],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.rpartition(":")[2])

    def say(self, *words):
        with socket.socket(socket.AF_UNIX) as commands:
            commands.settimeout(60)
            commands.connect(str(self.path / "sock"))
            commands.sendall((" ".join(words) + "\n").encode())
            answer = commands.makefile().readline().strip()
        if not answer.startswith("ok"):
            raise AssertionError(f"{' '.join(words)}: {answer}")
        return answer[3:]

    def cli(self, *words):
        return subprocess.run([sys.executable, str(HERE / "controlplane.py"), str(self.path / "sock"), *words],
                              capture_output=True, text=True, timeout=60)

    def status(self):
        return json.loads(self.say("status"))

    def channel(self, name=NAME):
        root = (self.path / "root.pem").read_bytes()
        return grpc.secure_channel(
            f"127.0.0.1:{self.port}", grpc.ssl_channel_credentials(root),
            [("grpc.ssl_target_name_override", name), ("grpc.max_receive_message_length", -1),
             ("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)])

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
        self.folder.cleanup()


def metadata(token="good", cluster="Kubernetes"):
    return (("authorization", f"Bearer {token}"), ("clusterid", cluster))


class Client:
    """A stream that subscribes; what comes lies in a queue."""

    def __init__(self, channel, token="good", namespace="istio-system", node="node-a"):
        self.outbox, self.inbox = queue.Queue(), queue.Queue()
        call = channel.stream_stream(f"/{proto.XDS_SERVICE}/{proto.XDS_METHOD}")
        self.namespace, self.node = namespace, node
        self.call = call(iter(self.outbox.get, None), metadata=metadata(token))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for data in self.call:
                self.inbox.put(data)
        except grpc.RpcError as error:
            self.inbox.put(error)
        else:
            self.inbox.put(None)

    def send(self, **fields):
        self.outbox.put(proto.Request(**fields).SerializeToString())

    def subscribe(self, kind, **fields):
        request = proto.Request(type_url=kind, **fields)
        request.node.id = "ztunnel~10.0.0.1~ztunnel-a.istio-system~istio-system.svc.cluster.local"
        request.node.metadata["NAMESPACE"] = self.namespace
        request.node.metadata["NODE_NAME"] = self.node
        self.outbox.put(request.SerializeToString())

    def raw(self):
        got = self.inbox.get(timeout=20)
        if isinstance(got, grpc.RpcError):
            raise got
        return got

    def get(self, error=None):
        """The next response, acknowledged, or refused with @error."""
        response = proto.Response.FromString(self.raw())
        fields = {"error_detail": {"code": 3, "message": error}} if error else {}
        self.send(type_url=response.type_url, response_nonce=response.nonce, **fields)
        return response

    def both(self, **fields):
        """Subscribes to everything."""
        self.subscribe(proto.ADDRESS, **fields)
        addresses = self.get()
        self.subscribe(proto.AUTHORIZATION)
        return addresses, self.get()

    def end(self):
        """How the stream ended: its code and words."""
        while True:
            got = self.inbox.get(timeout=20)
            if got is None:
                return "OK", ""
            if isinstance(got, grpc.RpcError):
                return got.code().name, got.details()


def names(response):
    return [resource.name for resource in response.resources]


class Served(unittest.TestCase):
    options = ()

    def setUp(self):
        self.plane = Plane(*self.options)
        self.addCleanup(self.plane.close)

    def client(self, *args, **fields):
        channel = self.plane.channel()
        self.addCleanup(channel.close)
        client = Client(channel, *args, **fields)
        self.addCleanup(client.call.cancel)
        self.addCleanup(client.outbox.put, None)
        return client

    def refused(self, want, *words):
        with self.assertRaisesRegex(AssertionError, want):
            self.plane.say(*words)


class Xds(Served):
    def test_everything_and_what_changes(self):
        client = self.client()
        addresses, policies = client.both()
        self.assertEqual(set(names(addresses)), ALL)
        self.assertTrue(all(resource.version for resource in addresses.resources))
        self.assertEqual([(resource.name, resource.version) for resource in policies.resources], [("demo/refuse", "")])
        self.assertFalse(any(resource.aliases for resource in addresses.resources))
        self.plane.say("streams", "1", "10")

        mesh = self.plane.path / "mesh/mesh.yaml"
        mesh.write_text(mesh.read_text().replace("10.1.0.11", "10.1.0.13"))
        self.plane.say("reload")
        self.assertEqual(names(client.get()), ["lab//Pod/demo/client"])
        (self.plane.path / "mesh/policies.yaml").write_text("")
        self.plane.say("reload")
        gone = client.get()
        self.assertEqual((names(gone), list(gone.removed_resources)), ([], ["demo/refuse"]))
        self.plane.say("streams", "1", "10")
        self.plane.say("no-violations")
        self.plane.say("no-nacks")
        (self.plane.path / "mesh/policies.yaml").write_text("nonsense: 1")
        self.refused("nonsense", "reload")

    def test_what_a_client_has_is_not_sent_again(self):
        first, _ = self.client().both()
        known = {resource.name: resource.version for resource in first.resources}
        again, policies = self.client().both(initial_resource_versions=known | {"lab//Pod/demo/gone": "x"})
        self.assertEqual((names(again), list(again.removed_resources)), ([], ["lab//Pod/demo/gone"]))
        self.assertEqual(names(policies), ["demo/refuse"])
        known["lab//Pod/demo/server"] = "other"
        again, _ = self.client().both(initial_resource_versions=known)
        self.assertEqual(names(again), ["lab//Pod/demo/server"])

    def test_on_demand(self):
        client = self.client()
        star = {"resource_names_subscribe": ["*"], "resource_names_unsubscribe": ["*"]}
        client.subscribe(proto.ADDRESS, **star)
        own = client.get()
        self.assertEqual([(r.name, list(r.aliases)) for r in own.resources], [("lab//Pod/demo/client", ["/10.1.0.11"])])
        client.send(type_url=proto.ADDRESS, resource_names_subscribe=["/10.96.0.7"])
        self.assertEqual(set(names(client.get())), {"demo/web.demo.svc.cluster.local", "lab//Pod/demo/server"})
        # What came with another name brings no answer; what came because it is on the node does.
        client.send(type_url=proto.ADDRESS, resource_names_subscribe=["demo/web.demo.svc.cluster.local"])
        client.send(type_url=proto.ADDRESS, resource_names_subscribe=["/10.1.0.11"])
        self.assertEqual(names(client.get()), ["lab//Pod/demo/client"])
        client.send(type_url=proto.ADDRESS, resource_names_subscribe=["/10.9.9.9"])
        unknown = client.get()
        self.assertEqual((names(unknown), list(unknown.removed_resources)), ([], ["/10.9.9.9"]))
        client.send(type_url=proto.ADDRESS, resource_names_subscribe=["/fd00:2::11"])
        self.assertEqual(names(client.get()), ["lab//Pod/demo/server"])
        client.send(type_url=proto.ADDRESS, resource_names_unsubscribe=["/fd00:2::11", "/10.96.0.7"])
        self.plane.say("no-violations")

    def test_nack_and_resources_as_they_are(self):
        client = self.client()
        client.both()
        self.plane.say("put", "address", "lab//Pod/demo/bad", "ff")
        response = client.get("lab//Pod/demo/bad: cannot be read")
        self.assertEqual([r.resource.value for r in response.resources], [b"\xff"])
        self.plane.say("streams", "1", "10")
        self.refused("NACKs", "no-nacks")
        self.assertEqual(self.plane.say("expect-nack", "10", "address"), "3 lab//Pod/demo/bad: cannot be read")
        self.plane.say("no-nacks")
        self.plane.say("remove", "address", "lab//Pod/demo/bad")
        self.assertEqual(list(client.get().removed_resources), ["lab//Pod/demo/bad"])
        self.refused("TimeoutError", "expect-nack", "0.1")
        self.plane.say("raw", "c0ffee")
        self.assertEqual(client.raw(), b"\xc0\xff\xee")

    def test_violations(self):
        client = self.client()
        client.both()
        client.send(type_url=proto.ADDRESS, response_nonce="never")
        client.send(type_url=proto.ADDRESS)
        client.send(type_url="type.googleapis.com/nobody.Knows", resource_names_subscribe=["a"])
        client.get()
        self.plane.say("streams", "1", "10")
        for want in ("nonce 'never'", "changes nothing", "nobody.Knows", "has no node"):
            self.refused(want, "no-violations")

    def test_shapes(self):
        plain = names(self.client().both()[0])
        for shape, want in (("reverse", plain[::-1]), ("duplicate", [name for name in plain for _ in range(2)])):
            self.plane.say("shape", shape)
            self.assertEqual(names(self.client().both()[0]), want)
        for shape, parts in (("twice", [plain, plain]), ("split 2", [plain[:2], plain[2:]])):
            self.plane.say("shape", *shape.split())
            client = self.client()
            client.subscribe(proto.ADDRESS)
            self.assertEqual([names(client.get()) for _ in parts], parts)
        self.refused("none of", "shape", "odd")

    def test_order_of_types(self):
        mesh, policies = (self.plane.path / f"mesh/{name}.yaml" for name in ("mesh", "policies"))
        self.plane.say("shape", "plain")
        client = self.client()
        client.both()
        for node, shape, want in (("x", "plain", [proto.ADDRESS, proto.AUTHORIZATION]),
                                  ("y", "policies-first", [proto.AUTHORIZATION, proto.ADDRESS])):
            self.plane.say("shape", shape)
            self.plane.say("streams", "1", "10")
            mesh.write_text(MESH.replace("node-a", f"node-{node}"))
            policies.write_text(POLICIES.replace("sa/client", f"sa/{node}"))
            self.plane.say("reload")
            self.assertEqual([client.get().type_url for _ in want], want)

    def test_who_may(self):
        for token, want in (("bad", "authentication failure"), ("", "authentication failure")):
            client = self.client(token)
            client.subscribe(proto.ADDRESS)
            self.assertEqual(client.end(), ("UNAUTHENTICATED", want))
        client = self.client("stranger")
        client.subscribe(proto.ADDRESS)
        self.assertEqual(client.end(), ("PERMISSION_DENIED", "authorization failed: no identities "
                                        "([spiffe://cluster.local/ns/demo/sa/client]) matched istio-system/"))
        client = self.client()
        client.send(type_url=proto.ADDRESS)
        self.assertEqual(client.end(), ("INVALID_ARGUMENT", "missing node information"))

    def test_huge_and_churn(self):
        client = self.client()
        client.both()
        self.plane.say("huge", "20000")
        self.assertEqual(len(client.get().resources), 20000)
        self.plane.say("churn", "1", "2")
        for _ in range(2):
            self.assertEqual(len(client.get().resources), 200)
        self.assertEqual(self.plane.say("churn-end"), "rounds=2")
        self.plane.say("huge", "0")
        self.assertEqual(len(client.get().removed_resources), 20000)


class Commands(Served):
    def test_from_a_script(self):
        done = self.plane.cli("reload")
        self.assertEqual((done.returncode, done.stdout), (0, "ok address=3 policy=1\n"))
        done = self.plane.cli("odd", "thing")
        self.assertEqual((done.returncode, done.stdout), (1, "error ValueError: no such command: 'odd thing'\n"))
        self.plane.say("quit")
        self.assertEqual(self.plane.process.wait(10), 0)
        self.assertFalse((self.plane.path / "sock").exists())


class Ends(Served):
    def open(self):
        client = self.client()
        client.both()
        self.plane.say("streams", "1", "10")
        return client

    def test_by_order(self):
        client = self.open()
        self.plane.say("end", "unavailable", "going", "away")
        self.assertEqual(client.end(), ("UNAVAILABLE", "going away"))
        self.plane.say("fail", "resource-exhausted", "request rate limit exceeded")
        client = self.client()
        client.subscribe(proto.ADDRESS)
        self.assertEqual(client.end(), ("RESOURCE_EXHAUSTED", "request rate limit exceeded"))
        self.open()

    def test_goaway(self):
        client = self.open()
        self.plane.say("goaway", "0.2")
        self.assertIn(client.end()[0], ("CANCELLED", "UNAVAILABLE", "UNKNOWN"))
        self.open()

    def test_cut_in_a_message(self):
        client = self.open()
        self.plane.say("cut-after", "100000")
        self.plane.say("huge", "20000")
        self.assertEqual(client.end()[0], "UNAVAILABLE")
        self.assertTrue(client.inbox.empty())
        self.plane.say("no-streams", "10")
        client = self.client()
        self.assertEqual(len(client.both()[0].resources), 20003)
        self.assertEqual(self.plane.say("cut"), "connections=1")
        self.assertEqual(client.end()[0], "UNAVAILABLE")

    def test_held_up(self):
        client = self.open()
        self.plane.say("hold")
        self.plane.say("put", "address", "a", "0a04a2010175")
        self.assertRaises(queue.Empty, client.inbox.get, timeout=0.3)
        self.plane.say("go-on")
        self.assertEqual(names(client.get()), ["a"])

    def test_away(self):
        client = self.open()
        self.assertEqual(self.plane.say("away"), "connections=1")
        self.assertEqual(client.end()[0], "UNAVAILABLE")
        client = self.client()
        client.subscribe(proto.ADDRESS)
        self.assertEqual(client.end()[0], "UNAVAILABLE")
        self.plane.say("back")
        client = self.open()
        self.plane.say("restart")
        self.assertIn(client.end()[0], ("CANCELLED", "UNAVAILABLE", "UNKNOWN"))
        self.open()

    def test_certificates_shown(self):
        for kind in ("expired", "other-name", "other-root"):
            self.plane.say("certificate", kind)
            client = self.client()
            client.subscribe(proto.ADDRESS)
            self.assertEqual((kind, client.end()[0]), (kind, "UNAVAILABLE"))
        self.plane.say("certificate", "good")
        self.open()


class Limits(Served):
    options = ("--max-request", "4096", "--max-age", "1")

    def test_request_too_large(self):
        client = self.client()
        client.subscribe(proto.ADDRESS, initial_resource_versions={f"lab//Pod/demo/{n}": "0" for n in range(1000)})
        code, words = client.end()
        self.assertEqual(code, "RESOURCE_EXHAUSTED")
        self.assertIn("larger than max", words)

    def test_greatest_age(self):
        client = self.client()
        client.both()
        self.assertIn(client.end()[0], ("CANCELLED", "UNAVAILABLE", "UNKNOWN"))


class Ca(Served):
    def setUp(self):
        super().setUp()
        channel = self.plane.channel()
        self.addCleanup(channel.close)
        self.method = channel.unary_unary(f"/{proto.CA_SERVICE}/{proto.CA_METHOD}")

    def csr(self, identity, critical=True):
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(name, critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def ask(self, account="client", token="good", seconds=3600, identity=None, critical=True):
        identity = identity or f"spiffe://cluster.local/ns/demo/sa/{account}"
        request = proto.CertificateRequest(csr=self.csr(identity, critical), validity_duration=seconds)
        request.metadata["ImpersonatedIdentity"] = identity
        answer = self.method(request.SerializeToString(), metadata=metadata(token), timeout=20)
        return list(proto.CertificateResponse.FromString(answer).cert_chain)

    def leaf(self, **fields):
        return x509.load_pem_x509_certificate(self.ask(**fields)[0].encode())

    def refusal(self, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            self.ask(**fields)
        return caught.exception.code().name, caught.exception.details()

    def test_signs(self):
        chain = self.ask()
        leaf, root = (x509.load_pem_x509_certificate(text.encode()) for text in chain)
        self.assertEqual(root, x509.load_pem_x509_certificate((self.plane.path / "root.pem").read_bytes()))
        root.public_key().verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual([name.value for name in names.value], ["spiffe://cluster.local/ns/demo/sa/client"])
        self.assertEqual(leaf.public_key().public_numbers(), self.key.public_key().public_numbers())
        self.assertEqual(len(leaf.subject), 0)
        self.assertAlmostEqual((leaf.not_valid_after - leaf.not_valid_before).total_seconds(), 3720, delta=2)
        self.plane.say("ca-ttl", "20")
        leaf = self.leaf()
        self.assertAlmostEqual((leaf.not_valid_after - leaf.not_valid_before).total_seconds(), 20, delta=2)
        self.plane.say("ca-wait", "2", "1")
        status = json.loads(self.plane.say("ca-status"))
        self.assertEqual((status["signed"], status["identities"]), (2, {"spiffe://cluster.local/ns/demo/sa/client": 2}))

    def test_who_may(self):
        impersonation = ("UNAUTHENTICATED", "request impersonation authentication failure")
        self.assertEqual(self.refusal(token="bad"), ("UNAUTHENTICATED", "request authenticate failure"))
        self.assertEqual(self.refusal(account="server"), impersonation)  # on the other node
        self.assertEqual(self.refusal(token="stranger"), impersonation)  # not bound to a pod
        self.assertEqual(self.refusal(identity="spiffe://cluster.local/demo"), impersonation)
        self.assertEqual(self.refusal(seconds=2161 * 3600)[0], "INVALID_ARGUMENT")
        self.assertEqual(self.refusal(critical=False)[0], "INVALID_ARGUMENT")
        self.plane.say("ca-refuse", "*")
        self.assertEqual(self.refusal(), impersonation)
        self.plane.say("ca-accept", "*")
        self.leaf(identity="spiffe://other.td/ns/demo/sa/client")  # the trust domain is not looked at
        accounts = self.plane.path / "accounts.yaml"
        accounts.write_text(accounts.read_text().replace("token: good", "token: rotated"))
        self.assertEqual(self.refusal()[1], "request authenticate failure")
        self.leaf(token="rotated")

    def test_faults(self):
        for kind, count in (("no-root", 1), ("empty", 0), ("garbage", 2)):
            self.plane.say("ca-fault", kind)
            self.assertEqual(len(self.ask()), count)
        self.plane.say("ca-fault", "expired")
        self.assertLess(self.leaf().not_valid_after.timestamp(), time.time())
        self.plane.say("ca-fault", "not-yet")
        self.assertGreater(self.leaf().not_valid_before.timestamp(), time.time())
        self.plane.say("ca-fault", "other-identity")
        self.assertIn("ns/other", str(self.leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName)))
        self.plane.say("ca-fault", "other-key")
        self.assertNotEqual(self.leaf().public_key().public_numbers(), self.key.public_key().public_numbers())
        self.plane.say("ca-fault", "expired-root")
        root = x509.load_pem_x509_certificate(self.ask()[1].encode())
        self.assertLess(root.not_valid_after.timestamp(), time.time())
        self.plane.say("ca-fault", "other-root", "1")
        leaf, root = (x509.load_pem_x509_certificate(text.encode()) for text in self.ask())
        with self.assertRaises(Exception):
            root.public_key().verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        self.plane.say("ca-fail", "unavailable", "not", "now")
        self.assertEqual(self.refusal(), ("UNAVAILABLE", "not now"))
        self.assertEqual(len(self.ask()), 2)
        self.refused("none of", "ca-fault", "odd")

    def test_slow(self):
        self.plane.say("ca-slow", "30")
        got = queue.Queue()
        threading.Thread(target=lambda: got.put(self.ask()), daemon=True).start()
        self.plane.say("ca-waiting", "1", "10")
        self.assertTrue(got.empty())
        self.plane.say("ca-release")
        self.assertEqual(len(got.get(timeout=20)), 2)


if __name__ == "__main__":
    os.environ.pop("https_proxy", None)
    unittest.main()

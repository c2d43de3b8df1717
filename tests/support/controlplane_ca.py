"""controlplane_ca: IstioCertificateService as istiod has it (reference/controlplane 3.7, 5 and 12,
operations 11), the accounts that may use it, and certificates that are wrong on demand.
"""

import collections
import datetime
import pathlib
import re
import threading
import time

import grpc
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import controlplane_proto as proto

Caller = collections.namedtuple("Caller", "namespace service_account pod node")
ANYBODY = Caller(None, None, None, None)

SPIFFE = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)")
BACKDATED = datetime.timedelta(minutes=2)

# What the next answer of CreateCertificate is like.
FAULTS = ("no-root", "empty", "garbage", "other-identity", "other-key", "expired", "not-yet", "expired-root", "other-root")


class Accounts:
    """Whose tokens are good: a file of {token, namespace, serviceAccount, pod, node}, read for each call,
    so that a token may be taken away. Without a file any token but none is good, and may do anything."""

    def __init__(self, path, clusters):
        self.path, self.clusters = path, clusters

    def check(self, context):
        """The caller, or None: the token or the cluster is not known."""
        metadata = dict(context.invocation_metadata())
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token or token != token.strip():
            return None
        if metadata.get("clusterid", "") not in ("", *self.clusters):
            return None
        if not self.path:
            return ANYBODY
        for account in yaml.safe_load(pathlib.Path(self.path).read_text()) or []:
            if account["token"] == token:
                return Caller(account["namespace"], account["serviceAccount"], account.get("pod"), account.get("node"))
        return None


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


class Root:
    """A certificate that signs, and its key."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    @classmethod
    def read(cls, cert_path, key_path):
        key = serialization.load_pem_private_key(pathlib.Path(key_path).read_bytes(), None)
        return cls(x509.load_pem_x509_certificate(pathlib.Path(cert_path).read_bytes()), key)

    @classmethod
    def make(cls, start=None, end=None, like=None):
        """A new one, from @start to @end; @like: with the key of that one."""
        key = like.key if like else ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start or now() - BACKDATED)
            .not_valid_after(end or now() + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True))
        return cls(builder.sign(key, hashes.SHA256()), key)

    def sign(self, public_key, names, start, end, usages):
        """A leaf as istiod makes it: its names alone say whose it is."""
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.certificate.subject)
            .public_key(public_key).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(end)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.KeyUsage(True, False, True, False, False, False, False, False, False), True)
            .add_extension(x509.ExtendedKeyUsage(usages), False)
            .add_extension(x509.SubjectAlternativeName(names), True))
        return builder.sign(self.key, hashes.SHA256())


class Ca:
    """Signs for whom it may. @mesh knows which workloads are on which node."""

    def __init__(self, mesh, accounts, root):
        self.mesh, self.accounts, self.root = mesh, accounts, root
        self.ttl_s = 0  # 0: as asked for
        self.slow_s = 0.0
        self.released = threading.Event()  # those who are kept waiting may go
        self.refused = set()  # identities, or "*"
        self.faults = collections.deque()  # of FAULTS, or (code, text), for calls to come
        self.signed = collections.Counter()
        self.counts = collections.Counter()
        self.waiting = 0

    def serve(self, data, context):
        with self.mesh.changed:
            self.counts["calls"] += 1
            fault = self.faults.popleft() if self.faults else None
            self.waiting += 1
            self.mesh.changed.notify_all()
        try:
            return self.answer(data, context, fault)
        finally:
            with self.mesh.changed:
                self.waiting -= 1
                self.mesh.changed.notify_all()

    def answer(self, data, context, fault):
        if self.slow_s:
            self.released.wait(self.slow_s)
        if isinstance(fault, tuple):
            self.refuse(context, *fault)
        caller = self.accounts.check(context)
        if not caller:
            self.refuse(context, grpc.StatusCode.UNAUTHENTICATED, "request authenticate failure")
        request = proto.CertificateRequest.FromString(data)
        identity = request.metadata.fields["ImpersonatedIdentity"].string_value
        if not identity and caller.namespace:
            identity = f"spiffe://cluster.local/ns/{caller.namespace}/sa/{caller.service_account}"
        elif not self.may(caller, identity):
            self.refuse(context, grpc.StatusCode.UNAUTHENTICATED, "request impersonation authentication failure")
        if request.validity_duration > 2160 * 3600:
            self.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "requested TTL is above the maximum")
        try:
            public_key = self.public_key(request.csr)
        except ValueError as error:
            self.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"CSR error: {error}")
        return self.chain(public_key, identity, request.validity_duration, fault)

    def refuse(self, context, code, text):
        with self.mesh.changed:
            self.counts["refused"] += 1
        context.abort(code, text)

    @staticmethod
    def public_key(csr_pem):
        """What the CSR is for; that it is as istiod wants it (reference/controlplane 5.1)."""
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        if not csr.is_signature_valid:
            raise ValueError("its signature is wrong")
        if len(csr.subject) or len(csr.extensions) != 1 or not names.critical:
            raise ValueError("a subject, another extension, or names that are not critical")
        if len(names.value) != 1 or not isinstance(names.value[0], x509.UniformResourceIdentifier):
            raise ValueError("not exactly one URI")
        return csr.public_key()

    def may(self, caller, identity):
        """The node authorizer: some workload of that account is on the caller's node. The trust domain
        is not looked at."""
        match = SPIFFE.fullmatch(identity)
        if not match or identity in self.refused or "*" in self.refused:
            return False
        if caller.namespace is None:
            return True
        if not caller.pod or not caller.node:
            return False
        with self.mesh.changed:
            entries = list(self.mesh.resources[proto.ADDRESS].values())
        for entry in entries:
            if entry.node == caller.node:
                workload = proto.Address.FromString(entry.value).workload
                if (workload.namespace, workload.service_account or "default") == match.groups()[1:]:
                    return True
        return False

    def chain(self, public_key, identity, validity_s, fault):
        # A life that was set is all of it to come: half of it is when an agent renews.
        start, root = now() - (datetime.timedelta(0) if self.ttl_s else BACKDATED), self.root
        end = now() + datetime.timedelta(seconds=self.ttl_s or validity_s or 86400)
        if fault == "expired":
            start, end = start - datetime.timedelta(hours=1), now() - datetime.timedelta(seconds=60)
        elif fault == "not-yet":
            start, end = now() + datetime.timedelta(hours=1), end + datetime.timedelta(hours=2)
        elif fault == "expired-root":
            root = Root.make(now() - datetime.timedelta(days=2), now() - datetime.timedelta(days=1), like=self.root)
        elif fault == "other-key":
            public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
        elif fault == "other-identity":
            identity = "spiffe://cluster.local/ns/other/sa/other"
        # What other-root signs does not lead to the root that is sent with it.
        signer = Root.make() if fault == "other-root" else root
        leaf = signer.sign(public_key, [x509.UniformResourceIdentifier(identity)], start, end,
                           [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        with self.mesh.changed:
            self.signed[identity] += 1
            self.counts["signed"] += 1
            self.mesh.changed.notify_all()
        chains = {"no-root": [pem(leaf)], "empty": [],
                  "garbage": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] * 2}
        return proto.CertificateResponse(
            cert_chain=chains.get(fault, [pem(leaf), pem(root.certificate)])).SerializeToString()

    def release(self):
        """Nobody is kept waiting any more."""
        self.slow_s = 0.0
        self.released.set()

    def slow(self, seconds):
        self.released.clear()
        self.slow_s = seconds

    def describe(self):
        return {"identities": dict(self.signed), "waiting": self.waiting, "ttl": self.ttl_s, "slow": self.slow_s,
                "time": time.time(), **self.counts}

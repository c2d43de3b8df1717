"""controlplane_proto: message classes from tests/support/proto, compiled by protoc when first used.

A pool of its own: the process may know other messages of the same names. Descriptions are apart from
the agent's, so that neither hides a mistake of the other.
"""

import pathlib
import subprocess
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FILES = ("discovery", "workload", "authorization", "citadel")
HERE = pathlib.Path(__file__).resolve().parent / "proto"

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"

XDS_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
XDS_METHOD = "DeltaAggregatedResources"
CA_SERVICE = "istio.v1.auth.IstioCertificateService"
CA_METHOD = "CreateCertificate"


def _compile():
    with tempfile.NamedTemporaryFile(suffix=".desc") as out:
        subprocess.run(
            ["protoc", "--include_imports", f"--descriptor_set_out={out.name}", f"--proto_path={HERE}",
             *(f"{name}.proto" for name in FILES)],
            check=True,
        )
        described = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in described.file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(name))


_message = _compile()

Request = _message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
Response = _message("envoy.service.discovery.v3.DeltaDiscoveryResponse")
Resource = _message("envoy.service.discovery.v3.Resource")
Address = _message("istio.workload.Address")
Workload = _message("istio.workload.Workload")
GatewayAddress = _message("istio.workload.GatewayAddress")
NetworkAddress = _message("istio.workload.NetworkAddress")
Authorization = _message("istio.security.Authorization")
CertificateRequest = _message("istio.v1.auth.IstioCertificateRequest")
CertificateResponse = _message("istio.v1.auth.IstioCertificateResponse")


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, payload):
    """A field of bytes, text or a message, as it is on the wire."""
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def resource_bytes(name, version, type_url, value, aliases=()):
    """A Resource, as a field of the response. By hand: 100,000 of them are to be quick."""
    body = field(1, version) if version else b""
    body += field(2, field(1, type_url) + field(2, value)) + field(3, name)
    for alias in aliases:
        body += field(4, alias)
    return field(2, body)


def response_bytes(type_url, nonce, resources, removed):
    """A DeltaDiscoveryResponse; @resources are fields made by resource_bytes()."""
    return b"".join(resources) + field(4, type_url) + field(5, nonce) + b"".join(field(6, name) for name in removed)

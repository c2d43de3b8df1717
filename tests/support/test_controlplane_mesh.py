#!/usr/bin/python3
"""test_controlplane_mesh: what the test control plane makes of a mesh file, and that its messages are those of upstream."""

import sys
import tempfile
import unittest

try:
    import controlplane_mesh
    import controlplane_proto as proto
except (ImportError, FileNotFoundError) as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

FULL = """
workloads:
- uid: c//Pod/n/w
  name: w
  namespace: n
  serviceAccount: a
  trustDomain: td
  clusterId: c
  network: net
  node: x
  hostname: w.example
  protocol: HBONE
  networkMode: HostNetwork
  status: Unhealthy
  workloadType: deployment
  workloadName: set
  canonicalName: app
  canonicalRevision: v1
  nativeTunnel: true
  workloadIps: [10.0.0.1]
  services: {n/h: {80: 8080}}
  authorizationPolicies: [n/p]
  waypoint: {destination: net/10.0.0.9, hboneMtlsPort: 15008}
  networkGateway: {destination: n/gw, hboneMtlsPort: 15009}
  applicationTunnel: {protocol: PROXY, port: 15088}
  locality: {region: r, zone: z, subzone: s}
  capacity: 0
services:
- name: h
  namespace: n
  hostname: h
  vips: [net/10.9.0.1]
  cidrVips: [{network: net, cidr: 10.8.0.0/16}]
  ports: {80: 0}
  subjectAltNames: [spiffe://td/ns/n/sa/a]
  waypoint: {destination: n/wp, hboneMtlsPort: 15008}
  weightedWaypoints: [{destination: {destination: n/wp2, hboneMtlsPort: 15008}, weight: 3}]
  loadBalancer: {routingPreferences: [Region, Node], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: IPv4
  canonical: true
  visibility: Namespace
  endpoints: {c//Pod/n/w2: {workloadUid: c//Pod/n/w, port: {80: 81}, status: Healthy}}
- {name: i, namespace: n, hostname: i, vips: [], ports: {}}
policies:
- name: p
  namespace: n
  scope: Global
  action: Allow
  dryRun: true
  rules: [[[{notSourceIps: [10.0.0.0/8], destinationPorts: [1, 2], serviceAccounts: [{namespace: n, serviceAccount: a}],
             namespaces: [!Prefix a, Suffix: b]}]]]
"""


class Vectors(unittest.TestCase):
    """reference/controlplane 3.9."""

    def test_rows(self):
        first = proto.Request(type_url="t")
        first.node.id = "i"
        first.node.metadata["K"] = "v"
        workload = proto.Workload()
        workload.services["n/h"].ports.add(service_port=80, target_port=8080)
        none = proto.Workload()
        none.capacity.value = 0
        gateway = proto.GatewayAddress(hbone_mtls_port=15008)
        gateway.hostname.namespace, gateway.hostname.hostname = "n", "h"
        policy = proto.Authorization(name="p", namespace="n", scope=1, action=1)
        policy.rules.add().clauses.add().matches.add().not_principals.add().presence.SetInParent()
        csr = proto.CertificateRequest(csr="C", validity_duration=86400)
        csr.metadata["ImpersonatedIdentity"] = "spiffe://cluster.local/ns/a/sa/b"
        rows = (
            ("first", first, "0a0f0a01691a0a0a080a014b12031a0176120174"),
            ("ack", proto.Request(type_url="t", response_nonce="7"), "120174320137"),
            ("nack", proto.Request(type_url="t", response_nonce="7", error_detail={"code": 3, "message": "m"}),
             "1201743201373a05080312016d"),
            ("on demand", proto.Request(type_url="t", resource_names_subscribe=["*"],
                                        resource_names_unsubscribe=["*"]), "1201741a012a22012a"),
            ("address", proto.Address(workload={"uid": "u"}), "0a04a2010175"),
            ("services", workload, "b2010e0a036e2f6812070a05085010903f"),
            ("capacity", none, "da0100"),
            ("gateway", gateway, "0a060a016e12016818a075"),
            ("address of a host", proto.NetworkAddress(address=bytes([10, 0, 0, 1])), "12040a000001"),
            ("address of all", proto.NetworkAddress(address=bytes([10, 0, 0, 0]), length=0), "12040a0000001800"),
            ("policy", policy, "0a017012016e180120012a080a06120422022200"),
            ("certificate", csr, "0a01431880a305223c0a3a0a14496d706572736f6e617465644964656e7469747912221a20737069666665"
                                 "3a2f2f636c75737465722e6c6f63616c2f6e732f612f73612f62"),
        )
        for name, message, want in rows:
            with self.subTest(name):
                self.assertEqual(message.SerializeToString(deterministic=True).hex(), want)
                self.assertEqual(type(message).FromString(bytes.fromhex(want)), message)


class Meshes(unittest.TestCase):
    """A mesh file as resources."""

    def load(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            return controlplane_mesh.load([file.name])

    def test_every_field(self):
        mesh = self.load(FULL)
        workload = proto.Address.FromString(mesh[proto.ADDRESS]["c//Pod/n/w"].value).workload
        service = proto.Address.FromString(mesh[proto.ADDRESS]["n/h"].value).service
        policy = proto.Authorization.FromString(mesh[proto.AUTHORIZATION]["n/p"].value)
        unset = [field.name for message in (workload, service, policy) for field in message.DESCRIPTOR.fields
                 if field.name not in dict((found.name, value) for found, value in message.ListFields())]
        # Enums whose value is 0, what istiod leaves to others, and what a mesh file cannot say.
        self.assertEqual(unset, ["workload_type", "extensions", "extensions", "ingress_use_waypoint", "scope", "action"])
        self.assertEqual(workload.waypoint.address.network, "net")
        self.assertEqual((workload.network_gateway.hostname.namespace, workload.network_gateway.hbone_mtls_port), ("n", 15009))
        self.assertTrue(workload.HasField("capacity"))
        self.assertEqual([(at.network, at.HasField("length") and at.length) for at in service.addresses],
                         [("net", False), ("net", 16)])
        self.assertEqual(list(service.load_balancing.routing_preference), [1, 4])
        match = policy.rules[0].clauses[0].matches[0]
        self.assertEqual((match.not_source_ips[0].length, list(match.destination_ports)), (8, [1, 2]))
        self.assertEqual([at.WhichOneof("match_type") for at in match.namespaces], ["prefix", "suffix"])
        self.assertEqual(mesh[proto.ADDRESS]["c//Pod/n/w"].keys, ())  # on the host's network: found by name alone
        self.assertEqual(mesh[proto.ADDRESS]["n/h"].keys, ("net/10.9.0.1", "net/10.8.0.0/16"))

    def test_refusals(self):
        rows = (
            ("a workload without uid", "workloads: [{name: a, namespace: n, workloadIps: [], services: {}}]", "no uid"),
            ("an unknown key", "services: [{name: a, namespace: n, hostname: a, vips: [], ports: {}, odd: 1}]", "'odd'"),
            ("an unknown word", "workloads: [{uid: u, namespace: n, workloadIps: [], services: {}, protocol: X}]", "'X'"),
            ("a missing key", "workloads: [{uid: u, namespace: n, services: {}}]", "workloadIps"),
            ("no YAML", "workloads: [", "ParserError"),
            ("an endpoint of nobody", FULL.replace("workloadUid: c//Pod/n/w", "workloadUid: u"), "xDS cannot say"),
        )
        for name, text, want in rows:
            with self.subTest(name), self.assertRaisesRegex(controlplane_mesh.MeshError, want):
                self.load(text)


if __name__ == "__main__":
    unittest.main()

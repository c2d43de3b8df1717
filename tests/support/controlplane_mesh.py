"""controlplane_mesh: a mesh file (reference/controlplane 10) as the resources that istiod would send.

The file is the one that culvert reads as meshFile, so a test can serve what it would otherwise load.
What xDS cannot say (an endpoint's own status) is refused, as is every key that is not known.
"""

import collections
import hashlib
import ipaddress
import pathlib

import yaml

import controlplane_proto as proto

Entry = collections.namedtuple("Entry", "version value keys node services")
"""A resource: its bytes, the names it is also asked for by, its node, the services it stands behind."""


class MeshError(Exception):
    """What is wrong with a file, in one sentence."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Also !Exact, !Prefix, !Suffix, !Presence, as one-key maps."""


def _match_of(loader, suffix, node):
    if suffix not in ("Exact", "Prefix", "Suffix", "Presence"):
        raise MeshError(f"!{suffix} is no kind of match")
    text = loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else ""
    return {suffix: text}


Loader.add_multi_constructor("!", _match_of)

WORKLOAD_TEXTS = {
    "uid": "uid", "name": "name", "namespace": "namespace", "serviceAccount": "service_account",
    "trustDomain": "trust_domain", "clusterId": "cluster_id", "network": "network", "node": "node",
    "hostname": "hostname", "workloadName": "workload_name", "canonicalName": "canonical_name",
    "canonicalRevision": "canonical_revision", "nativeTunnel": "native_tunnel",
}
WORKLOAD_WORDS = {
    "protocol": ("tunnel_protocol", {"TCP": 0, "HBONE": 1}),
    "networkMode": ("network_mode", {"Standard": 0, "HostNetwork": 1}),
    "status": ("status", {"Healthy": 0, "Unhealthy": 1}),
    "workloadType": ("workload_type", {"deployment": 0, "cronjob": 1, "pod": 2, "job": 3}),
}
SERVICE_TEXTS = {"name": "name", "namespace": "namespace", "hostname": "hostname", "canonical": "canonical"}
SERVICE_WORDS = {
    "ipFamilies": ("ip_families", {"IPv4": 1, "IPv6": 2, "Dual": 3}),
    "visibility": ("visibility", {"Public": 0, "Namespace": 1}),
}
SCOPES = {"Region": 1, "Zone": 2, "Subzone": 3, "Node": 4, "Cluster": 5, "Network": 6}
MODES = {"Standard": 0, "Strict": 1, "Failover": 2, "Passthrough": 3}
HEALTH = {"OnlyHealthy": 0, "AllowAll": 1}
POLICY_SCOPES = {"Global": 0, "Namespace": 1, "WorkloadSelector": 2}
ACTIONS = {"Allow": 0, "Deny": 1}


def word(table, text, what):
    if text not in table:
        raise MeshError(f"{what}: {text!r} is none of {', '.join(table)}")
    return table[text]


def ip_bytes(text):
    return ipaddress.ip_address(text).packed


def network_address(text, length=None):
    """ "network/ip" as a NetworkAddress."""
    network, slash, ip = text.partition("/")
    if not slash:
        raise MeshError(f'{text!r} is no "network/ip"')
    address = proto.NetworkAddress(network=network, address=ip_bytes(ip))
    if length is not None:
        address.length = length
    return address


def gateway(ref):
    out = proto.GatewayAddress(hbone_mtls_port=ref["hboneMtlsPort"])
    where = ref["destination"]
    try:
        out.address.CopyFrom(network_address(where))
    except ValueError:
        out.hostname.namespace, _, out.hostname.hostname = where.partition("/")
    return out


def take(item, what, texts, words, message):
    """Moves what is plain from @item into @message."""
    for key, name in texts.items():
        if item.get(key) is not None:
            setattr(message, name, item[key])
        item.pop(key, None)
    for key, (name, table) in words.items():
        if item.get(key) is not None:
            text = item[key].lower() if key == "workloadType" else item[key]
            setattr(message, name, word(table, text, f"{what}: {key}"))
        item.pop(key, None)


def refuse_rest(item, what):
    for key in item:
        raise MeshError(f"{what}: {key!r} is not known")


def add_ports(ports, mapping):
    for service_port, target_port in (mapping or {}).items():
        ports.add(service_port=int(service_port), target_port=int(target_port))


def workload_of(item):
    address = proto.Address()
    message = address.workload
    what = f"workload {item.get('uid') or item.get('name')!r}"
    message.workload_type = 2  # istiod says POD of all
    take(item, what, WORKLOAD_TEXTS, WORKLOAD_WORDS, message)
    if not message.uid:
        raise MeshError(f"{what} has no uid, which is its name in xDS")
    message.addresses.extend(ip_bytes(ip) for ip in item.pop("workloadIps"))
    for service, ports in item.pop("services").items():
        add_ports(message.services[service].ports, ports)
    message.authorization_policies.extend(item.pop("authorizationPolicies", None) or [])
    for key, at in (("waypoint", message.waypoint), ("networkGateway", message.network_gateway)):
        ref = item.pop(key, None)
        if ref:
            at.CopyFrom(gateway(ref))
    tunnel = item.pop("applicationTunnel", None)
    if tunnel:
        message.application_tunnel.protocol = word({"NONE": 0, "PROXY": 1}, tunnel["protocol"], what)
        message.application_tunnel.port = tunnel.get("port") or 0
    locality = item.pop("locality", None)
    for key in ("region", "zone", "subzone") if locality else ():
        setattr(message.locality, key, locality[key])
    if "capacity" in item:
        message.capacity.value = item.pop("capacity")
    refuse_rest(item, what)
    return address


def service_of(item):
    address = proto.Address()
    message = address.service
    what = f"service {item.get('hostname')!r}"
    take(item, what, SERVICE_TEXTS, SERVICE_WORDS, message)
    message.addresses.extend(network_address(vip) for vip in item.pop("vips"))
    for vip in item.pop("cidrVips", None) or []:
        ip, _, length = vip["cidr"].partition("/")
        message.addresses.append(network_address(f"{vip['network']}/{ip}", int(length)))
    add_ports(message.ports, item.pop("ports"))
    message.subject_alt_names.extend(item.pop("subjectAltNames", None) or [])
    if item.get("waypoint"):
        message.waypoint.CopyFrom(gateway(item["waypoint"]))
    item.pop("waypoint", None)
    for weighted in item.pop("weightedWaypoints", None) or []:
        at = message.weighted_waypoints.add(weight=weighted["weight"])
        at.destination.CopyFrom(gateway(weighted["destination"]))
    balancer = item.pop("loadBalancer", None)
    if balancer:
        message.load_balancing.routing_preference.extend(
            word(SCOPES, scope, what) for scope in balancer["routingPreferences"])
        message.load_balancing.mode = word(MODES, balancer["mode"], what)
        message.load_balancing.health_policy = word(HEALTH, balancer["healthPolicy"], what)
    endpoints = item.pop("endpoints", None) or {}
    refuse_rest(item, what)
    return address, endpoints


def join_endpoints(workloads, service, endpoints):
    """What a service says of its endpoints, xDS has workloads say."""
    key = f"{service.namespace}/{service.hostname}"
    for endpoint in endpoints.values():
        workload = workloads.get(endpoint["workloadUid"])
        if workload is None or endpoint.get("status", "Healthy") != "Healthy":
            raise MeshError(f"service {key}: xDS cannot say its endpoint {endpoint['workloadUid']!r}")
        if key not in workload.workload.services:
            add_ports(workload.workload.services[key].ports, endpoint.get("port"))


def string_match(at, match):
    (kind, text), = match.items()
    if kind == "Presence":
        at.presence.SetInParent()
    else:
        setattr(at, kind.lower(), text)


LISTS = {"namespaces": "namespaces", "principals": "principals"}
ACCOUNTS = {"serviceAccounts": "service_accounts"}
CIDRS = {"sourceIps": "source_ips", "destinationIps": "destination_ips"}
PORTS = {"destinationPorts": "destination_ports"}


def _also_not(table):
    return table | {"not" + key[0].upper() + key[1:]: "not_" + name for key, name in table.items()}


LISTS, ACCOUNTS, CIDRS, PORTS = map(_also_not, (LISTS, ACCOUNTS, CIDRS, PORTS))


def fill_match(out, match, what):
    for key, values in match.items():
        if key in LISTS:
            for value in values:
                string_match(getattr(out, LISTS[key]).add(), value)
        elif key in ACCOUNTS:
            for value in values:
                getattr(out, ACCOUNTS[key]).add(**value)
        elif key in CIDRS:
            for value in values:
                ip, _, length = value.partition("/")
                getattr(out, CIDRS[key]).add(address=ip_bytes(ip), length=int(length))
        elif key in PORTS:
            getattr(out, PORTS[key]).extend(values)
        else:
            raise MeshError(f"{what}: {key!r} is not known")


def policy_of(item):
    what = f"policy {item.get('name')!r}"
    out = proto.Authorization(
        name=item.pop("name"), namespace=item.pop("namespace"), dry_run=item.pop("dryRun"),
        scope=word(POLICY_SCOPES, item.pop("scope"), what), action=word(ACTIONS, item.pop("action"), what))
    for rule in item.pop("rules"):
        rule_out = out.rules.add()
        for clause in rule:
            clause_out = rule_out.clauses.add()
            for match in clause:
                fill_match(clause_out.matches.add(), match, what)
    refuse_rest(item, what)
    return out


def serialized(message):
    return message.SerializeToString(deterministic=True)


def version_of(value):
    """A hash of the contents: the same for the same, after a restart too, as istiod has it."""
    return hashlib.blake2b(value, digest_size=8).hexdigest()


def alias(network, address):
    return f"{network}/{ipaddress.ip_address(address)}"


def entry_of_workload(message):
    """@message: an Address with a workload."""
    workload, value = message.workload, serialized(message)
    keys = () if workload.network_mode == 1 else tuple(alias(workload.network, ip) for ip in workload.addresses)
    return workload.uid, Entry(version_of(value), value, keys, workload.node, tuple(workload.services))


def entry_of_service(message):
    service, value = message.service, serialized(message)
    keys = tuple(
        alias(at.network, at.address) + (f"/{at.length}" if at.HasField("length") else "") for at in service.addresses)
    return f"{service.namespace}/{service.hostname}", Entry(version_of(value), value, keys, "", ())


def load(paths):
    """{type: {name: Entry}} of files, and of folders all that ends with .yaml. Raises MeshError."""
    workloads, services, policies = {}, [], {}
    files = [file for path in map(pathlib.Path, paths)
             for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    for file in files:
        try:
            mesh = yaml.load(file.read_text(), Loader) or {}
            for item in mesh.pop("workloads", None) or []:
                address = workload_of(item)
                workloads[address.workload.uid] = address
            services += [service_of(item) for item in mesh.pop("services", None) or []]
            for item in mesh.pop("policies", None) or []:
                policy = policy_of(item)
                value = serialized(policy)
                policies[f"{policy.namespace}/{policy.name}"] = Entry("", value, (), "", ())
            refuse_rest(mesh, "the file")
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OSError, MeshError) as error:
            raise MeshError(f"{file}: {type(error).__name__}: {error}".replace("\n", " ")) from error
    for address, endpoints in services:
        join_endpoints(workloads, address.service, endpoints)
    addresses = dict(entry_of_workload(address) for address in workloads.values())
    addresses.update(entry_of_service(address) for address, _ in services)
    return {proto.ADDRESS: addresses, proto.AUTHORIZATION: policies}


def many(count, revision="", first=0, nodes=100):
    """@count workloads that nobody serves, of 10.128.0.0/9: (name, Entry) each. At most 2^23."""
    for index in range(first, first + count):
        name = f"many-{index}"
        workload = proto.Workload(
            uid=f"huge//Pod/huge/{name}", name=name, namespace="huge", service_account=f"account-{index % 1000}",
            addresses=[(0x0A800000 + index).to_bytes(4, "big")], tunnel_protocol=1, workload_type=2,
            node=f"far-{index % nodes}", workload_name=f"set-{index % 1000}", cluster_id="huge",
            canonical_name=f"set-{index % 1000}", canonical_revision=revision)
        yield entry_of_workload(proto.Address(workload=workload))

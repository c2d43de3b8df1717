#!/usr/bin/python3
"""churn_plane: the test control plane (tests/support/controlplane.py) with a crowd: 100,000 workloads and their
services, and rounds of changes among them. Takes the same options and commands, and

    crowd N       N workloads that nobody serves and N / 10 services that have them as endpoints: one push
    rounds N      the bytes of N rounds are made, each with 1% of the workloads: most change a label, an address or
                  their health, one in twenty goes, and comes back in the next round
    go N          the next N of them are sent, one in each second; answered at once
    rest SECONDS  wait until all that go has ordered was sent, and was answered by every agent

What all agents are sent is made once, before it is: on two processors this program must not be what is measured.
"""

import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))

import controlplane_mesh as mesh_file  # noqa: E402
import controlplane_proto as proto  # noqa: E402
import controlplane_server  # noqa: E402
import controlplane_xds as xds  # noqa: E402

PER_SERVICE = 10
NAMESPACES = 100
MOVED = 0x00400000  # what an address is changed by; all are of 10.128.0.0/9


def host_of(app):
    return f"svc-{app}.ns-{app % NAMESPACES}.svc.cluster.local"


def workload(index, revision=0, moved=False, healthy=True):
    app = index // PER_SERVICE
    namespace = f"ns-{app % NAMESPACES}"
    name = f"app-{app}-5d8f9c7b6-{index:05}"
    message = proto.Workload(
        uid=f"crowd//Pod/{namespace}/{name}", name=name, namespace=namespace, service_account=f"sa-{app % 50}",
        addresses=[(0x0A800000 + index + (MOVED if moved else 0)).to_bytes(4, "big")], tunnel_protocol=1,
        workload_type=2, node=f"far-{index % 1000}", workload_name=f"app-{app}", cluster_id="crowd",
        canonical_name=f"app-{app}", canonical_revision=f"v{revision}", status=0 if healthy else 1)
    message.services[f"{namespace}/{host_of(app)}"].ports.add(service_port=80, target_port=8080)
    return mesh_file.entry_of_workload(proto.Address(workload=message))


def service(app):
    message = proto.Address()
    message.service.name, message.service.namespace = f"svc-{app}", f"ns-{app % NAMESPACES}"
    message.service.hostname = host_of(app)
    message.service.addresses.add(address=(0x0A600000 + app).to_bytes(4, "big"))
    message.service.ports.add(service_port=80, target_port=8080)
    return mesh_file.entry_of_service(message)


def changed(index, number):
    """What round @number makes of a workload."""
    kind = index % 20
    return workload(index, number + 1 if kind < 12 else 0, 12 <= kind < 15, not 15 <= kind < 18)


def bytes_of(names):
    return b"".join(proto.resource_bytes(name, entry.version, proto.ADDRESS, entry.value) for name, entry in names)


class Round:
    def __init__(self, number, total):
        size = total // 100
        window = range(number * size % total, number * size % total + size)
        before = range((number - 1) * size % total, (number - 1) * size % total + size) if number else ()
        self.names = dict(changed(index, number) for index in window if index % 20 < 18)
        # Of those that do not change, half go: as many as come back from the round before.
        self.names |= dict(workload(index, number + 1) for index in before if index % 20 == 18)
        self.gone = [workload(index)[0] for index in window if index % 20 == 18]
        self.bytes = bytes_of(self.names.items())


class Stream(xds.Stream):
    def response(self, kind, names, gone):
        crowd = self.mesh.crowd
        if kind != proto.ADDRESS or not crowd or len(names) < len(crowd):
            return super().response(kind, names, gone)
        rest = [(name, entry) for name, entry in names if name not in crowd]
        return self.mesh.crowd_bytes + super().response(kind, rest, gone)

    def send_round(self, it):
        """With the mesh's lock held."""
        nonce = f"{self.number}-{next(self.nonces)}"
        self.unanswered[nonce] = proto.ADDRESS
        sent = self.subscriptions[proto.ADDRESS].sent
        sent.update(it.names)
        for name in it.gone:
            del sent[name]
        self.raw.append(proto.response_bytes(proto.ADDRESS, nonce, [it.bytes], it.gone))


class Mesh(xds.Mesh):
    crowd, crowd_bytes = {}, b""  # as first made; empty as soon as a round has changed it

    def new_stream(self, context):
        return Stream(self, context)

    def send_round(self, it):
        with self.changed:
            self.crowd = {}
            self.resources[proto.ADDRESS].update(it.names)
            for name in it.gone:
                del self.resources[proto.ADDRESS][name]
            for stream in self.streams:
                if proto.ADDRESS in stream.subscriptions:
                    stream.send_round(it)
            self.changed.notify_all()


class Plane(controlplane_server.ControlPlane):
    COMMANDS = (*controlplane_server.ControlPlane.COMMANDS, "crowd", "rounds", "go", "rest")
    make_mesh = Mesh

    def __init__(self, options):
        super().__init__(options)
        self.total, self.next, self.made, self.going = 0, 0, [], None

    def crowd(self, count):
        self.total = int(count)
        if self.total % 2000:
            raise ValueError("the crowd is no multiple of 2,000")
        names = dict(workload(index) for index in range(self.total))
        names |= dict(service(app) for app in range(self.total // PER_SERVICE))
        made = bytes_of(names.items())
        with self.mesh.changed:
            self.mesh.crowd, self.mesh.crowd_bytes = names, made
        self.mesh.put(proto.ADDRESS, names)
        return f"resources={len(names)} bytes={len(made)}"

    def rounds(self, count):
        self.made = [Round(number, self.total) for number in range(int(count))]
        self.next = 0
        return f"bytes={sum(len(it.bytes) for it in self.made)}"

    def go(self, count):
        batch = self.made[self.next:self.next + int(count)]
        self.next += len(batch)
        if len(batch) < int(count):
            raise ValueError("so many rounds have not been made")
        self.going = threading.Thread(target=self._send, args=(batch,), daemon=True)
        self.going.start()

    def _send(self, batch):
        start = time.monotonic()
        for number, it in enumerate(batch):
            threading.Event().wait(max(0, start + number - time.monotonic()))
            self.mesh.send_round(it)

    def rest(self, seconds):
        self.going.join(float(seconds))
        self.wait(seconds, lambda: not self.going.is_alive() and self.mesh.is_settled(1)
                  and not any(stream.raw for stream in self.mesh.streams), "an answer to all rounds")


if __name__ == "__main__":
    if sys.argv[1:2] != ["serve"]:
        sys.exit(__doc__)
    controlplane_server.serve(sys.argv[2:], Plane)

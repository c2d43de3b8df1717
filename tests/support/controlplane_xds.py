"""controlplane_xds: delta ADS as istiod serves it (reference/controlplane 2.4 to 2.12 and 12), and what
may go wrong with it on demand.

One Mesh holds what is served; each Stream works out what its client lacks. Versions: content hashes for
Address, "" for Authorization, which is therefore sent whole on each new stream.
"""

import collections
import itertools
import threading
import time

import grpc

import controlplane_mesh as mesh_file
import controlplane_proto as proto

TYPES = (proto.ADDRESS, proto.AUTHORIZATION)  # in the order in which a push names them
SHAPES = ("plain", "reverse", "duplicate", "twice", "policies-first", "split")


class Ended(Exception):
    """A stream's end: gRPC code and text."""


class Subscription:
    """What one stream wants of one type, and has been sent."""

    def __init__(self):
        self.is_wildcard = False
        self.names = set()
        self.asked = []  # names of the last request, each of which is answered
        self.found = set()  # names of resources that came for another name
        self.sent = {}  # name -> Entry, or the version that the client said it has
        self.is_first = True  # the first answer is sent though there be nothing in it


class Mesh:
    """What is served, to whom, and what they said to it. All of it under one condition."""

    def __init__(self, accounts):
        self.accounts = accounts
        self.changed = threading.Condition()
        self.resources = {kind: {} for kind in TYPES}
        self.generation = 0
        self.streams = []
        self.shape, self.split = "plain", 0
        self.refusals = collections.deque()  # (code, text) for streams to come
        self.nacks = collections.deque(maxlen=1000)  # that nobody has expected yet
        self.violations = collections.deque(maxlen=1000)
        self.counts = collections.Counter()
        self.numbers = itertools.count(1)

    def replace(self, resources):
        """@resources, by type, become all there is but for Churn's; in one push."""
        with self.changed:
            for kind, names in resources.items():
                old = self.resources[kind]
                kept = {name: entry for name, entry in old.items() if name.startswith(Churn.PREFIX)}
                # What says the same stays the same object: streams compare those.
                fresh = {name: old[name] if name in old and old[name].value == entry.value else entry
                         for name, entry in names.items()}
                self.resources[kind] = kept | fresh
            self._tell()

    def put(self, kind, names):
        with self.changed:
            self.resources[kind].update(names)
            self._tell()

    def remove(self, kind, names):
        with self.changed:
            missing = [name for name in names if self.resources[kind].pop(name, None) is None]
            self._tell()
        if missing:
            raise KeyError(f"not served: {' '.join(missing)}")

    def _tell(self):
        self.generation += 1
        self.changed.notify_all()

    def wait(self, seconds, condition):
        with self.changed:
            return self.changed.wait_for(condition, float(seconds))

    def is_settled(self, streams=1):
        """At least @streams are there, and each has all there is and has answered all it was sent."""
        there = [stream for stream in self.streams if all(kind in stream.subscriptions for kind in TYPES)]
        return len(there) >= streams and all(stream.is_settled() for stream in there)

    def end_streams(self, code, text):
        with self.changed:
            for stream in self.streams:
                stream.end = (code, text)
            self.changed.notify_all()
            return len(self.streams)

    def new_stream(self, context):
        return Stream(self, context)

    def serve(self, requests, context):
        """The gRPC method: messages as bytes."""
        with self.changed:
            self.counts["streams"] += 1
            refusal = self.refusals.popleft() if self.refusals else None
        stream = self.new_stream(context)
        try:
            if refusal:
                raise Ended(*refusal)
            stream.caller = self.accounts.check(context)
            if not stream.caller:
                raise Ended(grpc.StatusCode.UNAUTHENTICATED, "authentication failure")
            yield from stream.run(requests)
        except Ended as end:
            context.abort(*end.args)
        finally:
            with self.changed:
                if stream in self.streams:
                    self.streams.remove(stream)
                self.changed.notify_all()


class Stream:
    def __init__(self, mesh, context):
        self.mesh, self.context = mesh, context
        self.number = next(mesh.numbers)
        self.caller = None
        self.node = None
        self.subscriptions = {}
        self.inbox = collections.deque()
        self.raw = collections.deque()  # messages to be sent as they are
        self.generation = -1
        self.is_pushing = False
        self.unanswered = {}  # nonce -> type
        self.end = None
        self.is_over = False
        self.nonces = itertools.count(1)
        self.since = time.time()

    def is_settled(self):
        return (self.generation == self.mesh.generation and not self.is_pushing
                and not self.unanswered and not self.inbox)

    def violation(self, text):
        self.mesh.violations.append(f"stream {self.number}: {text}")

    # What comes in.

    def read(self, requests):
        """A thread of its own: requests into the inbox until the client goes."""
        try:
            for request in requests:
                with self.mesh.changed:
                    self.inbox.append(request)
                    self.mesh.changed.notify_all()
        except grpc.RpcError:
            pass  # how it ended is the main thread's to see
        finally:
            self.over()

    def over(self):
        with self.mesh.changed:
            self.is_over = True
            self.mesh.changed.notify_all()

    def first(self, request):
        """istiod looks at the node of a stream's first message only."""
        node = request.node
        parts = node.id.split("~")
        if len(parts) != 4 or parts[0] != "ztunnel":
            raise Ended(grpc.StatusCode.INVALID_ARGUMENT, "missing node information")
        self.node = {key: value.string_value for key, value in node.metadata.fields.items()}
        self.node["id"] = node.id
        want, caller = self.node.get("NAMESPACE", ""), self.caller
        if caller.namespace is not None and want != caller.namespace:
            raise Ended(grpc.StatusCode.PERMISSION_DENIED,
                        f"authorization failed: no identities ([spiffe://cluster.local/ns/{caller.namespace}/sa/"
                        f"{caller.service_account}]) matched {want}/")

    def on_request(self, data):
        request = proto.Request.FromString(data)
        if self.node is None:
            self.first(request)
        if request.response_nonce:
            return self.on_answer(request)
        if request.type_url not in TYPES:
            with self.mesh.changed:
                self.violation(f"subscribes to {request.type_url!r}")
        subscription = self.subscriptions.get(request.type_url)
        if subscription is None:
            if not request.node.id:
                self.violation(f"the first request for {request.type_url} has no node")
            subscription = Subscription()
            subscription.sent = dict(request.initial_resource_versions)
            subscription.is_wildcard = not request.resource_names_subscribe
        elif request.initial_resource_versions:
            self.violation("initial_resource_versions in a later request")
        elif not request.resource_names_subscribe and not request.resource_names_unsubscribe:
            self.violation("a request that changes nothing")
        self.subscribe(subscription, request)
        if not subscription.is_wildcard:
            subscription.names |= set(request.initial_resource_versions)  # as istiod does
        with self.mesh.changed:
            self.subscriptions[request.type_url] = subscription
        return True

    def subscribe(self, subscription, request):
        for name in request.resource_names_subscribe:
            if name == "*":
                subscription.is_wildcard = True
            else:
                # As istiod does: what came already, for the address of a service say, brings no answer.
                if name not in subscription.names | subscription.found:
                    subscription.asked.append(name)
                elif name in subscription.names:
                    with self.mesh.changed:
                        self.violation(f"subscribes again to {name}")
                subscription.names.add(name)
        for name in request.resource_names_unsubscribe:
            if name == "*":
                subscription.is_wildcard = False
            subscription.names.discard(name)

    def on_answer(self, request):
        with self.mesh.changed:
            if request.resource_names_subscribe or request.resource_names_unsubscribe:
                self.violation("an answer with names in it")
            if self.unanswered.pop(request.response_nonce, None) != request.type_url:
                self.violation(f"nonce {request.response_nonce!r} is none of {request.type_url}")
            is_nack = request.HasField("error_detail")
            self.mesh.counts["nacks" if is_nack else "acks"] += 1
            if is_nack:
                self.mesh.nacks.append((request.type_url, request.error_detail.code, request.error_detail.message))
            self.mesh.changed.notify_all()
        return False

    # What goes out.

    def run(self, requests):
        self.context.add_callback(self.over)
        with self.mesh.changed:
            self.mesh.streams.append(self)
        threading.Thread(target=self.read, args=(requests,), daemon=True).start()
        while True:
            with self.mesh.changed:
                self.mesh.changed.wait_for(
                    lambda: self.inbox or self.raw or self.end or self.is_over
                    or self.generation != self.mesh.generation)
                if self.end:
                    raise Ended(*self.end)
                if self.is_over and not self.inbox:
                    return
                inbox, self.inbox = self.inbox, collections.deque()
                raw, self.raw = self.raw, collections.deque()
                self.is_pushing = True
            wanted = [self.on_request(data) for data in inbox]
            yield from raw
            if any(wanted) or self.generation != self.mesh.generation:
                yield from self.push()
            with self.mesh.changed:
                self.is_pushing = False
                self.mesh.changed.notify_all()

    def push(self):
        with self.mesh.changed:
            self.generation = self.mesh.generation
            shape, split = self.mesh.shape, self.mesh.split
            plan = [(kind, *self.lacks(kind)) for kind in self.subscriptions]
            plan.sort(key=lambda item: TYPES.index(item[0]) if item[0] in TYPES else len(TYPES),
                      reverse=shape == "policies-first")
        for kind, names, gone, is_first in plan:
            if not names and not gone and not is_first:
                continue
            if shape == "reverse":
                names.reverse()
            elif shape == "duplicate":
                names = [item for item in names for _ in range(2)]
            step = split if shape == "split" else len(names) or 1
            for at in range(0, len(names) or 1, step):
                is_last = at + step >= len(names)
                for _ in range(2 if shape == "twice" else 1):
                    yield self.response(kind, names[at:at + step], gone if is_last else ())

    def lacks(self, kind):
        """[(name, Entry)] and names that the client does not have or has too much; is it the first?"""
        subscription = self.subscriptions[kind]
        wanted, unknown, again = self.wanted(kind, subscription)
        names = []
        for name, entry in wanted.items():
            has = subscription.sent.get(name)
            if name in again or (has is not entry and not (isinstance(has, str) and has and has == entry.version)):
                names.append((name, entry))
        gone = [name for name in subscription.sent if name not in wanted] + unknown
        subscription.sent = wanted
        is_first, subscription.is_first = subscription.is_first, False
        return names, gone, is_first

    def wanted(self, kind, subscription):
        """{name: Entry}; names asked for that are nothing; names to be sent even if they were."""
        everything = self.mesh.resources.get(kind, {})
        asked, subscription.asked = subscription.asked, []
        if subscription.is_wildcard:
            return dict(everything), [], set()
        found = {name: resolve(everything, name) for name in subscription.names}
        wanted = {name: entry for entries in found.values() for name, entry in entries.items()}
        subscription.found = set(wanted)
        if kind == proto.ADDRESS and self.node.get("NODE_NAME"):
            wanted |= {name: entry for name, entry in everything.items() if entry.node == self.node["NODE_NAME"]}
        unknown = [name for name in asked if not found.get(name)]
        again = {name for key in asked for name in found.get(key, ())}
        return wanted, unknown, again

    def response(self, kind, names, gone):
        nonce = f"{self.number}-{next(self.nonces)}"
        with self.mesh.changed:
            self.unanswered[nonce] = kind
            self.mesh.counts["responses"] += 1
            self.mesh.counts["resources"] += len(names)
            is_wildcard = self.subscriptions[kind].is_wildcard
        resources = [proto.resource_bytes(name, entry.version, kind, entry.value, () if is_wildcard else entry.keys)
                     for name, entry in names]
        return proto.response_bytes(kind, nonce, resources, gone)

    def describe(self):
        return {
            "number": self.number, "peer": self.context.peer(), "node": self.node, "since": self.since,
            "unanswered": len(self.unanswered),
            "types": {kind.rpartition(".")[2]: {"sent": len(subscription.sent), "wildcard": subscription.is_wildcard,
                                                "names": sorted(subscription.names)}
                      for kind, subscription in self.subscriptions.items()},
        }


def resolve(everything, name):
    """On demand: a resource by its name or an alias; with a service all that stands behind it."""
    found = {key: entry for key, entry in everything.items() if key == name or name in entry.keys}
    behind = {key: entry for key, entry in everything.items() for service in entry.services if service in found}
    return found | behind


class Churn:
    """Workloads of controlplane_mesh.many() that change all the time: a share of them every second."""

    PREFIX = "huge//"  # of their names

    def __init__(self, mesh):
        self.mesh = mesh
        self.count = 0
        self.stop_it = threading.Event()
        self.thread = None
        self.rounds = 0

    def huge(self, count):
        self.stop()
        self.count = count
        names = dict(mesh_file.many(count))
        with self.mesh.changed:
            kept = {name: entry for name, entry in self.mesh.resources[proto.ADDRESS].items()
                    if not name.startswith(self.PREFIX)}
            self.mesh.resources[proto.ADDRESS] = kept | names
            self.mesh._tell()

    def start(self, percent, seconds):
        self.stop()
        if not self.count:
            raise ValueError("huge comes first")
        self.rounds = 0
        self.stop_it.clear()
        self.thread = threading.Thread(target=self._run, args=(percent, seconds), daemon=True)
        self.thread.start()

    def _run(self, percent, seconds):
        size = max(1, int(self.count * percent / 100))
        start = time.monotonic()
        while not self.stop_it.wait(max(0, start + self.rounds + 1 - time.monotonic())):
            if self.rounds >= seconds:
                return
            first = self.rounds * size % self.count
            size_now = min(size, self.count - first)
            self.mesh.put(proto.ADDRESS, dict(mesh_file.many(size_now, f"r{self.rounds}", first)))
            self.rounds += 1

    def stop(self):
        self.stop_it.set()
        if self.thread:
            self.thread.join()
        self.thread = None
        self.stop_it.clear()

    def is_running(self):
        return bool(self.thread and self.thread.is_alive())

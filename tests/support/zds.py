#!/usr/bin/env python3
"""zds: a scripted istio-cni: the listening end of the ZDS socket (reference/controlplane 6).

    zds.py SOCKET [FIFO]

Reads commands from stdin or from a FIFO, one a line, and prints one line per command: "ok ..." or "error ...".
Everything is written out by hand, protobuf too, so that it shares no code with what it tests.

    accept [SECONDS]           takes a connection and its hello; it is then the newest
    add UID NS NAME SA NETNS   ... with the namespace at that path (a /run/netns file or /proc/...)
    add-bare UID NETNS         ... without workload info
    add-nofd UID NS NAME SA    ... without a descriptor
    add-fds UID NS NAME SA NETNS COUNT
    keep UID | keep-fd UID NETNS | del UID | snapshot
    raw HEX | zeros COUNT      a packet as it is
    quiet SECONDS              nothing is said unasked
    eof SECONDS                the peer closes
    use N | close              another connection of those accepted (0: the first); closes it
    away | back                removes and closes the listening socket; makes it again

Messages wait up to 5 s for their ack and print "ok ack" or "ok nack TEXT".
"""

import array
import os
import socket
import sys


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, payload):
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def info(ns, name, account):
    return field(1, name) + field(2, ns) + field(3, account)


def read_ack(packet):
    """The error of WorkloadResponse{ack}, strictly: nothing else may be in there."""

    def one(data, number):
        if not data:
            return b""
        if data[0] != number << 3 | 2:
            raise ValueError(f"not an ack: {packet.hex()}")
        length = shift = 0
        for at in range(1, len(data)):
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if not data[at] & 0x80:
                break
        if len(data) != at + 1 + length:
            raise ValueError(f"not an ack: {packet.hex()}")
        return data[at + 1 :]

    if not packet:
        raise EOFError("the peer closed instead of an ack")
    return one(one(packet, 1), 1).decode()


class Cni:
    def __init__(self, path):
        self.path = path
        self.listener = None
        self.connections = []
        self.current = None
        self.back()

    def back(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        return ""

    def away(self):
        self.listener.close()
        os.unlink(self.path)
        for connection in self.connections:
            connection.close()
        self.connections = []
        return ""

    def accept(self, seconds="10"):
        self.listener.settimeout(float(seconds))
        connection, _ = self.listener.accept()
        connection.settimeout(5)
        hello = connection.recv(1024)
        if hello != b"\x08\x01":
            raise ValueError(f"not a hello: {hello.hex()}")
        self.connections.append(connection)
        self.current = connection
        return "hello"

    def use(self, index):
        self.current = self.connections[int(index)]
        return ""

    def close(self):
        self.connections.remove(self.current)
        self.current.close()
        return ""

    def put(self, payload, paths=()):
        fds = [os.open(path, os.O_RDONLY) for path in paths]
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.current.sendmsg([payload], control)
        finally:
            for fd in fds:
                os.close(fd)

    def get(self):
        error = read_ack(self.current.recv(1024))
        return f"nack {error}" if error else "ack"

    def say(self, payload, paths=()):
        self.put(payload, paths)
        return self.get()

    def add(self, uid, ns, name, account, netns):
        return self.say(field(1, field(1, uid) + field(2, info(ns, name, account))), [netns])

    def add_bare(self, uid, netns):
        return self.say(field(1, field(1, uid)), [netns])

    def add_nofd(self, uid, ns, name, account):
        return self.say(field(1, field(1, uid) + field(2, info(ns, name, account))))

    def add_fds(self, uid, ns, name, account, netns, count):
        payload = field(1, field(1, uid) + field(2, info(ns, name, account)))
        return self.say(payload, [netns] * int(count))

    def keep(self, uid):
        return self.say(field(5, field(1, uid)))

    def keep_fd(self, uid, netns):
        return self.say(field(5, field(1, uid)), [netns])

    def del_(self, uid):
        return self.say(field(2, field(2, uid)))

    def snapshot(self):
        return self.say(field(3, b""))

    def raw(self, text):
        return self.say(bytes.fromhex(text))

    def zeros(self, count):
        return self.say(bytes(int(count)))

    def quiet(self, seconds):
        self.current.settimeout(float(seconds))
        try:
            raise ValueError(f"unasked: {self.current.recv(1024).hex()}")
        except TimeoutError:
            return "quiet"
        finally:
            self.current.settimeout(5)

    def eof(self, seconds):
        self.current.settimeout(float(seconds))
        try:
            got = self.current.recv(1024)
        except ConnectionResetError:
            got = b""
        if got:
            raise ValueError(f"data instead of the end: {got.hex()}")
        return self.close() or "eof"


def main():
    cni = Cni(sys.argv[1])
    print("listening", flush=True)
    # Read and write: a FIFO would end with its first writer.
    commands = open(os.open(sys.argv[2], os.O_RDWR)) if len(sys.argv) > 2 else sys.stdin
    for line in commands:
        words = line.split()
        if not words:
            continue
        name = words[0].replace("-", "_")
        method = getattr(cni, "del_" if name == "del" else name, None)
        try:
            answer = method(*words[1:])
            print(f"ok {answer}".strip(), flush=True)
        except Exception as error:  # every failure is the script's to judge
            print(f"error {type(error).__name__}: {error}", flush=True)


main()

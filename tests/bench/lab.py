"""lab: the benchmark's surroundings: namespaces, the server, pairs of agents, and their end.

Whatever happens, close() leaves no process, namespace, mount or file. What a killed run has left
is removed by the next one; a lock keeps two runs apart.
"""

import ctypes
import fcntl
import glob
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PREFIX = "culvert-bench-"
NETNS = "/run/netns/" + PREFIX
ADDRESSES = {
    "BENCH_NODE_A": "10.87.0.1", "BENCH_NODE_B": "10.87.0.2", "BENCH_GATE_A": "10.87.1.1",
    "BENCH_POD_A": "10.87.1.2", "BENCH_POD_B": "10.87.2.2",
    "BENCH_SINK_PORT": "8001", "BENCH_ECHO_PORT": "8002", "BENCH_SOURCE_PORT": "8003",
}
PARTS = ("pod-a", "node-a", "node-b", "pod-b")
PR_SET_CHILD_SUBREAPER = 36
CALL_S = 120  # a call of a pair's function, and a client on top of its own seconds


class Failure(Exception):
    """A sentence for the user."""


class Unavailable(Failure):
    """A pair that cannot run here, and why."""


def tail(path, lines=15):
    try:
        with open(path, errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError:
        return ""


def unmount_below(directory):
    """Pairs may mount (bpffs, cgroup2); a removal that walked into a mount would be a disaster."""
    with open("/proc/self/mounts") as file:
        points = [line.split()[1].replace("\\040", " ") for line in file]
    for point in reversed(points):
        if point.startswith(directory + "/"):
            subprocess.run(["umount", "-l", point], check=False)
    with open("/proc/self/mounts") as file:
        return not any(line.split()[1].startswith(directory + "/") for line in file)


def remove_tree(directory):
    if unmount_below(directory):
        shutil.rmtree(directory, ignore_errors=True)


def machine_busy_s():
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4] - fields[7]) / os.sysconf("SC_CLK_TCK")


def run_s(pids):
    """Processor time of all threads, in seconds."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as file:
                    total += int(file.read().split()[0])
            except OSError:
                continue  # a thread that just ended
    return total / 1e9


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def rss_bytes(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as file:
                found = [line for line in file if line.startswith("VmRSS:")]
        except OSError:
            found = []
        if not found:
            raise Failure(f"process {pid}, one of the agents, is gone")
        total += int(found[0].split()[1]) * 1024
    return total


def kernel_threads(prefix):
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as file:
                if file.read().startswith(prefix):
                    found.append(int(path.split("/")[2]))
        except OSError:
            continue  # a process that just ended
    return found[:32]


class Lab:
    def __init__(self, tools, build, cpus, cc, conns_max, files_each=4):
        """@cc: congestion control of the namespaces, or "host"; @conns_max: open at once;
        @files_each: descriptors of an agent for each of these."""
        self.tools, self.build, self.cpus, self.cc = tools, build, cpus, cc
        self.files_each = files_each
        self.conns_max = conns_max
        self.server = self.directory = self.lock = None

    def open(self, wait_s):
        """@wait_s: for another run to end."""
        # Pairs' daemons outlive the shell that started them; they become ours to reap.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.lock = open(f"/run/{PREFIX}lock", "w")
        self.take_lock(time.monotonic() + wait_s)
        self.remove_leftovers()
        self.raise_descriptors()
        self.directory = tempfile.mkdtemp(prefix=PREFIX)
        self.raise_lab()

    def raise_lab(self):
        self.netns("up", *([] if self.cc == "host" else [self.cc]))
        self.start_server()

    def lower_lab(self):
        self.netns("down")
        if self.server:
            self.server.stdout.close()
            self.server.wait(timeout=10)
            self.server = None

    def renew(self):
        """Each pair finds namespaces that nobody used: no rules, sockets or routes of another."""
        self.lower_lab()
        self.reap()
        self.raise_lab()

    def take_lock(self, deadline):
        while True:
            try:
                return fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Failure("another run of the benchmark is under way") from None
                time.sleep(0.2)

    def close(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            if self.directory:
                self.lower_lab()
        finally:
            if self.directory:
                remove_tree(self.directory)
            self.reap()
            if self.lock:
                self.lock.close()

    def remove_leftovers(self):
        self.netns("down")
        for directory in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*")):
            remove_tree(directory)

    def raise_descriptors(self):
        """An agent may hold three descriptors a connection (splice pipes: more, bounded)."""
        wanted = self.files_each * self.conns_max + 1024
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
                return
            except (ValueError, OSError):
                raise Failure(f"{self.conns_max} connections need {wanted} open files for each agent;"
                              f" the limit here is {hard}") from None
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))

    def netns(self, *arguments):
        done = subprocess.run([os.path.join(HERE, "netns.sh"), *arguments], text=True,
                              capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise Failure(done.stderr.strip() or f"netns.sh {arguments[0]} failed")

    def within(self, part, command):
        cpu = self.cpus[part.endswith("-b")]
        return ["taskset", "-c", str(cpu), "nsenter", f"--net={NETNS}{part}", *command]

    def far_file(self):
        return os.path.join(self.directory, "far")

    def start_server(self):
        command = [os.path.join(self.tools, "load"), "server", "--far", self.far_file()]
        for kind in ("sink", "echo", "source"):
            port = ADDRESSES[f"BENCH_{kind.upper()}_PORT"]
            command += [f"--{kind}", f"{ADDRESSES['BENCH_POD_B']}:{port}"]
        self.server = subprocess.Popen(self.within("pod-b", command), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, text=True)
        if self.server.stdout.readline().strip() != "ready":
            raise Failure("the load server did not start")

    def client(self, role, target, pids=(), **options):
        """The command of one client."""
        command = [os.path.join(self.tools, "load"), role, "--to", target]
        if role == "bulk":
            command += ["--far", self.far_file()]
        for pid in pids:
            command += ["--agent", str(pid)]
        for pid in [self.server.pid, *kernel_threads("ksoftirqd/")]:
            command += ["--app", str(pid)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        return self.within("pod-a", command)

    def cut_connections(self):
        """Every TCP connection that is open anywhere ends, and with it every tunnel."""
        for part in PARTS:
            self.sockets(part, "--kill", "state", "connected", "exclude", "time-wait")
        if any(self.sockets(part, "state", "established") for part in PARTS):
            raise Failure("connections live on after ss --kill (is CONFIG_INET_DIAG_DESTROY set?)")

    @staticmethod
    def sockets(part, *arguments):
        """What ss prints of the TCP sockets of a namespace; it is silent where it cannot kill."""
        return subprocess.run(["nsenter", f"--net={NETNS}{part}", "ss", "--no-header", "--numeric",
                               "--tcp", *arguments], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=CALL_S, check=False).stdout

    def watch_link(self):
        """Reads what passes between the nodes; stop_watching() tells what TLS it was."""
        watcher = subprocess.Popen(
            self.within("node-a", [sys.executable, os.path.join(HERE, "wire.py"), "wan"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        watcher.stdout.readline()
        return watcher

    @staticmethod
    def stop_watching(watcher):
        try:
            return watcher.communicate(timeout=CALL_S)[0].strip()
        finally:
            watcher.kill()
            watcher.wait()

    def reap(self):
        """Orphans of pairs: all children of our own have been waited for, but the server."""
        while True:
            try:
                pid = os.waitpid(-1, os.WNOHANG)[0]
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.server and pid == self.server.pid:
                raise Failure("the load server ended by itself")


class Pair:
    def __init__(self, lab, name):
        """@name: of a file in pairs/, or the path of one anywhere."""
        self.lab, self.asked = lab, name
        self.file = os.path.abspath(name) if "/" in name else f"{HERE}/pairs/{name}.sh"
        self.name = os.path.splitext(os.path.basename(self.file))[0]
        self.targets = {}
        if not os.path.isfile(self.file) or self.name == "lib":
            raise Failure(f"no such pair: {name} (expected a name of tests/bench/pairs, or a path)")

    @property
    def directory(self):
        return os.path.join(self.lab.directory, self.name)

    def call(self, function, *arguments):
        environment = dict(
            os.environ, **ADDRESSES, BENCH_DIR=self.directory, BENCH_NETNS=NETNS,
            BENCH_TOOLS=self.lab.tools, BENCH_BUILD=self.lab.build,
            BENCH_CPU_A=str(self.lab.cpus[0]), BENCH_CPU_B=str(self.lab.cpus[1]),
            BENCH_CONNS_MAX=str(self.lab.conns_max))
        try:
            done = subprocess.run(["bash", f"{HERE}/pairs/lib.sh", self.file, function, *arguments],
                                  env=environment, text=True, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CALL_S,
                                  check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name}: {function} took more than {CALL_S} s") from None
        if done.returncode == 77 and function == "pair_prepare":
            raise Unavailable(done.stdout.strip())
        if done.returncode:
            why = (done.stderr or done.stdout).strip() or f"exit {done.returncode}"
            raise Failure(f"{self.name}: {function}: {why}\n{self.logs()}")
        return done.stdout.strip()

    def logs(self):
        return "".join(f"--- {os.path.basename(path)}\n{tail(path)}"
                       for path in sorted(glob.glob(self.directory + "/*.log")) if tail(path))

    def prepare(self):
        self.call("pair_prepare")

    def start(self):
        os.makedirs(self.directory)
        self.targets.clear()
        self.call("pair_start")

    def stop(self):
        if not os.path.isdir(self.directory):
            return
        try:
            self.call("pair_stop")
        finally:
            remove_tree(self.directory)

    def pids(self):
        return [int(pid) for pid in self.call("pair_pids").split()]

    def target(self, kind):
        """Where the client dials for "sink", "echo" or "source"; asked once for each start."""
        if kind not in self.targets:
            self.targets[kind] = self.call("pair_target", kind)
            if not self.targets[kind]:
                raise Failure(f"{self.name}: pair_target does not know {kind!r}")
        return self.targets[kind]


def settle(pids, limit_s=3.0):
    """Until the agents have finished what closing many connections leaves them to do."""
    deadline = time.monotonic() + limit_s
    while pids and time.monotonic() < deadline:
        before = run_s(pids)
        time.sleep(0.1)
        if abs(run_s(pids) - before) < 0.005:
            return


def quiet_share(seconds=0.2):
    """What the machine does while we do nothing: the share of all processors that is busy."""
    before, begin = machine_busy_s(), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    return (machine_busy_s() - before) / elapsed / os.cpu_count()


def wait_for_quiet(limit_s):
    """The last share seen: a small one, or whatever it is when the time is up."""
    deadline = time.monotonic() + limit_s
    while True:
        share = quiet_share()
        if share < 0.03 or time.monotonic() >= deadline:
            return share

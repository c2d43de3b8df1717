"""cells: what is measured of one running pair, each cell a function that fills in figures.

Which row of the report a figure belongs to is told by report.METRICS.
"""

import statistics
import subprocess
import time

from lab import CALL_S, Failure, rss_bytes, settle

# Below this the bytes cannot have passed through two agents (two splicing relays take 0.2 s/GB).
AGENTS_S_PER_GB_MIN = 0.02
COLD_CONNECTS, COLD_FAILURES_MAX = 20, 5
BULK_CONNS = (1, 16, 128)
PING_CONNS = (1, 64)
OPEN_RATE, OPEN_CONNS = 1000, 4
# After the idle ones have gone: memory that an agent means to give back is given back by then.
KEPT_AFTER_S = 8


class Bench:
    """One pair in one round: it is started, and figures are gathered."""

    def __init__(self, lab, pair, args):
        self.lab, self.pair, self.args = lab, pair, args
        self.pids, self.figures = [], {}

    def client(self, role, kind, **options):
        """Runs one client -> the words of its line; figures of time are noted for all windows."""
        command = self.lab.client(role, self.pair.target(kind), self.pids, **options)
        try:
            done = subprocess.run(command, text=True, capture_output=True,
                                  stdin=subprocess.DEVNULL,
                                  timeout=CALL_S + options.get("seconds", 0), check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.pair.name}: the {role} client hangs\n"
                          f"{self.pair.logs()}") from None
        if done.returncode:
            raise Failure(f"{self.pair.name}: {done.stderr.strip()}\n{self.pair.logs()}")
        words = dict(word.split("=", 1) for word in done.stdout.split())
        found = {key: value if key == "mode" else float(value) for key, value in words.items()}
        if "steal_s" in found:
            self.worst("steal_share", found["steal_s"] / found["seconds"])
        return found

    def worst(self, key, value):
        self.figures[key] = max(self.figures.get(key, 0), value)

    def hold(self, count):
        """Opens idle connections and reads what they cost -> (bytes of all, lost, its words)."""
        before = rss_bytes(self.pids)
        command = self.lab.client("hold", self.pair.target("echo"), conns=count)
        holder = subprocess.Popen(command, text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            # The client has a deadline of its own, so this line, or its end, does come.
            line = holder.stdout.readline()
            if not line.startswith("mode=hold"):
                raise Failure(f"{self.pair.name}: {holder.stderr.read().strip()}\n"
                              f"{self.pair.logs()}")
            settle(self.pids)
            after = rss_bytes(self.pids)
            out, _ = holder.communicate(timeout=CALL_S)
        finally:
            holder.kill()
            holder.wait()
        settle(self.pids)
        words = dict(word.split("=", 1) for word in line.split())
        return after - before, int(out.split("=")[1]), words

    def note_memory(self, key):
        if self.pids:
            settle(self.pids)
            self.figures[key] = rss_bytes(self.pids) / 1e6


def begin(bench):
    """The first byte: whatever is made once is made now, and memory counts from here."""
    _, _, words = bench.hold(1)
    bench.figures["first_ms"] = float(words["p50_us"]) / 1e3
    bench.note_memory("start_mb")


def idle(bench):
    held, bench.figures["idle_lost"], _ = bench.hold(bench.args.idle)
    if bench.pids:
        bench.figures["idle_kb"] = held / bench.args.idle / 1e3
        time.sleep(KEPT_AFTER_S)
        bench.note_memory("burst_mb")


def cold(bench):
    """Short connections one at a time, each of which finds no connection between the agents.

    An agent that has not seen yet that its tunnel is gone may fail one; such are counted.
    """
    times, failures = [], 0
    bench.client("hold", "echo", conns=1)
    while len(times) < COLD_CONNECTS:
        bench.lab.cut_connections()
        try:
            times.append(bench.client("hold", "echo", conns=1)["p50_us"] / 1e3)
        except Failure:
            failures += 1
            if failures > COLD_FAILURES_MAX:
                raise
    bench.figures["cold_ms"] = statistics.median(times)
    bench.figures["cold_errors"] = failures


def ping(conns):
    def cell(bench):
        found = bench.client("pingpong", "echo", conns=conns, seconds=bench.args.seconds)
        bench.figures.update({f"ping{conns}_rate": found["rate"],
                              f"ping{conns}_p50": found["p50_us"],
                              f"ping{conns}_p99": found["p99_us"]})
    return cell


def bulk(direction, conns):
    """@direction: "up", the client writes; "down", it reads."""
    role, kind = {"up": ("bulk", "sink"), "down": ("pull", "source")}[direction]
    cell_name = f"{direction}{conns}"

    def cell(bench):
        found = bench.client(role, kind, conns=conns, seconds=bench.args.seconds)
        gigabytes = found["bytes"] / 1e9
        if not gigabytes:
            raise Failure(f"{bench.pair.name}: no byte arrived\n{bench.pair.logs()}")
        ours = found["agents_s"] + found["apps_s"]
        bench.figures.update({f"{cell_name}_gbps": found["gbps"],
                              f"{cell_name}_machine": found["machine_s"] / gigabytes,
                              f"{cell_name}_ours": ours / gigabytes})
        bench.worst("others_share", 1 - ours / found["machine_s"])
        if not bench.pids:
            return
        agents = found["agents_s"] / gigabytes
        if agents < AGENTS_S_PER_GB_MIN:
            raise Failure(f"{bench.pair.name}: its agents took {found['agents_s']:.3f} s for "
                          f"{gigabytes:.1f} GB: the bytes did not pass through them")
        bench.figures[f"{cell_name}_agents"] = agents
    return cell


def open_loop(bench):
    found = bench.client("open", "echo", conns=OPEN_CONNS, rate=OPEN_RATE,
                         seconds=bench.args.seconds)
    bench.figures.update(open_p50=found["p50_us"], open_p99=found["p99_us"],
                         open_p999=found["p999_us"])
    if bench.pids:
        bench.figures["open_cores"] = found["agents_s"] / found["seconds"]


def connect(bench):
    found = bench.client("connect", "echo", seconds=bench.args.seconds)
    bench.figures.update(connect_rate=found["rate"], connect_p99=found["p99_us"],
                         connect_errors=int(found["errors"]))


# In the order in which a round takes them: memory first, while the processes are fresh.
CELLS = {"idle": idle, "cold": cold}
CELLS.update({f"ping{conns}": ping(conns) for conns in PING_CONNS})
CELLS["open"] = open_loop
CELLS.update({f"{way}{conns}": bulk(way, conns) for way in ("up", "down") for conns in BULK_CONNS})
CELLS["connect"] = connect

GROUPS = {"ping": [f"ping{conns}" for conns in PING_CONNS],
          "up": [f"up{conns}" for conns in BULK_CONNS],
          "down": [f"down{conns}" for conns in BULK_CONNS]}
GROUPS["bulk"] = GROUPS["up"] + GROUPS["down"]
# What a cell takes beside its window, and a start, in seconds; for the estimate.
EXTRA_S = {"idle": 3.5 + KEPT_AFTER_S, "cold": 0.8}
WINDOW_EXTRA_S, START_S = 0.5, 1.2


def choose(text):
    """"idle,ping,up16" -> names of cells, in the order of CELLS; ValueError names a wrong one."""
    wanted = set()
    for word in (text or ",".join(CELLS)).split(","):
        names = GROUPS.get(word, [word])
        if names[0] not in CELLS:
            raise ValueError(word)
        wanted.update(names)
    return [name for name in CELLS if name in wanted]


def estimate_s(cells, pairs, rounds, seconds):
    """How long it will take, roughly."""
    each = START_S + sum(EXTRA_S.get(cell, seconds + WINDOW_EXTRA_S) for cell in cells)
    return each * pairs * rounds

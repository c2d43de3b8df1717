"""report: rounds of figures to medians, ratios and a table. Pure: no clock, no files."""

import statistics

import targets

# key, row's words, unit, digits, better: +1 higher, -1 lower
METRICS = [
    row
    for way, words in (("up", "upload"), ("down", "download"))
    for conns in (1, 16, 128)
    for row in (
        (f"{way}{conns}_gbps", f"{words}, {conns} conn{'s' if conns > 1 else ''}", "Gbit/s", 2, +1),
        (f"{way}{conns}_machine", "  CPU, whole machine", "s/GB", 3, -1),
        (f"{way}{conns}_ours", "  CPU, agents, client, server", "s/GB", 3, -1),
        (f"{way}{conns}_agents", "  CPU, both agents", "s/GB", 3, -1),
    )
] + [
    ("ping1_p50", "1 KiB ping-pong, 1 conn, p50", "us", 0, -1),
    ("ping1_p99", "  p99", "us", 0, -1),
    ("ping1_rate", "  round trips", "1/s", 0, +1),
    ("ping64_p50", "1 KiB ping-pong, 64 conns, p50", "us", 0, -1),
    ("ping64_p99", "  p99", "us", 0, -1),
    ("ping64_rate", "  round trips", "1/s", 0, +1),
    ("open_p50", "1,000 requests/s, 4 conns, p50", "us", 0, -1),
    ("open_p99", "  p99", "us", 0, -1),
    ("open_p999", "  p99.9", "us", 0, -1),
    ("open_added", "  p50 beyond direct", "us", 0, -1),
    ("open_cores", "  CPU, both agents", "cores", 3, -1),
    ("connect_rate", "connect, 64 B echo, close; 32 at once", "1/s", 0, +1),
    ("connect_p99", "  p99", "us", 0, -1),
    ("cold_ms", "same, one, after all tunnels were cut", "ms", 2, -1),
    ("first_ms", "same, the first after a start", "ms", 2, -1),
    ("idle_kb", "idle connection, both agents", "KB", 2, -1),
    ("start_mb", "memory at start, both agents", "MB", 1, -1),
    ("burst_mb", "memory when the idle ones are closed", "MB", 1, -1),
    ("after_mb", "memory at the end", "MB", 1, -1),
]
# What the others are set against, where it ran.
BASES = ("direct", "haproxy", "ztunnel")
# More than this share of the busy time in a window spent by others is told.
OTHERS_MARK = 0.05
# Rounds that lie further apart than this share of their median are marked in the table.
SPREAD_MARK = 0.3


def medians(rounds):
    """[{key: number}] of one pair -> {key: median}; a key that no round has is absent."""
    found = {}
    for key, *_ in METRICS:
        values = [figures[key] for figures in rounds if figures.get(key) is not None]
        if values:
            found[key] = statistics.median(values)
    return found


def all_medians(results):
    """{pair: medians}, with what takes two pairs to tell."""
    found = {name: medians(rounds) for name, rounds in results.items()}
    direct = found.get("direct", {}).get("open_p50")
    for name, figures in found.items():
        if direct and name != "direct" and "open_p50" in figures:
            figures["open_added"] = figures["open_p50"] - direct
    return found


def spreads(rounds):
    """How far the rounds lie apart: (highest - lowest) / median."""
    middle, found = medians(rounds), {}
    for key, median in middle.items():
        values = [figures[key] for figures in rounds if figures.get(key) is not None]
        found[key] = (max(values) - min(values)) / median if median else 0.0
    return found


def ratios(figures, base):
    return {key: figures[key] / base[key] for key in figures if base.get(key)}


def plain(number, digits):
    return f"{number:,.{digits}f}"


def table(header, rows):
    """Right-aligned columns but the first; lists of cells to one text."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def figures_table(results):
    """@results: {pair: [figures of a round]}, in the order of the columns."""
    rows, middles = [], all_medians(results)
    spread = {name: spreads(rounds) for name, rounds in results.items()}
    for key, words, unit, digits, _ in METRICS:
        if not any(key in middle for middle in middles.values()):
            continue
        row = [words, unit]
        for name, middle in middles.items():
            cell = plain(middle[key], digits) if key in middle else "-"
            row.append(cell + ("~" if spread[name].get(key, 0) > SPREAD_MARK else " "))
        rows.append(row)
    return table(["", ""] + [name + " " for name in results], rows)


def ratio_table(results, base):
    """Each pair's median over that of @base; the arrow says which way is better."""
    others = [name for name in results if name != base and results[name]]
    middles, rows = all_medians(results), []
    for key, words, _, _, better in METRICS:
        row = [words, "up" if better > 0 else "down"]
        for name in others:
            ratio = ratios(middles[name], middles[base]).get(key)
            row.append("-" if ratio is None else f"{ratio:.{2 if ratio >= 0.1 else 3}f}x")
        if any(cell != "-" for cell in row[2:]):
            rows.append(row)
    return table([f"against {base}", "better"] + others, rows)


def row_words():
    """{key: the row's words}, with those of the row above where they only go on."""
    found, head = {}, ""
    for key, words, *_ in METRICS:
        head = head if words.startswith("  ") else words
        found[key] = words if words == head else f"{head.removesuffix(', p50')}: {words.strip()}"
    return found


def target_table(goals, middles):
    """@middles: of all_medians(). One row for each target that these pairs can tell of."""
    found, words = targets.rows(goals, middles), row_words()
    if not found:
        return "no targets: none of these pairs has any, or what they are set against did not run"
    rows = [[words[goal.metric], pair, goal.baseline.replace("own:start_mb", "own start"),
             f"{ratio:.{2 if ratio >= 0.1 else 3}f}", targets.bound_text(goal.must),
             targets.bound_text(goal.aim), verdict] for pair, goal, ratio, verdict in found]
    header = ["target", "pair", "baseline", "ratio", "must", "aim", "met or missed"]
    return "\n".join([table(header, rows)] + targets.summary(found))


def notes(results):
    """What a reader must know of these very figures."""
    found = []
    for name, rounds in results.items():
        errors = sum(figures.get("connect_errors", 0) for figures in rounds)
        lost = sum(figures.get("idle_lost", 0) for figures in rounds)
        cold = sum(figures.get("cold_errors", 0) for figures in rounds)
        if errors:
            found.append(f"{name}: {errors} short connections failed")
        if lost:
            found.append(f"{name}: at least {lost} idle connections were lost")
        if cold:
            found.append(f"{name}: {cold} connections failed right after its tunnels were cut")
        others = max((figures.get("others_share", 0) for figures in rounds), default=0)
        if others > OTHERS_MARK:
            found.append(f"{name}: others took up to {others:.0%} of the busy time in bulk windows")
        if any(figures.get("steal_share", 0) > 0.02 for figures in rounds):
            found.append(f"{name}: the hypervisor took more than 2 % in a window")
    return found


def background(results, quiet):
    """@quiet: shares of the machine that were busy while nothing was measured."""
    text = (f"other work while nothing was measured: median {statistics.median(quiet):.0%}, "
            f"at most {max(quiet):.0%} of all processors")
    shares = [figures.get("others_share", 0) for rounds in results.values() for figures in rounds]
    if max(shares + [statistics.median(quiet)]) > OTHERS_MARK:
        text += "\n!! the machine was not ours: do not publish these figures; run again when it is"
    return text


def render(results, quiet, goals=()):
    """@goals: of targets.py, for the table of targets."""
    parts = [figures_table(results),
             f"~ the rounds lie more than {SPREAD_MARK:.0%} of the median apart"]
    for base in BASES:
        if results.get(base) and len([name for name in results if results[name]]) > 1:
            parts.append("\n" + ratio_table(results, base))
    if goals:
        parts += ["\n" + target_table(goals, all_medians(results))]
    parts += [""] + notes(results) + [background(results, quiet)]
    return "\n".join(parts)

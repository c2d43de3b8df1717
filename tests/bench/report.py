"""report: rounds of figures to medians, ratios and a table. Pure: no clock, no files."""

import statistics

# key, row's words, unit, digits, better: +1 higher, -1 lower
METRICS = [
    ("bulk1_gbps", "bulk, 1 conn", "Gbit/s", 2, +1),
    ("bulk1_machine", "  CPU, whole machine", "s/GB", 3, -1),
    ("bulk1_ours", "  CPU, agents, client, server", "s/GB", 3, -1),
    ("bulk1_agents", "  CPU, both agents", "s/GB", 3, -1),
    ("bulk16_gbps", "bulk, 16 conns", "Gbit/s", 2, +1),
    ("bulk16_machine", "  CPU, whole machine", "s/GB", 3, -1),
    ("bulk16_ours", "  CPU, agents, client, server", "s/GB", 3, -1),
    ("bulk16_agents", "  CPU, both agents", "s/GB", 3, -1),
    ("ping1_p50", "1 KiB ping-pong, 1 conn, p50", "us", 0, -1),
    ("ping1_p99", "  p99", "us", 0, -1),
    ("ping64_rate", "1 KiB ping-pong, 64 conns", "1/s", 0, +1),
    ("ping64_p99", "  p99", "us", 0, -1),
    ("connect_rate", "connect, 64 B echo, close; 32 at once", "1/s", 0, +1),
    ("idle_kb", "idle connection, both agents", "KB", 2, -1),
    ("start_mb", "memory at start, both agents", "MB", 1, -1),
    ("after_mb", "memory at the end, both agents", "MB", 1, -1),
]
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
    rows = []
    for key, words, unit, digits, _ in METRICS:
        row = [words, unit]
        for rounds in results.values():
            middle, spread = medians(rounds), spreads(rounds)
            cell = plain(middle[key], digits) if key in middle else "-"
            row.append(cell + ("~" if spread.get(key, 0) > SPREAD_MARK else " "))
        rows.append(row)
    return table(["", ""] + [name + " " for name in results], rows)


def ratio_table(results, base):
    """Each pair's median over that of @base; the arrow says which way is better."""
    others = [name for name in results if name != base and results[name]]
    base_figures = medians(results[base])
    rows = []
    for key, words, _, _, better in METRICS:
        row = [words, "up" if better > 0 else "down"]
        for name in others:
            ratio = ratios(medians(results[name]), base_figures).get(key)
            row.append("-" if ratio is None else f"{ratio:.{2 if ratio >= 0.1 else 3}f}x")
        if any(cell != "-" for cell in row[2:]):
            rows.append(row)
    return table([f"against {base}", "better"] + others, rows)


def notes(results):
    """What a reader must know of these very figures."""
    found = []
    for name, rounds in results.items():
        errors = sum(figures.get("connect_errors", 0) for figures in rounds)
        lost = sum(figures.get("idle_lost", 0) for figures in rounds)
        if errors:
            found.append(f"{name}: {errors} short connections failed")
        if lost:
            found.append(f"{name}: at least {lost} idle connections were lost")
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


def render(results, quiet):
    parts = [figures_table(results),
             f"~ the rounds lie more than {SPREAD_MARK:.0%} of the median apart"]
    for base in ("direct", "haproxy"):
        if results.get(base) and len([name for name in results if results[name]]) > 1:
            parts.append("\n" + ratio_table(results, base))
    parts += [""] + notes(results) + [background(results, quiet)]
    return "\n".join(parts)

"""targets: what is to be reached, read from targets.txt, beside what was. Pure, but for load()."""

import os
from collections import namedtuple

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "targets.txt")

# @must, @aim: (">=" or "<=", number), or None
Goal = namedtuple("Goal", "pairs metric baseline must aim")


def parse_bound(word):
    if word == "-":
        return None
    if word[:2] not in (">=", "<="):
        raise ValueError(f"expected >=X, <=X or -, found {word!r}")
    return word[:2], float(word[2:])


def parse(text):
    """The lines of targets.txt; ValueError names a line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            pairs, metric, baseline, must, aim = words
            found.append(Goal(pairs.split(","), metric, baseline, parse_bound(must),
                              parse_bound(aim)))
        except ValueError as why:
            raise ValueError(f"line {number}: {why}") from None
    return found


def load():
    with open(FILE) as file:
        return parse(file.read())


def holds(bound, number):
    return number >= bound[1] if bound[0] == ">=" else number <= bound[1]


def bound_text(bound):
    return f"{bound[0]}{bound[1]:g}" if bound else "-"


def reached(goal, pair, figures):
    """@figures: {pair: {metric: number}}. The ratio, or None where one of the two is missing."""
    mine = figures.get(pair, {}).get(goal.metric)
    if goal.baseline == "value":
        return mine
    if goal.baseline.startswith("own:"):
        base = figures.get(pair, {}).get(goal.baseline[4:])
    else:
        base = figures.get(goal.baseline, {}).get(goal.metric)
    return mine / base if mine is not None and base else None


def verdict(goal, number):
    if goal.must and not holds(goal.must, number):
        return "missed"
    if not goal.aim:
        return "met"
    if holds(goal.aim, number):
        return "met, aim too"
    return "met" if goal.must else "aim missed"


def rows(goals, figures):
    """[(pair, goal, ratio, verdict)] of all that can be told."""
    found = []
    for goal in goals:
        for pair in goal.pairs:
            ratio = reached(goal, pair, figures)
            if ratio is not None:
                found.append((pair, goal, ratio, verdict(goal, ratio)))
    return found


def summary(found):
    """One sentence for each pair that has targets."""
    lines = []
    for pair in dict.fromkeys(row[0] for row in found):
        verdicts = [row[3] for row in found if row[0] == pair]
        lines.append(f"{pair}: {verdicts.count('missed')} of {len(verdicts)} targets missed")
    return lines

#!/usr/bin/env python3
"""Reads metrics as strictly as Prometheus does, or more so, and sums samples.

    prometheus.py FILE text|openmetrics                     fails on anything that is not well formed
    prometheus.py FILE text|openmetrics NAME [LABEL=VALUE]  prints the sum of the samples that match, or "none"
"""

import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?$")


class Malformed(Exception):
    pass


def expect(truth, what, line):
    if not truth:
        raise Malformed(f"{what}: {line!r}")


def labels_of(text, line):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        expect(match, "a label", line)
        expect(match[1] not in labels, "a label once", line)
        expect(match[2] != "", "no empty value", line)
        labels[match[1]] = match[2]
        at = match.end()
        if at < len(text):
            expect(text[at] == "," and at + 1 < len(text), "a comma between labels", line)
            at += 1
    return labels


class Reader:
    def __init__(self, openmetrics):
        self.openmetrics = openmetrics
        self.families, self.samples, self.seen = {}, [], set()
        self.family = None

    def comment(self, line):
        match = re.match(rf"# (HELP|TYPE|UNIT) ({NAME}) (.+)$", line)
        expect(match, "HELP, TYPE or UNIT", line)
        what, name, rest = match.groups()
        if what == "HELP":
            expect(name not in self.families, "a family once, all of it together", line)
            self.family = self.families[name] = {"name": name, "type": None, "samples": 0}
        expect(self.family and self.family["name"] == name, "what HELP began", line)
        expect(self.family["samples"] == 0, "comments before samples", line)
        if what == "TYPE":
            expect(self.family["type"] is None and rest in ("counter", "gauge"), "one type", line)
            self.family["type"] = rest
            ends = name.endswith("_total")
            expect(rest != "counter" or ends != self.openmetrics, "a counter's name", line)
        if what == "UNIT":
            expect(self.openmetrics and name.endswith("_" + rest), "a unit the name ends with", line)

    def sample(self, line):
        match = re.match(rf"({NAME})(?:\{{(.*)\}})? (\S+)$", line)
        expect(match, "a sample", line)
        name, labels = match[1], labels_of(match[2] or "", line)
        expect(NUMBER.match(match[3]), "a number", line)
        expect(self.family and self.family["type"], "a family first", line)
        total = "_total" if self.openmetrics and self.family["type"] == "counter" else ""
        expect(name == self.family["name"] + total, "a sample of its family", line)
        key = (name, tuple(sorted(labels.items())))
        expect(key not in self.seen, "a series once", line)
        self.seen.add(key)
        self.family["samples"] += 1
        self.samples.append((name, labels, float(match[3])))

    def read(self, text):
        expect(text.endswith("\n"), "a newline at the end", text[-20:])
        lines = text[:-1].split("\n")
        if self.openmetrics:
            expect(lines.pop() == "# EOF", "# EOF at the end", text[-20:])
        for line in lines:
            if line.startswith("#"):
                self.comment(line)
            else:
                self.sample(line)
        for family in self.families.values():
            expect(family["samples"], "a family with samples", family["name"])
        return self


def main():
    path, form, *wanted = sys.argv[1:]
    with open(path, "rb") as file:
        reader = Reader(form == "openmetrics").read(file.read().decode("utf-8"))
    if not wanted:
        return
    name, pairs = wanted[0], dict(pair.split("=", 1) for pair in wanted[1:])
    found = [n for (m, labels, n) in reader.samples if m == name and pairs.items() <= labels.items()]
    print(f"{sum(found):g}" if found else "none")


if __name__ == "__main__":
    try:
        main()
    except Malformed as why:
        sys.exit(f"prometheus.py: expected {why}")

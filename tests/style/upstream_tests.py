#!/usr/bin/env python3
"""upstream_tests: docs/upstream-tests.md and docs/controlplane-traps.md name tests that are there.

    upstream_tests.py ROOT

Each row of their tables has a name (a test of upstream's, or a trap) and, here, files in backquotes, each followed
by names in quotes that it must hold; or it says "not yet: why" or "not applicable: why". No test of upstream's
comes twice. Prints one line per breach and exits with 1 if there is any.
"""

import pathlib
import re
import sys

PAGES = ("docs/upstream-tests.md", "docs/controlplane-traps.md")
FILE = re.compile(r"`(tests/[^`]+)`((?: \"[^\"]*\")*)")
EXCUSE = re.compile(r"not (yet|applicable): \w")


def has(path, text, name):
    """A case of a script; a row, which is a string, or a test function of a program."""
    if path.endswith(".sh"):
        return f'case_run "{name}"' in text
    return f'"{name}"' in text or f"START_TEST({name})" in text


def rows(text):
    """(line, names and what is here) of each row below a table's head."""
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[-1] != "here" and set(cells[0]) != {"-"}:
            yield number, cells


def check(root, page):
    seen = {}
    for number, cells in rows((root / page).read_text()):
        where = f"{page}:{number}:"
        if len(cells) != 2:
            yield f"{where} a row has two cells"
            continue
        for name in cells[0].split(", ") if page == PAGES[0] else ():
            if not name.startswith("_") and name in seen:
                yield f"{where} {name} is in line {seen[name]} already"
            seen[name] = number
        found = FILE.findall(cells[1])
        if not found and not EXCUSE.match(cells[1]):
            yield f"{where} {cells[0]} has neither a test nor a reason"
        for path, quoted in found:
            if not (root / path).is_file():
                yield f"{where} {path} is not in the tree"
                continue
            text = (root / path).read_text()
            for name in re.findall(r'"([^"]*)"', quoted):
                if not has(path, text, name):
                    yield f"{where} {path} has no \"{name}\""


def main():
    found = [breach for page in PAGES for breach in check(pathlib.Path(sys.argv[1]), page)]
    print("\n".join(found) if found else f"{', '.join(PAGES)}: every test they name is there")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""upstream_tests: docs/upstream-tests.md names tests that are there.

    upstream_tests.py ROOT

Each row of its tables has a name of upstream's and, here, files in backquotes, each followed by names in
quotes that it must hold; or it says "not yet: why" or "not applicable: why". No name of upstream's comes
twice. Prints one line per breach and exits with 1 if there is any.
"""

import pathlib
import re
import sys

PAGE = "docs/upstream-tests.md"
FILE = re.compile(r"`(tests/[^`]+)`((?: \"[^\"]*\")*)")
EXCUSE = re.compile(r"not (yet|applicable): \w")


def has(path, text, name):
    """A case of a script; a row, which is a string, or a test function of a program."""
    if path.endswith(".sh"):
        return f'case_run "{name}"' in text
    return f'"{name}"' in text or f"START_TEST({name})" in text


def rows(text):
    """(line, upstream's names, what is here) of each row below a table's head."""
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[-1] != "here" and set(cells[0]) != {"-"}:
            yield number, cells


def check(root):
    seen = {}
    for number, cells in rows((root / PAGE).read_text()):
        where = f"{PAGE}:{number}:"
        if len(cells) != 2:
            yield f"{where} a row has two cells"
            continue
        for name in cells[0].split(", "):
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
    found = list(check(pathlib.Path(sys.argv[1])))
    print("\n".join(found) if found else f"{PAGE}: every test it names is there")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

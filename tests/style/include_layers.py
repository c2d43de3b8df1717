#!/usr/bin/env python3
"""include_layers: every #include of the tree against the tables of docs/architecture.md.

    include_layers.py ROOT

The three tables there (rooms, the order inside hbone, vendors) are the rules; nothing is repeated
here. Prints one line per breach, "file:line: sentence", and exits with 1 if there is any.
"""

import fnmatch
import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(?P<open>[<"])(?P<name>[^>"]+)[>"]')
GENERATED = ("*.skel.h", "*.pb-c.h")


def table(text, name):
    """Rows of the table after <!-- name: ... -->, each a list of cells; the header is dropped."""
    after = text.split(f"<!-- {name}:", 1)
    if len(after) != 2:
        sys.exit(f"docs/architecture.md has no table marked '{name}'")
    rows = []
    for line in after[1].splitlines()[1:]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    if len(rows) < 3:
        sys.exit(f"the table '{name}' of docs/architecture.md has no rows")
    return rows[2:]


def words(cell):
    return re.findall(r"`([^`]+)`", cell)


def fits(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


class Room:
    def __init__(self, row):
        self.files = words(row[1])
        allowed = words(row[2])
        self.allowed = [word for word in allowed if word != "libc"]
        self.libc = "libc" in allowed
        self.vendor = "vendor" in re.sub(r"`[^`]*`", "", row[2])
        self.never = words(row[3])


class Rules:
    def __init__(self, root):
        text = (root / "docs/architecture.md").read_text()
        self.rooms = [Room(row) for row in table(text, "rooms")]
        self.order = {w: i for i, row in enumerate(table(text, "hbone")) for w in words(row[1])}
        self.vendors = [(row[0], words(row[1]), words(row[2])) for row in table(text, "vendors")]

    def room(self, path):
        return next((room for room in self.rooms if fits(path, room.files)), None)

    def vendor(self, name):
        return next((vendor for vendor in self.vendors if fits(name, vendor[1])), None)

    def place_in_hbone(self, path):
        """The row of the longest word that the file's name begins with, or None."""
        stem = pathlib.PurePath(path).stem
        found = [w for w in self.order if stem == w or stem.startswith(w + "_")]
        return self.order[max(found, key=len)] if found else None


def resolve(root, path, name, quoted):
    """The path in the tree that an include means, or None when it is not ours."""
    folders = [pathlib.PurePath("include")]
    if quoted:
        folders = [pathlib.PurePath(path).parent, pathlib.PurePath("agent"), pathlib.PurePath(".")] + folders
    for folder in folders:
        if (root / folder / name).is_file():
            return str(folder / name)
    return None


def check_hbone(rules, path, target):
    here, there = rules.place_in_hbone(path), rules.place_in_hbone(target)
    if here is None:
        return "its name begins with no word of the order of hbone"
    if there is None:
        return f"{target}: its name begins with no word of the order of hbone"
    if there > here:
        return f"{target} stands above it in the order of hbone"
    return None


def check(root, rules, room, path, name, quoted):
    """One sentence about what is wrong with this include, or None."""
    target = resolve(root, path, name, quoted)
    if target:
        if target.startswith(("include/hbone/", "hbone/")) and path.startswith(("include/hbone/", "hbone/")):
            return check_hbone(rules, path, target)
        if rules.room(target) is room or fits(target, room.allowed):
            return None
        return f"{target} is not for this room"
    if fits(name, room.allowed):
        return None
    if quoted and not fits(name, GENERATED):
        return f'"{name}" is not in the tree'
    if fits(name, GENERATED):
        return f"{name} is not for this room"
    vendor = rules.vendor(name)
    if vendor:
        if not room.vendor:
            return f"{vendor[0]}: this room includes no vendor"
        return None if fits(path, vendor[2]) else f"{vendor[0]} is only for {' '.join(vendor[2])}"
    if not room.libc:
        return f"<{name}> is not for this room"
    return f"<{name}> is what this room must never know" if fits(name, room.never) else None


def check_file(root, rules, path):
    room = rules.room(path)
    if room is None:
        yield f"{path}:1: no row of the table of rooms fits this file"
        return
    vendors = {}
    for number, line in enumerate((root / path).read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        name, quoted = found["name"], found["open"] == '"'
        wrong = check(root, rules, room, path, name, quoted)
        if wrong:
            yield f"{path}:{number}: {wrong}"
        vendor = rules.vendor(name)
        if vendor:
            vendors.setdefault(vendor[0], number)
    if len(vendors) > 1:
        yield f"{path}:{max(vendors.values())}: two vendors in one file: {', '.join(sorted(vendors))}"


def sources(root):
    """C files that git knows or would add; without git, all that are there."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"],
            check=True, capture_output=True, text=True,
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        listed = [str(p.relative_to(root)) for p in root.rglob("*.[ch]")]
    return sorted(
        p for p in set(listed)
        if not p.startswith(("tests/", "build/", "out/", "docs/")) and (root / p).is_file()
    )


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    rules = Rules(root)
    files = sources(root)
    if not files:
        sys.exit("no source files found")
    wrong = [line for path in files for line in check_file(root, rules, path)]
    print("\n".join(wrong) if wrong else f"{len(files)} files keep to the layers")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

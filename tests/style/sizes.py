#!/usr/bin/env python3
"""sizes: no file of 600 lines or more, main.c under 150, no C function over 100. No exceptions.

    sizes.py ROOT

A function is what lies between a line that is "{" and the next that begins with "}": the shape that
the formatter gives it. Prints one line per breach and exits with 1 if there is any.
"""

import pathlib
import subprocess
import sys

FILE_LINES = 600  # under
MAIN_LINES = 150  # under
FUNCTION_LINES = 100  # at most
KINDS = ("*.c", "*.h", "*.py", "*.sh", "*.txt", "*.cmake")


def sources(root):
    listed = subprocess.run(
        ["git", "-C", str(root), "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", *KINDS],
        check=True, capture_output=True, text=True,
    ).stdout.split()
    return sorted(path for path in set(listed) if (root / path).is_file())


def functions(lines):
    """(first line, length) of each function body."""
    opened = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            opened = number
        elif line.startswith("}") and opened:
            yield opened, number - opened - 1
            opened = None


def check(root, path):
    lines = (root / path).read_text().splitlines()
    limit = MAIN_LINES if path == "agent/main.c" else FILE_LINES
    if len(lines) >= limit:
        yield f"{path}:{len(lines)}: {len(lines)} lines, must be under {limit}"
    if path.endswith((".c", ".h")):
        for first, length in functions(lines):
            if length > FUNCTION_LINES:
                yield f"{path}:{first}: a function of {length} lines, at most {FUNCTION_LINES}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files = [path for path in sources(root) if not path.startswith("tests/fuzz/seeds/")]
    if not files:
        sys.exit("no source files found")
    wrong = [line for path in files for line in check(root, path)]
    print("\n".join(wrong) if wrong else f"{len(files)} files keep to the sizes")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""ctest_lines: ctest's JUnit file as lines "PASS name", "FAIL name", "SKIP name: reason".

    ctest_lines.py FILE PREFIX
"""

import sys
import xml.etree.ElementTree


def reason(case):
    """Why a test skipped itself: the last line it printed."""
    lines = [line.strip() for line in (case.findtext("system-out") or "").splitlines() if line.strip()]
    return lines[-1] if lines else "it did not say why"


def main():
    path, prefix = sys.argv[1:3]
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = prefix + case.get("name")
        if case.find("skipped") is not None and case.get("status") == "notrun":
            print(f"SKIP {name}: {reason(case)}")
        elif case.get("status") == "run":
            print(f"PASS {name}")
        else:
            print(f"FAIL {name}")


if __name__ == "__main__":
    main()

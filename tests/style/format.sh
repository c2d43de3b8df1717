#!/bin/sh
# format: every C file is as clang-format leaves it. Versions of clang-format differ in details, so
# only Debian 12's (14) is asked; with another, or without git, this is skipped (77).
cd "$(dirname "$0")/../.." || exit 1
version=$(clang-format --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
[ "$version" = 14 ] || { echo "skipped: clang-format is version '${version:-none}', not 14"; exit 77; }
files=$(git -c safe.directory='*' ls-files -co --exclude-standard '*.c' '*.h') || { echo "skipped: no git tree"; exit 77; }
[ -n "$files" ] || { echo "no C files found"; exit 1; }
wrong=$(echo "$files" | xargs clang-format --dry-run -Werror 2>&1 | sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: error.*/\1/p' | sort | uniq -c)
[ -z "$wrong" ] && exit
echo "places that clang-format -i would change, by file:"
echo "$wrong"
exit 1

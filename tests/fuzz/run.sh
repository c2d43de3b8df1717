#!/usr/bin/env bash
# run: every fuzz target for some seconds, from its seeds and what earlier runs have found.
#
#   cmake --preset fuzz && cmake --build --preset fuzz
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     default: 5 seconds each; targets by name, as "yaml"
#   FUZZ_RUNS=1000000 tests/fuzz/run.sh 3600    so many executions each, or as many as an hour has
#
# Prints the executions of each; an input that breaks something is kept in build/fuzz/findings. What
# reaches new code is kept in build/fuzz/tests/fuzz/corpus. Exits with 1 if any target failed, 77 if
# none was built.
set -u
cd "$(dirname "$0")/../.." || exit 1

# Short stacks and a small quarantine: with the defaults most of the time goes there.
export ASAN_OPTIONS=${ASAN_OPTIONS:-malloc_context_size=4:quarantine_size_mb=16}
SECONDS_EACH=${1:-5}
[ $# = 0 ] || shift
BUILD=${FUZZ_BUILD:-build/fuzz}
passed=0 failed=0 skipped=0

# Its executions; 0 when it said nothing of them.
executions() { sed -n 's/^stat::number_of_executed_units: //p' "$1" | grep . || echo 0; }

run_target() { # NAME
	local name=$1 log=$BUILD/fuzz_$1.log corpus=$BUILD/tests/fuzz/corpus/$1 found=$BUILD/findings rc
	mkdir -p "$corpus" "$found"
	timeout -k 5 $((SECONDS_EACH + 120)) "$BUILD/tests/fuzz/fuzz_$name" \
		-max_total_time="$SECONDS_EACH" -runs="${FUZZ_RUNS:--1}" -timeout=10 \
		-max_len="$(cat "$BUILD/tests/fuzz/max_len/$name" 2>/dev/null || echo 4096)" -rss_limit_mb=1024 \
		-print_final_stats=1 -artifact_prefix="$found/$name-" \
		"$corpus" "tests/fuzz/seeds/$name" >"$log" 2>&1 </dev/null
	rc=$?
	if [ $rc = 0 ] && [ "$(executions "$log")" != 0 ]; then
		passed=$((passed + 1))
		printf 'PASS fuzz/%s: %s executions\n' "$name" "$(executions "$log")"
	else
		failed=$((failed + 1))
		tail -n 30 "$log"
		printf 'FAIL fuzz/%s: status %s after %s executions (log: %s)\n' "$name" $rc "$(executions "$log")" "$log"
	fi
}

if [ $# = 0 ]; then
	for target in "$BUILD"/tests/fuzz/fuzz_*; do
		[ -f "$target" ] && [ -x "$target" ] && name=${target##*/} && set -- "$@" "${name#fuzz_}"
	done
fi
for name in "$@"; do
	run_target "$name"
done
if [ $# = 0 ]; then
	skipped=1
	printf 'SKIP fuzz: no target in %s; cmake --preset fuzz && cmake --build --preset fuzz\n' "$BUILD"
fi
printf '\n%s passed, %s failed, %s skipped\n' $passed $failed $skipped
[ $failed = 0 ] || exit 1
[ $skipped = 0 ] || exit 77

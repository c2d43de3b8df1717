#!/usr/bin/env bash
# run: every test there is, with sanitizers; the last line counts them.
#
#   tests/run.sh             all of it, about a quarter of an hour on two cores
#   tests/run.sh unit netns  only these stages, of: unit netns tsan fuzz
#
# As root on Debian 12 or later, after "apt-get update". Installs what is missing, needs no stdin.
# Stages: unit (all of ctest but the namespace tests: Check programs, BPF test runs, house rules),
# netns (the real program between network namespaces), both with ASan and UBSan; tsan (the unit tests
# again, with the thread sanitizer); fuzz (each target for some seconds).
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/support/process.sh
. tests/support/packages.sh

RESULTS=$(mktemp)
CGROUP=
trap 'rm -f "$RESULTS"; [ -z "$CGROUP" ] || umount "$CGROUP"' EXIT
JOBS=$(nproc)

result() { printf '%s\n' "$*" | tee -a "$RESULTS"; }

finish() {
	local passed failed skipped
	passed=$(grep -c '^PASS ' "$RESULTS")
	failed=$(grep -c '^FAIL ' "$RESULTS")
	skipped=$(grep -c '^SKIP ' "$RESULTS")
	if [ "$skipped" != 0 ]; then
		printf '\nSKIPPED, and so not shown to work here:\n'
		grep '^SKIP ' "$RESULTS"
	fi
	if [ "$failed" != 0 ]; then
		printf '\nFAILED:\n'
		grep '^FAIL ' "$RESULTS"
	fi
	printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" = 0 ]
	exit
}

# The BPF programs attach to the root of the cgroup2 hierarchy. Where nothing mounts one, we do.
mount_cgroup() {
	grep -q '^[^ ]* [^ ]* cgroup2 ' /proc/self/mounts && return
	CGROUP=/sys/fs/cgroup
	mount -t cgroup2 none "$CGROUP" && return
	CGROUP=
	warn "no cgroup2 hierarchy, and none can be mounted: tests of BPF programs will say so"
}

stage() { printf '\n=== %s\n' "$*"; }

build() { # PRESET TARGET...
	local preset=$1 log=build/$1.log
	shift
	mkdir -p build
	if { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}; } >"$log" 2>&1; then
		return
	fi
	grep -E -A 8 'error|Error|FAILED' "$log" | head -n 60
	result "FAIL build of preset $preset (all of it: $log)"
	return 1
}

# Runs ctest and turns what it found into lines. A test that ctest knows and did not report failed.
run_ctest() { # PRESET PREFIX CTEST ARGS...
	local dir=build/$1 prefix=$2 known seen
	shift 2
	ctest --test-dir "$dir" -j "$JOBS" --output-on-failure --output-junit ctest.xml "$@" </dev/null
	known=$(ctest --test-dir "$dir" -N "$@" | sed -n 's/^Total Tests: //p')
	python3 tests/support/ctest_lines.py "$dir/ctest.xml" "$prefix" >"$RESULTS.ctest"
	seen=$(wc -l <"$RESULTS.ctest")
	cat "$RESULTS.ctest" >>"$RESULTS"
	rm -f "$RESULTS.ctest"
	[ "$seen" = "$known" ] || result "FAIL ${prefix}ctest reported $seen of $known tests"
}

stage_unit() {
	stage "unit tests, BPF test runs, house rules (ASan, UBSan)"
	run_ctest dev "" -LE netns
}

stage_netns() {
	local script name out rc
	out=$(mktemp)
	for script in tests/netns/*.sh; do
		name=$(basename "$script" .sh)
		stage "netns/$name (ASan, UBSan)"
		LAB_BUILD=$PWD/build/dev timeout -k 15 400 "$script" </dev/null 2>&1 | tee "$out"
		rc=${PIPESTATUS[0]}
		grep -E '^(PASS|FAIL|SKIP) ' "$out" | sed -E 's,^(....) ,\1 netns/,' >>"$RESULTS"
		case $rc in
		0 | 77) ;;
		*) grep -q '^FAIL ' "$out" || result "FAIL netns/$name: ended with status $rc" ;;
		esac
		grep -qE '^(PASS|FAIL|SKIP) ' "$out" || [ "$rc" != 0 ] || result "FAIL netns/$name: reported no case"
	done
	rm -f "$out"
}

stage_tsan() {
	stage "unit tests (TSan)"
	build tsan && run_ctest tsan tsan/ -L unit
}

stage_fuzz() {
	stage "fuzz targets, each over its seeds and a little further (ASan, UBSan)"
	build fuzz && run_ctest fuzz "" -L fuzz
}

main() {
	local stages=("$@") one
	[ ${#stages[@]} -gt 0 ] || stages=(unit netns tsan fuzz)
	for one in "${stages[@]}"; do
		case $one in unit | netns | tsan | fuzz) ;; *) warn "unknown stage '$one'" && exit 2 ;; esac
	done
	[ "$(id -u)" = 0 ] || { warn "the tests make network namespaces and load BPF programs: run them as root"; exit 1; }

	stage "packages"
	packages_ensure "${PACKAGES_BUILD[@]}" "${PACKAGES_LAB[@]}" "${PACKAGES_TEST[@]}" &&
		packages_ensure "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" ||
		{ result "FAIL packages cannot be installed" && finish; }

	stage "build with ASan and UBSan"
	build dev || finish
	mount_cgroup
	for one in "${stages[@]}"; do "stage_$one"; done
	finish
}

main "$@"

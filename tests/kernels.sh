#!/usr/bin/env bash
# Tries what depends on the kernel under other ones, each in an emulated machine, from what is built
# already: the BPF programs, io_uring, and two agents with real traffic. The last line counts.
#
#   tests/kernels.sh [-b BUILD_DIR] [KERNEL...]     default: build/release, kernels 6.1 and 6.12
#
# The emulator is the script named by CULVERT_VM, or ../shared/tools/vm/vm.sh beside the checkout:
#   vm.sh --kernel SERIES --timeout SECONDS --env NAME=VALUE -- command...
# runs it as root there, with this machine's files, and exits with its status. Needs no /dev/kvm: about
# five minutes per kernel. Builds with sanitizers are too slow in it.
# Exit: 0 all passed, 1 something failed, 77 there is no emulator.
set -u
cd "$(dirname "$0")/.." || exit 1

build=build/release
if [ "${1:-}" = -b ]; then
	build=${2:?-b needs a directory}
	shift 2
fi
[ $# -gt 0 ] || set -- 6.1 6.12

vm=${CULVERT_VM:-$PWD/../shared/tools/vm/vm.sh}
missing=
[ -r "$vm" ] || missing="no emulator at $vm, set CULVERT_VM"
command -v qemu-system-x86_64 >/dev/null || missing=${missing:-"qemu-system-x86_64 is not installed"}
if [ -n "$missing" ]; then
	echo "SKIP kernels: NOTHING WAS TRIED under $*: $missing"
	exit 77
fi
if [ ! -x "$build/agent/culvertd" ]; then
	echo "FAIL kernels: $build/agent/culvertd is not built: cmake --preset release && cmake --build --preset release"
	exit 1
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
passed=0 failed=0 skipped=0

# Waits in the emulated machine may take this many times longer.
patience=20

# One script in a machine of its own. Its PASS, FAIL and SKIP lines are taken over with the names.
try() { # KERNEL NAME COMMAND...
	local kernel=$1 name=$2 status
	shift 2
	bash "$vm" --kernel "$kernel" --timeout 900 --env LAB_PATIENCE=$patience -- "$@" >"$out" 2>&1 </dev/null
	status=$?
	if ! grep -qE '^(PASS|FAIL|SKIP) ' "$out"; then
		case $status in
		77) echo "SKIP nothing could be tried" >>"$out" ;;
		*) echo "FAIL it did not begin, status $status" >>"$out" ;;
		esac
	elif [ $status != 0 ] && [ $status != 77 ] && ! grep -q '^FAIL ' "$out"; then
		echo "FAIL it did not come to its end, status $status" >>"$out"
	fi
	sed -E "s#^(PASS|FAIL|SKIP) #\\1 kernel $kernel: $name: #" "$out"
	passed=$((passed + $(grep -c '^PASS ' "$out")))
	failed=$((failed + $(grep -c '^FAIL ' "$out")))
	skipped=$((skipped + $(grep -c '^SKIP ' "$out")))
}

# Runs in the emulated machine: each program on its own. Those of hbone/ on either backend, by name,
# so that epoll cannot stand in for an io_uring that fails.
programs='
run() { # NAME COMMAND...
	name=$1
	shift
	if "$@"; then echo "PASS $name"; else echo "FAIL $name: status $?"; fi
}
for test in sk_lookup redirect takeover; do
	run "bpf/$test" "$1/tests/bpf/bpf_$test"
done
run hbone/loop_choice "$1/tests/unit/hbone_test_loop_choice"
for backend in io_uring epoll; do
	for test in dial loop loop_sockets recv tcp tcp_ends relay relay_splice tls_data h2 pool; do
		run "hbone/$test@$backend" env HB_TEST_LOOP=$backend "$1/tests/unit/hbone_test_$test"
	done
done'

for kernel; do
	try "$kernel" "programs" sh -c "$programs" - "$build"
	for backend in io_uring epoll; do
		try "$kernel" "two agents, $backend" env LAB_BACKEND=$backend tests/netns/kernel_smoke.sh "$build"
	done
done

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]

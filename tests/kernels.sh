#!/bin/sh
# Runs the redirection under other kernels, each in an emulated machine, from what is built already.
#
#   tests/kernels.sh [-b BUILD_DIR] [KERNEL...]     default: build/dev, kernels 6.1 and 6.12
#
# The emulator is the script named by CULVERT_VM, or ../shared/tools/vm/vm.sh beside the checkout:
#   vm.sh --kernel SERIES -- command...             runs it as root there, with this machine's files
# Needs no /dev/kvm. Exit: 0 all passed, 1 something failed, 77 there is no emulator.
set -u

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=$top/build/dev
if [ "${1:-}" = -b ]; then
	build=$2
	shift 2
fi
[ $# -gt 0 ] || set -- 6.1 6.12

vm=${CULVERT_VM:-$top/../shared/tools/vm/vm.sh}
if [ ! -r "$vm" ]; then
	echo "SKIP: no emulator at $vm, set CULVERT_VM: nothing was tried under kernels $*" >&2
	exit 77
fi

failures=0

# try KERNEL NAME COMMAND...: a skip counts as a failure, for these kernels have all we need.
try() {
	kernel=$1 name=$2
	shift 2
	bash "$vm" --kernel "$kernel" --timeout 900 -- "$@"
	status=$?
	if [ $status -eq 0 ]; then
		echo "kernel $kernel: $name: passed"
	else
		echo "kernel $kernel: $name: FAILED (exit $status)"
		failures=$((failures + 1))
	fi
}

cd "$top" || exit 1
for kernel; do
	# 1. The programs load, attach, capture, steer, refuse, and are taken over.
	for test in sk_lookup redirect takeover; do
		try "$kernel" "$test" "$build/tests/bpf/bpf_$test"
	done

	# 2. Two agents: an IPv4 and an IPv6 request pass, policy denies one.
	smoke=$top/tests/netns/kernel_smoke.sh
	if [ -e "$smoke" ]; then
		try "$kernel" "two agents" sh "$smoke" "$build"
	else
		echo "SKIP: kernel $kernel: two agents: there is no tests/netns/kernel_smoke.sh"
	fi
done

[ $failures -eq 0 ]

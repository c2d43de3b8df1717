#!/usr/bin/env bash
# stalled: 1, 4 and 50 downloads that are not read, and as many uploads whose server does not read:
# another stream of the same tunnel goes on, what they make the agents hold is bounded, and it comes
# back when they are gone.
#
# Printed: the good stream's rate, and the agents' processor time for each GB of it, alone and beside
# the stalled ones, in turns (medians of ROUNDS). Only progress is asserted of them. Memory is judged
# in builds without sanitizers, which keep what was freed.
. "$(dirname "$0")/../support/cases.sh"

ROUNDS=${ROUNDS:-3}
HELD_MAX_KIB=$((64 << 10))
KEPT_MAX_KIB=$((8 << 10))
STALLED=$LAB_ROOT/tests/support/stalled.py

agent_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$(lab_pid "agent-$1")/status"; }
both_kib() { say $(($(agent_kib a) + $(agent_kib b))); }
agent_ns() { cat "/proc/$(lab_pid "agent-$1")"/task/*/schedstat | awk '{ t += $1 } END { printf "%.0f", t }'; }
both_ns() { say $(($(agent_ns a) + $(agent_ns b))); }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
is_sanitized() { ldd "$LAB_BUILD/agent/culvertd" | grep -q 'lib[at]san'; }

# The agents do nothing any more: no longer do they fill the sockets of those that stand still.
CALM_LOOKS=0 SEEN_NS=0
are_calm() {
	local now
	now=$(both_ns)
	[ $((now - SEEN_NS)) -lt 1000000 ] && CALM_LOOKS=$((CALM_LOOKS + 1)) || CALM_LOOKS=0
	SEEN_NS=$now
	[ $CALM_LOOKS -ge 4 ]
}
wait_for_calm() { CALM_LOOKS=0 && lab_wait 30 are_calm || fail "the agents are never calm"; }

# One transfer -> MB/s and ms of both agents per GB, each into its file.
carry() { # DIRECTION FILE
	local seconds before after
	before=$(both_ns)
	seconds=$(lab_in pod-a1 timeout 100 python3 "$STALLED" carry "$(lab_ip pod-b1)" 9000 "$1" "$CARRY_BYTES")
	after=$(both_ns)
	awk -v b="$CARRY_BYTES" -v s="$seconds" 'BEGIN { print b / s / 1e6 }' >>"$2.rate"
	awk -v b="$CARRY_BYTES" -v n=$((after - before)) 'BEGIN { print n / 1e6 / (b / 1e9) }' >>"$2.cpu"
}

# Opens them, and leaves HOLD_PID and descriptor 8, whose end ends them.
hold() { # DIRECTION COUNT
	rm -f "$LAB_DATA/hold.in"
	mkfifo "$LAB_DATA/hold.in"
	lab_in pod-a1 python3 "$STALLED" hold "$(lab_ip pod-b1)" 9000 "$1" "$2" \
		<"$LAB_DATA/hold.in" >"$LAB_DATA/hold.out" 2>&1 9>&- &
	HOLD_PID=$!
	exec 8>"$LAB_DATA/hold.in"
	lab_wait 90 grep -q stalled "$LAB_DATA/hold.out" || fail "they never stand still: $(cat "$LAB_DATA/hold.out")"
}
let_go() {
	exec 8>&-
	wait "$HOLD_PID"
}

is_back() { [ "$(both_kib)" -le $(($1 + KEPT_MAX_KIB)) ]; }
flows_are_gone() { ! lab_ctl "$1" connections | grep -q ':9000'; }

others_go_on() { # DIRECTION COUNT
	local base=$LAB_DATA/$1-$2 start held=0 now round
	start=$(both_kib)
	for ((round = 0; round < ROUNDS; round++)); do
		carry "$1" "$base-alone"
		hold "$1" "$2"
		wait_for_calm
		carry "$1" "$base-beside"
		now=$(both_kib)
		[ "$now" -le "$held" ] || held=$now
		let_go
		lab_wait 20 flows_are_gone a || fail "flows are left in agent a"
		wait_for_calm
	done
	awk -v what="$2 $1" -v r0="$(median <"$base-alone.rate")" -v r1="$(median <"$base-beside.rate")" \
		-v c0="$(median <"$base-alone.cpu")" -v c1="$(median <"$base-beside.cpu")" 'BEGIN {
		printf "    %s: %.0f MB/s alone, %.0f beside them (%.2f); agents: %.0f and %.0f ms per GB (%.2f)\n",
			what, r0, r1, r1 / r0, c0, c1, c0 / c1 }'
	say "    $2 $1: resident memory of both agents $start KiB, with them $held"
	! is_sanitized || return 0
	[ $((held - start)) -le $HELD_MAX_KIB ] || fail "$((held - start)) KiB held, $HELD_MAX_KIB allowed"
	lab_wait 30 is_back "$FIRST_KIB" || fail "$(both_kib) KiB stay, $FIRST_KIB at first"
	say "    $2 $1: $(both_kib) KiB when they are gone ($FIRST_KIB at first)"
}

warm_up() {
	local direction
	for direction in down up; do carry "$direction" "$LAB_DATA/warm"; done
	is_sanitized && case_skip memory "sanitizers keep what was freed" || :
}

is_sanitized && CARRY_MIB=${CARRY_MIB:-32} || CARRY_MIB=${CARRY_MIB:-256}
CARRY_BYTES=$((CARRY_MIB << 20))
cases_start
lab_settings a
lab_settings b
# All through one tunnel: pools belong to workers.
sed -i 's/^workerThreads:.*/workerThreads: 1/' "$LAB_DIR/agent-a.yaml" "$LAB_DIR/agent-b.yaml"
case_run "agents start" lab_agents_start
lab_spawn stalled-server pod-b1 python3 "$STALLED" server 9000
lab_wait_port pod-b1 9000
case_run "each way, alone" warm_up
FIRST_KIB=$(both_kib)
for count in ${COUNTS:-1 4 50}; do
	case_run "$count downloads that are not read" others_go_on down "$count"
	case_run "$count uploads that are not read" others_go_on up "$count"
done
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

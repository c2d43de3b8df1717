#!/usr/bin/env bash
# storm: 200 connections at once, 1 MiB each way in random chunks with random half-closes or resets:
# every byte and every close is right, and both agents are back to the descriptors they began with.
. "$(dirname "$0")/../support/cases.sh"

# Seeded by the day, so that the input varies and a failure can be run again.
SEED=${SEED:-$(date +%Y%m%d)}
STORM=$LAB_BUILD/tests/support/storm

storm() { # FROM ADDRESS RESETS CONNECTIONS
	local mark rc=0
	mark=$(lab_mark storm-server)
	lab_spawn storm-server pod-b1 "$STORM" server 9000 --connections "$4" --seconds 90
	lab_wait_port pod-b1 9000
	lab_in "$1" "$STORM" client "$2" 9000 --connections "$4" --resets "$3" --seed "$SEED" \
		--seconds 90 >"$LAB_DATA/storm" 2>&1 || rc=$?
	head -n 10 "$LAB_DATA/storm"
	expect_eq "the client's exit status (seed $SEED)" 0 "$rc"
	lab_wait 20 lab_has_exited storm-server
	lab_since storm-server "$mark" | head -n 10
	expect_eq "the server's exit status (seed $SEED)" 0 "$(cat "$LAB_DIR/exit/storm-server")"
}

fds_are_back() {
	lab_wait 20 fds_are "$1" "$2" ||
		fail "agent $1 began with $2 descriptors, has $(lab_fds "$1"): $(ls -l "/proc/$(lab_pid "agent-$1")/fd" | tail -n 5)"
}
fds_are() { [ "$(lab_fds "$1")" -le "$2" ]; }

no_flow_left() {
	lab_wait 10 flows_are_gone "$1" || fail "agent $1 still lists: $(lab_ctl "$1" connections)"
}
flows_are_gone() { ! lab_ctl "$1" connections | grep -q ':9000'; }

cases_start
# Pooled connections are kept for minutes by default; here they go soon, to be counted.
LAB_SETTINGS="poolUnusedReleaseTimeout: 1s"
lab_settings a
lab_settings b
case_run "agents start" lab_agents_start
FDS_A=$(lab_fds a)
FDS_B=$(lab_fds b)
case_run "across nodes, IPv4" storm pod-a1 "$(lab_ip pod-b1)" 0 200
case_run "across nodes, IPv6" storm pod-a1 "$(lab_ip -6 pod-b1)" 0 200
case_run "across nodes, 40 of 200 reset" storm pod-a1 "$(lab_ip pod-b1)" 40 200
case_run "on one node" storm pod-b2 "$(lab_ip pod-b1)" 0 200
case_run "plaintext from outside" storm outside "$(lab_ip pod-b1)" 20 200
case_run "no flow is left in agent a" no_flow_left a
case_run "no flow is left in agent b" no_flow_left b
case_run "agent a has no descriptor more" fds_are_back a "$FDS_A"
case_run "agent b has no descriptor more" fds_are_back b "$FDS_B"
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

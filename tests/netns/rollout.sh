#!/usr/bin/env bash
# rollout: all endpoints of a service are replaced under load, and no request fails: those that have
# gone refuse, and another one is tried before the app notices. Then what cannot be had elsewhere.
. "$(dirname "$0")/../support/cases.sh"

PYTHON=/usr/bin/python3
APP=$LAB_ROOT/tests/support/rollout_app.py
RATE=500
NOWHERE=10.9.0.1
PORT=8080

workload() { # WHERE NAME IN-THE-SERVICE MORE...
	lab_workload "$1" "$2" | sed '/^  services:/d'
	[ "$3" = 0 ] && say '  services: {}' || say "  services: {demo/web: {80: $PORT}}"
	[ $# -lt 4 ] || printf '  %s\n' "${@:4}"
}

# The mesh with these endpoints: old1 old2 new1 (behind agents), plain (not in the mesh), hole
# (swallows); or by-hand: what lies in mesh.by-hand. MORE is added to the workload old1; POLICIES are the policies.
write_mesh() { # NAMES...
	local names=" $* "
	[ "$1" != by-hand ] || { mv "$LAB_DIR/mesh.by-hand" "$LAB_DIR/mesh.yaml" && return; }
	is_in() { [[ $names == *" $1 "* ]] && say 1 || say 0; }
	{
		say "workloads:"
		workload pod-a1 client 0
		workload pod-b1 server "$(is_in old1)" ${MORE:+"$MORE"}
		workload pod-b2 vault "$(is_in old2)"
		workload pod-a2 other "$(is_in new1)"
		workload outside plain "$(is_in plain)" | sed 's/protocol: HBONE/protocol: TCP/'
		workload outside hole "$(is_in hole)" | sed "s/protocol: HBONE/protocol: TCP/; s/workloadIps:.*/workloadIps: [$NOWHERE]/"
		say "services:"
		say "- {name: web, namespace: demo, hostname: web, vips: [/$LAB_VIP4], ports: {80: $PORT}}"
		[ -z "${POLICIES:-}" ] || printf 'policies:\n%s\n' "$POLICIES"
	} >"$LAB_DIR/mesh.new"
	mv "$LAB_DIR/mesh.new" "$LAB_DIR/mesh.yaml"
}

# The same, read by the agents that run.
mesh() { # NAMES...
	local mark_a mark_b
	mark_a=$(lab_mark agent-a) mark_b=$(lab_mark agent-b)
	write_mesh "$@"
	lab_wait_log 20 agent-a "$mark_a" 'mesh file read again' || fail "agent a does not read the mesh"
	! lab_is_running agent-b || lab_wait_log 20 agent-b "$mark_b" 'mesh file read again' ||
		fail "agent b does not read the mesh"
}

where_is() {
	case $1 in
	old1) say pod-b1 ;;
	old2) say pod-b2 ;;
	new1) say pod-a2 ;;
	plain) say outside ;;
	esac
}
app() { # NAME
	lab_spawn "app-$1" "$(where_is "$1")" $PYTHON "$APP" serve "$1" $PORT &&
		lab_wait_port "$(where_is "$1")" $PORT || fail "app $1 does not listen"
}
app_goes() { # NAME
	lab_stop "app-$1"
}

load() { # [RATE]
	: >"$LAB_DIR/log/load.log"
	lab_spawn load pod-a1 $PYTHON -u "$APP" load $LAB_VIP4 80 "${1:-$RATE}"
}
asked_more() { [ "$(lab_since load "$1" | grep -c ^asked)" -gt 1 ]; } # MARK
# Between one and two seconds' worth of requests.
meanwhile() { lab_wait 60 asked_more "$(lab_mark load)" || fail "the client does not ask"; }
result() {
	lab_stop load && tail -n 1 "$LAB_DIR/log/load.log"
}
# Requests that failed, and of those that did not by whom they were answered.
field() { # JSON PYTHON
	$PYTHON -c "import json, sys; r = json.loads(sys.argv[1]); print($2)" "$1"
}
expect_no_failure() { # JSON NAMES...
	say "    $1"
	expect_eq "failed" '{}' "$(field "$1" 'r["failed"]')"
	expect_eq "answered" "$(field "$1" 'r["asked"]')" "$(field "$1" 'sum(r["answered"].values())')"
	expect_eq "answered by" "${*:2}" "$(field "$1" '*sorted(r["answered"])')"
}

start() {
	write_mesh old1 old2
	lab_agents_start
	app old1
	app old2
}

denied() {
	local got
	MORE='authorizationPolicies: [demo/deny-client]'
	LAB_SELECTED=''
	POLICIES=$(lab_deny deny-client server client)
	mesh old1 old2
	load 50
	meanwhile
	got=$(result)
	say "    $got"
	expect_eq "refused, and answered" "True old2" "$(field "$got" 'sum(r["failed"].values()) > 20, *r["answered"]')"
	MORE='' POLICIES=''
	mesh old1 old2
}

replacement() {
	local got
	load
	meanwhile
	app new1
	mesh old1 old2 new1
	meanwhile
	app_goes old1 # and the mesh does not know
	meanwhile
	app plain
	mesh old2 new1 plain
	meanwhile
	app_goes old2
	meanwhile
	mesh new1 plain
	meanwhile
	app_goes plain # a refusal of TCP
	meanwhile
	got=$(result)
	expect_no_failure "$got" new1 old1 old2 plain
}

swallowed() {
	local got
	app plain
	mesh plain hole
	load 50
	meanwhile
	got=$(result)
	expect_no_failure "$got" plain
	expect_eq "somebody waited for the one that is silent, for one try" True \
		"$(field "$got" '2900 <= r["slowest_ms"] < 9000')"
}

agent_is_gone() {
	local got
	mesh old1 new1
	lab_agent_kill b
	load 50
	meanwhile
	got=$(result)
	lab_agent_start b
	expect_no_failure "$got" new1
}

# Two pods are the waypoint in front of a service (they read plain bytes on the app's port); one of
# them goes.
waypoint() {
	local got mark tunnel="applicationTunnel: {protocol: NONE, port: $PORT}"
	lab_is_running app-old2 || app old2
	{
		say "workloads:"
		workload pod-a1 client 0
		workload pod-b1 server 0
		workload pod-b2 vault 0 "$tunnel"
		workload pod-a2 other 0 "$tunnel"
		say "services:"
		say "- {name: web, namespace: demo, hostname: web, vips: [/$LAB_VIP4], ports: {80: $PORT}, waypoint: {destination: demo/wp, hboneMtlsPort: 15008}}"
		say "- {name: wp, namespace: demo, hostname: wp, vips: [], ports: {15008: 15008}, endpoints: {v: {workloadUid: lab//Pod/demo/vault, port: {}, status: Healthy}, o: {workloadUid: lab//Pod/demo/other, port: {}, status: Healthy}}}"
	} >"$LAB_DIR/mesh.by-hand"
	mesh by-hand
	mark=$(lab_mark agent-a)
	load 50
	meanwhile
	app_goes old2
	meanwhile
	got=$(result)
	expect_no_failure "$got" new1 old2
	lab_wait_log 5 agent-a "$mark" "dst.addr=$(lab_ip pod-b2):15008 dst.hbone_addr=$LAB_VIP4:80 dst.service=\"web\" dst.workload=\"vault\".*dst.identity=\"spiffe://cluster.local/ns/demo/sa/vault\".*outbound" ||
		fail "agent a says: $(lab_since agent-a "$mark" | tail -n 3)"
}

# No try beyond those there are, and the last one's words.
nobody_is_left() {
	local mark
	mesh old2 plain
	app_goes plain
	mark=$(lab_mark agent-a)
	lab_in pod-a1 timeout 20 $PYTHON - <<-PY
	import socket
	s = socket.create_connection(("$LAB_VIP4", 80))
	try:
	    print(s.recv(1))
	except ConnectionResetError:
	    pass
	PY
	lab_wait_log 5 agent-a "$mark" 'direction="outbound".*error="(http status: 503|.*Connection refused)' ||
		fail "agent a says: $(lab_since agent-a "$mark")"
}

# Of one worker, so that each flow is counted: 20 flows, and then 20 more when the first have ended.
held_at() { lab_in "$(where_is "$1")" ss -Htn state established "sport = :$PORT" | wc -l; } # NAME
held_evenly() { [ "$(held_at old1) $(held_at old2)" = "10 10" ]; }
held_none() { [ "$(held_at old1) $(held_at old2)" = "0 0" ]; }
least_flows() {
	lab_stop agent-a
	write_mesh old1 old2
	LAB_SETTINGS='leastFlows: true' lab_settings a
	sed -i 's/^workerThreads: .*/workerThreads: 1/' "$LAB_DIR/agent-a.yaml"
	lab_agent_start a
	lab_is_running app-old1 || app old1
	lab_is_running app-old2 || app old2
	for _ in 1 2; do
		lab_spawn held pod-a1 $PYTHON -c "
import signal, socket
held = [socket.create_connection(('$LAB_VIP4', 80)) for _ in range(20)]
signal.sigwait([signal.SIGUSR1])"
		lab_wait 10 held_evenly || fail "$(held_at old1) flows at one, $(held_at old2) at the other"
		lab_kill held
		lab_wait 10 held_none || fail "flows do not end"
	done
}

cases_start
ip -n culvert-node-a route add blackhole $NOWHERE/32 || exit 1
case_run "agents and apps start" start
case_run "a refusal by policy is not tried elsewhere" denied
case_run "every endpoint is replaced, no request fails" replacement
case_run "an endpoint that swallows" swallowed
case_run "the agent in front of an endpoint is gone" agent_is_gone
case_run "a waypoint of two pods, one goes" waypoint
case_run "nobody is left" nobody_is_left
case_run "the one with fewer flows" least_flows
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

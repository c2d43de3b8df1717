#!/usr/bin/env bash
# xds: two agents whose mesh comes from a control plane alone: not ready before it is known, what is pushed is in
# force, what cannot be taken is refused by itself, and all goes on while the control plane is away.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/controlplane.sh"

SERVER=$(lab_ip pod-b1)
WEB="http://$SERVER:8080/"

xds_settings() { # a|b
	lab_settings "$1"
	sed -i '/^meshFile:/d' "$LAB_DIR/agent-$1.yaml"
	cat >>"$LAB_DIR/agent-$1.yaml" <<-YAML
	xdsAddress: https://$(lab_ip outside):15012
	altXdsHostname: $CONTROLPLANE_NAME
	xdsRootCa: $LAB_DIR/ca-cert.pem
	authToken: $LAB_DIR/token-$1
	podName: ztunnel-$1
	podNamespace: istio-system
	YAML
}

agents_wait() {
	local node
	controlplane_accounts
	for node in a b; do
		xds_settings "$node"
		lab_agent_launch "$node"
		lab_wait_log 20 "agent-$node" 0 'xds stream ended.*ConnectionError' || fail "agent $node does not try"
		expect_match "readiness of $node" 'not ready, pending: pods, state manager' "$(lab_ctl "$node" raw /healthz/ready 2>/dev/null || true)"
	done
}
agents_ready() {
	lab_agent_ready a 30 && lab_agent_ready b 30
	expect_match "status" '^xds: .*connected' "$(lab_ctl a status)"
	controlplane streams 2 20 >/dev/null
}

pushed() { # policies on stdin; waits until both agents have answered
	lab_mesh
	controlplane_reload
	controlplane streams 2 20 >/dev/null
}
deny() {
	LAB_SELECTED=
	lab_deny deny-all server >"$LAB_DATA/deny"
	pushed <"$LAB_DATA/deny"
}
allow() {
	LAB_SELECTED=
	pushed </dev/null
}
is_refused() {
	local rc=0
	lab_curl pod-a1 "$WEB" -o /dev/null 2>/dev/null || rc=$?
	[ $rc = 56 ] || [ $rc = 7 ] || [ $rc = 52 ]
}
is_allowed() { [ "$(lab_curl pod-a1 "$WEB" -o /dev/null -w '%{http_code}' 2>/dev/null)" = 200 ]; }
refused() { lab_wait 10 is_refused || fail "it is not refused"; }
allowed() { lab_wait 10 is_allowed || fail "it is not allowed"; }

bad_one() {
	controlplane put address bad 0a0528022a0161 >/dev/null # a workload that breaks off
	expect_match "a NACK" '^ok 3 bad: the value is no Address' "$(controlplane expect-nack 10 address)"
	expect_match "and the other" '^ok 3 bad: ' "$(controlplane expect-nack 10 address)"
	expect_match "the metric" 'culvert_xds_nacks_total\{.*Address"\} 1$' "$(lab_ctl a raw /metrics)"
	expect_match "the status" 'refused last: bad: ' "$(lab_ctl a status)"
	controlplane remove address bad >/dev/null
	allowed
}
no_response() {
	controlplane raw 1205 >/dev/null
	controlplane streams 2 20 >/dev/null
	lab_wait_log 10 agent-a 0 'xds stream ended.*is no response of xDS' || fail "agent a does not say so"
	allowed
}

while_away() {
	deny
	refused
	controlplane away >/dev/null
	lab_wait_log 10 agent-b 0 'xds stream ended.*reason=Reconnect' || fail "agent b does not notice"
	refused
	LAB_SELECTED=
	lab_mesh </dev/null
	controlplane_reload
	controlplane back >/dev/null
	controlplane streams 2 40 >/dev/null
	allowed
}
asked_in_vain() {
	expect_match "terminations" 'istio_xds_connection_terminations_total\{reason="Reconnect"\} [1-9]' "$(lab_ctl b raw /metrics)"
	expect_match "connected" '^culvert_xds_connected 1$' "$(lab_ctl b raw /metrics)"
}
shapes() {
	local shape
	for shape in reverse duplicate twice policies-first "split 2" plain; do
		controlplane shape $shape >/dev/null
		controlplane restart >/dev/null
		controlplane streams 2 40 >/dev/null
		deny
		refused || fail "shape $shape"
		allow
		allowed || fail "shape $shape"
	done
}
addresses_are() { # COUNT
	lab_ctl a raw /metrics | grep -q "^culvert_xds_resources{url=\"type.googleapis.com/istio.workload.Address\"} $1\$"
}
# A push that breaks off is not taken, and comes again. Then there are so many that their names are too long for a request:
# all is told again, here in three parts, and nothing goes because it has not been told yet; what was not told at all does.
huge() {
	local few mark
	few=$(lab_ctl a raw /metrics | sed -n 's/^culvert_xds_resources{.*Address"} //p')
	controlplane cut-after 3000000 >/dev/null
	controlplane huge 100000 >/dev/null
	controlplane streams 2 90 >/dev/null
	lab_wait 10 addresses_are $((few + 100000)) || fail "they are not all there"
	mark=$(lab_mark agent-a)
	controlplane shape split 40000 >/dev/null
	controlplane cut >/dev/null
	controlplane streams 2 90 >/dev/null
	lab_wait_log 10 agent-a "$mark" 'names that we have are too many for a request' || fail "they were named"
	addresses_are $((few + 100000)) || fail "some are not there any more"
	lab_since agent-a "$mark" >"$LAB_DATA/since"
	expect_eq "parts" 3 "$(grep -c 'xds response taken.*Address resources=[1-9]' "$LAB_DATA/since")"
	expect_none "removals" -E 'removed=[1-9]' "$LAB_DATA/since"
	controlplane shape plain >/dev/null
	allowed
	controlplane away >/dev/null
	controlplane huge 0 >/dev/null
	controlplane back >/dev/null
	controlplane streams 2 90 >/dev/null
	lab_wait 90 addresses_are "$few" || fail "what went while we were away is there still"
	lab_wait_log 5 agent-a "$mark" 'not told again is removed.*removed=100000' || fail "agent a does not say so"
	allowed
}
refusals() { # the server does not let us in; then it does
	local mark
	controlplane fail UNAUTHENTICATED authentication failure >/dev/null
	controlplane cut >/dev/null
	controlplane streams 2 40 >/dev/null
	mark=$(lab_mark agent-a)
	controlplane certificate other-name >/dev/null
	controlplane cut >/dev/null
	lab_wait_log 20 agent-a "$mark" 'xds stream ended.*reason=ConnectionError' || fail "agent a does not mind another name"
	controlplane certificate good >/dev/null
	controlplane streams 2 90 >/dev/null
	controlplane goaway 1 >/dev/null
	controlplane streams 2 40 >/dev/null
	allowed
}
rules_kept() {
	controlplane no-violations >/dev/null
	controlplane no-nacks >/dev/null
}
no_token_logged() {
	local node
	for node in a b; do
		! grep -qF "$(cat "$LAB_DIR/token-$node")" "$LAB_DIR/log/agent-$node.log" || fail "agent $node logs its token"
	done
}

LAB_LOG=trace
cases_start
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents wait for the mesh" agents_wait
case_run "the control plane starts" controlplane_start
case_run "agents are ready" agents_ready
case_run "traffic" expect_works pod-a1 "$WEB"
case_run "a policy is pushed" deny
case_run "it is in force" refused
case_run "it is taken back" allow
case_run "allowed again" allowed
case_run "what cannot be taken is refused by itself" bad_one
case_run "bytes that are no response" no_response
case_run "a policy removed while the control plane is away" while_away
case_run "shapes of pushes" shapes
case_run "100,000 workloads" huge
case_run "refusals, and GOAWAY" refusals
case_run "metrics" asked_in_vain
case_run "the rules of the protocol are kept" rules_kept
case_run "no token in a log" no_token_logged
cases_end

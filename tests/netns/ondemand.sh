#!/usr/bin/env bash
# ondemand: agents that know their own node's workloads only, and ask the control plane for all else when a connection
# needs it: by address, by VIP, a waypoint by its name; what nobody has; what comes later; and no answer at all.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/controlplane.sh"

SERVER=$(lab_ip pod-b1) OUT=$(lab_ip outside)
SA=spiffe://cluster.local/ns/demo/sa
DOMAIN=demo.svc.cluster.local
FRONTED=10.96.0.8

# The vault stands in front of "fronted", and answers for it.
mesh() {
	lab_mesh </dev/null
	cat >>"$LAB_DIR/mesh.yaml" <<-YAML
	- {name: fronted, namespace: demo, hostname: fronted.$DOMAIN, vips: [/$FRONTED], ports: {8080: 8080}, waypoint: {destination: demo/way.$DOMAIN, hboneMtlsPort: 15008}}
	- {name: way, namespace: demo, hostname: way.$DOMAIN, vips: [], ports: {15008: 15008}}
	YAML
	sed -i "/^  name: vault$/,/^  services:/ s|^  services:.*|  services: {demo/way.$DOMAIN: {15008: 15008}}|" "$LAB_DIR/mesh.yaml"
}
dump() { lab_ctl "$1" raw /config_dump >"$LAB_DATA/dump-$1"; } # a|b
knows() { dump "$1" && grep -q "\"lab//Pod/demo/$2\"" "$LAB_DATA/dump-$1"; } # a|b NAME
knows_not() { ! knows "$@"; }
waits() { lab_ctl "$1" raw /metrics | sed -n "s/^culvert_on_demand_waits_total{result=\"$2\"} //p"; } # a|b RESULT
answers() { [ "$(lab_curl "$1" "$2" -o "$LAB_DATA/body" -w '%{http_code}' 2>/dev/null)" = 200 ]; } # WHERE URL
answers_not() { ! answers "$@"; }
logged() { # AGENT MARK REGEX
	lab_wait_log 5 "agent-$1" "$2" "$3" || fail "agent $1 says: $(lab_since "agent-$1" "$2")"
}

begin() {
	mesh
	controlplane_start
	for node in a b; do LAB_SETTINGS='xdsOnDemand: true' controlplane_settings $node; done
	lab_agents_start
	controlplane streams 2 20 >/dev/null
	for name in client other; do knows a $name || fail "agent a does not know its own pod $name"; done
	for name in server vault; do knows_not a $name || fail "agent a knows $name already"; done
}
by_address() {
	local mark at_b
	mark=$(lab_mark agent-a) at_b=$(lab_mark agent-b)
	expect_works pod-a1 "http://$SERVER:8080/"
	logged a "$mark" "src.workload=\"client\".*dst.workload=\"server\".*dst.identity=\"$SA/server\".*direction=\"outbound\""
	logged b "$at_b" "src.workload=\"client\".*dst.workload=\"server\".*direction=\"inbound\""
	knows a server || fail "agent a does not know the server"
	expect_eq "waits that were answered" 1 "$(waits a answered)"
	expect_works pod-a1 "http://$SERVER:8080/"
	expect_eq "after another one" 1 "$(waits a answered)"
}
by_vip() {
	local mark
	mark=$(lab_mark agent-a)
	expect_works pod-a1 "http://$LAB_VIP4/"
	logged a "$mark" "dst.service=\"web.$DOMAIN\".*dst.workload=\"server\".*dst.identity=\"$SA/server\""
	expect_works pod-a2 "http://[$LAB_VIP6]/"
}
by_waypoint() { # whose name leads to a workload that is not known, either
	local mark at_b
	mark=$(lab_mark agent-a) at_b=$(lab_mark agent-b)
	expect_works pod-a1 "http://$FRONTED:8080/"
	logged a "$mark" "dst.service=\"fronted.$DOMAIN\".*dst.workload=\"vault\".*dst.identity=\"$SA/vault\""
	logged b "$at_b" "src.workload=\"client\".*dst.workload=\"vault\".*direction=\"inbound\""
}
nobody() { # has that address: as is, and for a while that is known
	local mark before
	mark=$(lab_mark agent-a) before=$(waits a answered)
	expect_works pod-a1 "http://$OUT:8080/"
	logged a "$mark" "dst.addr=$OUT:8080.*direction=\"outbound\""
	expect_works pod-a1 "http://$OUT:8080/"
	[ "$(waits a answered)" -le $((before + 2)) ] || fail "each connection asks"
	expect_match "what the control plane was asked for" "\"/$OUT\"" "$(controlplane status)"
}
somebody_later() { # who says that he speaks HBONE, and does not
	LAB_GUESTS=outside:ghost mesh
	controlplane_reload
	lab_wait 30 answers_not pod-a1 "http://$OUT:8080/" || fail "a workload of the mesh is reached around it"
	knows a ghost || fail "agent a does not know the ghost"
	mesh
	controlplane_reload
	lab_wait 10 knows_not a ghost || fail "agent a knows the ghost still"
	lab_wait 30 answers pod-a1 "http://$OUT:8080/" || fail "it is not reached when it has left the mesh"
}
inbound_alone() { # in plaintext, from whom the mesh does not have
	expect_works outside "http://$SERVER:8080/"
}
no_answer() { # nothing goes around the mesh; what is known goes on
	local mark code=0
	controlplane hold >/dev/null
	mark=$(lab_mark agent-a)
	lab_curl pod-a1 "http://10.3.0.77:8080/" 2>/dev/null || code=$?
	expect_match "curl's exit status" '^(56|7|52)$' "$code"
	logged a "$mark" "dst.addr=10.3.0.77:8080.*error=.*the control plane does not say what /10.3.0.77 is"
	expect_works pod-a1 "http://$SERVER:8080/"
	[ "$(waits a timeout)" -ge 1 ] || fail "it is not counted"
	controlplane go-on >/dev/null
	lab_wait 20 answers pod-a1 "http://$OUT:8080/" || fail "not asked again"
}
started_anew() { # its stream has heard of nothing
	controlplane restart >/dev/null
	controlplane streams 2 40 >/dev/null
	expect_works pod-a1 "http://$FRONTED:8080/"
	expect_works pod-a2 "http://$SERVER:8080/"
	lab_wait 20 answers pod-a1 "http://$OUT:8080/" || fail "not asked again"
}
strict_needs_all() {
	local said
	sed 's/^xdsOnDemand: .*/&\nwaypointStrict: true/' "$LAB_DIR/agent-a.yaml" >"$LAB_DATA/strict.yaml"
	said=$("$LAB_BUILD/agent/culvertd" --check --config "$LAB_DATA/strict.yaml" 2>&1) && fail "it is taken: $said"
	expect_match "what it says" 'xdsOnDemand .* and waypointStrict cannot both be true' "$said"
}
as_the_protocol_wants_it() {
	controlplane no-violations >/dev/null
	controlplane no-nacks >/dev/null
}

cases_start
for where in pod-b1 pod-b2 outside; do
	lab_nginx $where
	echo hello >"$LAB_DATA/nginx-$where/www/index.html"
done
case_run "agents know their own node alone" begin
case_run "a workload by its address" by_address
case_run "a service by its VIP" by_vip
case_run "a waypoint by its name" by_waypoint
case_run "an address that nobody has" nobody
case_run "somebody has it later, and leaves" somebody_later
case_run "a client that nobody knows" inbound_alone
case_run "no answer: refused, in time" no_answer
case_run "another stream" started_anew
case_run "waypointStrict needs the whole mesh" strict_needs_all
case_run "as the protocol wants it" as_the_protocol_wants_it
cases_end

#!/usr/bin/env bash
# waypoint: HTTP rules between the pods: a real Envoy ends our tunnels, decides, and comes back with tunnels
# of its own, whose identity policy and strict mode ask for.
. "$(dirname "$0")/../support/cases.sh"
. "$LAB_ROOT/tests/support/certs.sh"
. "$LAB_ROOT/tests/support/envoy.sh"
. "$LAB_ROOT/tests/support/waypoint.sh"

PYTHON=/usr/bin/python3
APP=$LAB_ROOT/tests/support/web_app.py
SA=spiffe://cluster.local/ns/demo/sa
DOMAIN=demo.svc.cluster.local
CLIENT=$(lab_ip pod-a1) SERVER=$(lab_ip pod-b1) VAULT=$(lab_ip pod-b2) WAYPOINT=$(lab_ip outside)
VAULT6=$(lab_ip -6 pod-b2)
# Services with a waypoint by hostname, by the address of its pod, and one that nobody knows.
WEB=$LAB_VIP4 BYIP=10.96.0.8 LOST=10.96.0.9
ALLOWED='^200 [0-9]+ web v[12] path=/allowed '

workload() { # WHERE NAME SERVICES [MORE...]
	lab_workload "$1" "$2" | sed '/^  services:/d'
	printf '  %s\n' "services: {$3}" "${@:4}"
}
service() { # NAME ADDRESS PORTS [MORE...]
	printf '%s\n' "- name: $1" "  namespace: demo" "  hostname: $1.$DOMAIN" "  vips: [$2]" "  ports: {$3}"
	[ $# -lt 4 ] || printf '  %s\n' "${@:4}"
}
by_name() { say "waypoint: {destination: demo/$1.$DOMAIN, hboneMtlsPort: 15008}"; }
by_address() { say "waypoint: {destination: /$WAYPOINT, hboneMtlsPort: 15008}"; }

# The server is behind a service's waypoint alone, the vault behind one of its own besides.
write_mesh() { # stdin: policies
	local pods="demo/web.$DOMAIN: {80: 8080}, demo/byip.$DOMAIN: {80: 8080}, demo/lost.$DOMAIN: {80: 7070}" policies
	policies=$(cat)
	{
		say "workloads:"
		workload pod-a1 client ""
		workload pod-a2 other ""
		workload pod-b1 server "$pods"
		workload pod-b2 vault "$pods" "$(by_address)"
		workload outside waypoint "demo/waypoint.$DOMAIN: {15008: 15008}" "protocol: TCP" | sed '/protocol: HBONE/d'
		say "services:"
		service web "/$WEB" "80: 8080" "$(by_name waypoint)"
		service byip "/$BYIP" "80: 8080" "$(by_address)"
		service lost "/$LOST" "80: 7070" "$(by_name nobody)"
		service waypoint "" "15008: 15008"
		[ -z "$policies" ] || printf 'policies:\n%s\n' "$policies"
	} >"$LAB_DIR/mesh.yaml"
}

start_agents() {
	LAB_SELECTED=$'server=demo/only-waypoint\nvault=demo/only-waypoint'
	write_mesh <<-YAML
	- name: only-waypoint
	  namespace: demo
	  scope: WorkloadSelector
	  action: Allow
	  dryRun: false
	  rules: [[[{principals: [!Exact cluster.local/ns/demo/sa/waypoint], destinationPorts: [8080]}]]]
	YAML
	# One worker has one pool, so that connections can be counted.
	lab_settings a && sed -i 's/^workerThreads: .*/workerThreads: 1/' "$LAB_DIR/agent-a.yaml"
	lab_agents_start
}

start_apps() {
	local where name
	for name in v1:pod-b1 v2:pod-b2; do
		where=${name#*:}
		lab_spawn "app-$where" "$where" $PYTHON "$APP" serve 8080 "${name%:*}"
		lab_spawn "free-$where" "$where" $PYTHON "$APP" serve 9090 "${name%:*}"
		lab_wait_port "$where" 8080 && lab_wait_port "$where" 9090
	done
}

start_waypoint() {
	waypoint_start outside "$(
		waypoint_chain $WEB 80 "$(waypoint_rules web $SA/other 90 10)"
		waypoint_chain $BYIP 80 "$(waypoint_rules byip $SA/other 100 0)"
		waypoint_chain "$VAULT" 8080 "$(waypoint_rules vault $SA/other 0 100)"
		waypoint_chain "$VAULT6" 8080 "$(waypoint_rules vault6 $SA/other 0 100)"
	)" "$SERVER:8080" "$VAULT:8080"
}

ask() { # WHERE ADDRESS PORT PATH WANT [MORE...]: a regular expression for STATUS MS WAYPOINT ANSWER
	local got
	got=$(lab_in "$1" $PYTHON "$APP" ask "$2" "$3" "$4" "${@:6}" 2>&1) || got="failed: $(tail -n 1 <<<"$got")"
	expect_match "the answer" "$5" "$got"
}

logged() { # AGENT MARK REGEX
	lab_wait_log 5 "agent-$1" "$2" "$3" || fail "agent $1 says: $(lab_since "agent-$1" "$2")"
}

hand_off() {
	local at_a
	at_a=$(lab_mark agent-a)
	ask pod-a1 $WEB 80 /allowed "${ALLOWED}.*peer=$SA/client client=$WAYPOINT for=-$"
	logged a "$at_a" "src.workload=\"client\".*dst.addr=$WAYPOINT:15008.*dst.hbone_addr=$WEB:80.*dst.service=\"web.$DOMAIN\".*dst.workload=\"waypoint\".*dst.identity=\"$SA/waypoint\".*direction=\"outbound\""
}

# Envoy keeps its connections to the apps, and so our tunnels: they are logged when they end.
server_knows_the_waypoint() {
	local live mark
	live=$(lab_ctl b connections)
	expect_match "live connections of node b" "cluster.local/ns/demo/sa/waypoint" "$live"
	mark=$(lab_mark agent-b)
	lab_stop waypoint
	logged b "$mark" "src.addr=$WAYPOINT:.*src.workload=\"waypoint\".*src.identity=\"$SA/waypoint\".*dst.addr=$SERVER:15008.*dst.hbone_addr=$SERVER:8080.*dst.workload=\"server\".*dst.identity=\"$SA/server\".*direction=\"inbound\""
	start_waypoint
}

splits() {
	local v1 v2 got
	got=$(lab_in pod-a1 $PYTHON "$APP" ask $WEB 80 /allowed --count 500 --connections 4)
	v1=$(sed -n 's/.*v1=\([0-9]*\).*/\1/p' <<<"$got") v2=$(sed -n 's/.*v2=\([0-9]*\).*/\1/p' <<<"$got")
	expect_eq "answers" 2000 $((v1 + v2))
	[ "$v2" -ge 140 ] && [ "$v2" -le 260 ] || fail "10 percent are to come from v2: $got"
}

delayed() {
	local ms
	ms=$(lab_in pod-a1 $PYTHON "$APP" ask $WEB 80 /slow | sed -n 's/^200 \([0-9]*\) .*/\1/p')
	[ "${ms:-0}" -ge 299 ] || fail "it took ${ms:-no} ms, 300 are injected"
}

# Nothing was answered: no byte, and a reset at once.
refused() { # WHERE ADDRESS PORT AGENT REGEX
	local mark
	mark=$(lab_mark "agent-$4")
	expect_match "what the app reads" '^ reset ' "$(lab_in "$1" $PYTHON "$LAB_ROOT/tests/support/hbone_app.py" end "$2" "$3" --say x)"
	logged "$4" "$mark" "error=\"$5"
}

# HBONE connections that the waypoint has from a pod.
connections() { lab_in outside ss -Htn state established "sport = :15008 and dst $(lab_ip "$1")" | wc -l; } # POD

tunnels_share() {
	lab_in pod-a1 $PYTHON "$APP" ask $WEB 80 /allowed --count 2 --connections 25 >"$LAB_DATA/count"
	expect_eq "of 25 at once" 1 "$(connections pod-a1)"
	ask pod-a2 $WEB 80 /allowed "$ALLOWED"
	expect_eq "of another pod" 1 "$(connections pod-a2)"
	expect_eq "of the first, still" 1 "$(connections pod-a1)"
}

waypoint_dies() {
	lab_kill waypoint
	refused pod-a1 $WEB 80 a 'io error: Connection refused'
	start_waypoint
	ask pod-a1 $WEB 80 /allowed "$ALLOWED"
}

# ---- strict mode, without any policy ----

start_strict() {
	lab_agents_stop
	LAB_SELECTED=
	write_mesh </dev/null
	LAB_SETTINGS=$'waypointStrict: true\nwaypointStrictExcept: '"$SA/other" lab_settings b
	lab_agents_start
}

around() { # WHERE ADDRESS PORT WORDS
	refused "$1" "$2" "$3" b "port $3 of demo/$4"
}

counted() {
	curl -sS --unix-socket "$LAB_DIR/admin-b.sock" http://localhost/metrics >"$LAB_DATA/metrics"
	expect_match "refusals over HBONE" 'culvert_around_waypoint_total\{over="hbone"\} [1-9]' "$(cat "$LAB_DATA/metrics")"
	expect_match "in plaintext" 'culvert_around_waypoint_total\{over="plaintext"\} [1-9]' "$(cat "$LAB_DATA/metrics")"
}

# New connections go as the file says now; both agents have to have read it.
mesh_becomes() { # FILE
	local at_a at_b
	at_a=$(lab_mark agent-a) at_b=$(lab_mark agent-b)
	cp "$1" "$LAB_DIR/mesh.new" && mv "$LAB_DIR/mesh.new" "$LAB_DIR/mesh.yaml"
	logged a "$at_a" 'mesh file read again'
	logged b "$at_b" 'mesh file read again'
}

# A connection that waits for its end, known to agent b.
held() { # NAME WHERE PORT
	lab_spawn "$1" "$2" $PYTHON "$LAB_ROOT/tests/support/hbone_app.py" end "$SERVER" "$3"
	lab_wait 10 is_held "$(lab_ip "$2"):.*$SERVER:$3"
}
is_held() { lab_ctl b connections | grep -qE "$1"; } # REGEX

remove_and_add() {
	local mark
	cp "$LAB_DIR/mesh.yaml" "$LAB_DATA/mesh.with"
	grep -v 'demo/waypoint.*hboneMtlsPort' "$LAB_DATA/mesh.with" | sed "/^- name: byip$/,/^- name: lost$/{/waypoint:/d}" >"$LAB_DATA/mesh.without"
	mesh_becomes "$LAB_DATA/mesh.without"
	ask pod-a1 "$SERVER" 8080 /allowed "^200 [0-9]+ - v1 .*client=$CLIENT "
	held direct pod-a1 8080
	held excepted pod-a2 8080
	held beside pod-a1 9090
	mark=$(lab_mark agent-b)
	mesh_becomes "$LAB_DATA/mesh.with"
	lab_wait 10 lab_is_gone direct || fail "the connection around the waypoint lives on"
	expect_match "what its app reads" '^ reset ' "$(cat "$LAB_DIR/log/direct.log")"
	logged b "$mark" 'dst.hbone_addr='"$SERVER"':8080.*error="connection closed due to policy change".*policy="waypointStrict"'
	lab_is_running excepted && lab_is_running beside || fail "others were ended too"
	lab_kill excepted && lab_kill beside
	ask pod-a1 $WEB 80 /allowed "$ALLOWED"
	around pod-a1 "$SERVER" 8080 'server is reached through'
}

bad_exception() {
	lab_stop agent-b
	LAB_SETTINGS=$'waypointStrict: true\nwaypointStrictExcept: demo/other' lab_settings b
	lab_agent_launch b
	lab_wait_log 10 agent-b "$(cat "$LAB_DIR/agent-b.mark")" "waypointStrictExcept: 'demo/other' is no identity, expected spiffe://" ||
		fail "agent b says: $(lab_since agent-b "$(cat "$LAB_DIR/agent-b.mark")")"
	lab_settings b
	lab_wait 5 lab_gone agent-b
	lab_agent_start b
}
lab_gone() { ! lab_is_running "$1"; }

if ! why=$(envoy_install); then
	case_skip all "$why"
	exit 77
fi
cases_start
certs_init
certs_make envoy "URI:$SA/waypoint" || exit 1
case_run "agents start" start_agents
case_run "apps start" start_apps
case_run "the waypoint starts" start_waypoint
case_run "GET /allowed: 200 through the waypoint" hand_off
case_run "GET /secret: 403 from the waypoint" ask pod-a1 $WEB 80 /secret '^403 [0-9]+ web RBAC: access denied'
case_run "the waypoint knows who asks: /admin is the other's alone" ask pod-a1 $WEB 80 /admin '^403 '
case_run "and lets the other in" ask pod-a2 $WEB 80 /admin '^200 '
case_run "90 to 10 over 2000 requests" splits
case_run "a header chooses the version" ask pod-a1 $WEB 80 /allowed '^200 [0-9]+ web v2 ' --version v2
case_run "an injected delay" delayed
case_run "a retry: two failures the client never sees" ask pod-a1 $WEB 80 /flaky '^200 [0-9]+ web v1 path=/flaky try=3 '
case_run "the server's agent knows the waypoint's identity" server_knows_the_waypoint
case_run "flows share connections, pods do not" tunnels_share
case_run "a waypoint by its pod's address" ask pod-a1 $BYIP 80 /allowed '^200 [0-9]+ byip v1 '
case_run "a workload's own waypoint" ask pod-a1 "$VAULT" 8080 /allowed '^200 [0-9]+ vault v2 '
case_run "the same over IPv6" ask pod-a1 "$VAULT6" 8080 /allowed '^200 [0-9]+ vault6 v2 '
case_run "a port that the waypoint has no rules for" refused pod-a1 $WEB 81 a 'http status: 503'
case_run "a waypoint nobody knows: refused" refused pod-a1 $LOST 80 a '.*waypoint.*nobody'
case_run "around it: policy asks for the waypoint's identity" refused pod-a1 "$SERVER" 8080 b \
	'connection closed due to policy rejection: allow policies exist, but none allowed'
case_run "in plaintext, even from the waypoint's address" refused outside "$SERVER" 8080 b \
	'connection closed due to policy rejection: allow policies exist, but none allowed'
case_run "a waypoint that dies, and comes back" waypoint_dies
case_run "strict: agents start" start_strict
case_run "strict: through the waypoint" ask pod-a1 $WEB 80 /allowed "$ALLOWED"
case_run "strict: around a service's" around pod-a1 "$SERVER" 8080 "server is reached through waypoint demo/waypoint.$DOMAIN only, not directly"
case_run "strict: in plaintext" around outside "$SERVER" 8080 "server is reached through waypoint demo/waypoint.$DOMAIN only, not in plaintext"
case_run "strict: around a workload's own, in plaintext" around outside "$VAULT" 9090 "vault is reached through waypoint /$WAYPOINT only, not in plaintext"
case_run "strict: a port that no service with a waypoint leads to" ask pod-a1 "$SERVER" 9090 /metrics '^200 [0-9]+ - v1 path=/metrics '
case_run "strict: who is excepted comes directly" ask pod-a2 "$SERVER" 8080 /allowed "^200 [0-9]+ - v1 .*client=$(lab_ip pod-a2) "
case_run "strict: refusals are counted" counted
case_run "TestRemoveAddWaypoint: it goes, and comes back" remove_and_add
case_run "strict: an exception that is no identity" bad_exception
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

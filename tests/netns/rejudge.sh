#!/usr/bin/env bash
# rejudge: a policy that begins to deny ends the live connections that it denies, over HBONE and in
# plaintext, whether it changed or was newly bound to the workload; the others never notice.
# FLOWS: how many are denied; 10000 in full.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)
TOOL="$(dirname "$0")/../support/flows.py"
FLOWS=${FLOWS:-1000}
BESIDE=200
PLAIN=100

number() { sed -nE "s/.* ?$2=([0-9.]+).*/\1/p" "$LAB_DATA/$1.status"; } # HOLDER FIELD
is_open() { [ -s "$LAB_DATA/$1.status" ] && [ "$(number "$1" open)" = "$2" ]; }
hold() { # NAME WHERE COUNT
	lab_spawn "$1" "$2" python3 "$TOOL" hold "$SERVER" 9000 "$3" "$LAB_DATA/$1.status" >"$LAB_DATA/$1.out" 2>&1
}
holders_start() {
	rm -f "$LAB_DATA"/*.status
	hold denied pod-a1 "$FLOWS"
	hold beside pod-a2 $BESIDE
	hold plain outside $PLAIN
	lab_wait 130 is_open denied "$FLOWS"
	lab_wait 130 is_open beside $BESIDE
	lab_wait 130 is_open plain $PLAIN
}
holders_stop() {
	local name
	for name in denied beside plain; do lab_stop $name; done
}

# Echoes that come after the change are asked for, too: the connections are alive, not only open.
is_calm() { # NAME COUNT
	local before
	before=$(number "$1" echoes)
	lab_wait 20 has_more "$1" "$before"
	expect_eq "open connections of $1" "$2" "$(number "$1" open)"
	expect_eq "ended connections of $1" 0 "$(number "$1" ended)"
}
has_more() { [ "$(number "$1" echoes)" -gt $(($2 + 100)) ]; }

# The sooner of a reset and an echo under way decides what an app is told: an end it is in any case.
ended_by() { # NAME COUNT SINCE WHAT
	lab_wait 20 is_open "$1" 0 || fail "$(number "$1" open) of $2 connections of $1 live on"
	expect_eq "ended connections of $1" "$2" "$(number "$1" ended)"
	say "    $4: $2 connections ended $(number "$1" reset) by a reset; the first $(since "$1" first "$3") s, the last $(since "$1" last "$3") s after the file was written"
}
since() { awk -v a="$(number "$1" "$2")" -v b="$3" 'BEGIN { printf "%.2f", a - b }'; }

change() { # stdin: policies; prints when
	lab_mesh
	date +%s.%N
}
policy() { # NAME SCOPE MATCH
	cat <<-YAML
	- name: $1
	  namespace: demo
	  scope: $2
	  action: Deny
	  dryRun: false
	  rules: [[[{$3}]]]
	YAML
}

a_policy_comes() {
	local when mark
	mark=$(lab_mark agent-b)
	when=$(policy no-client Namespace "principals: [!Exact cluster.local/ns/demo/sa/client]" | change)
	ended_by denied "$FLOWS" "$when" "a policy came"
	lab_wait_log 5 agent-b "$mark" 'error="connection closed due to policy change".*policy="demo/no-client rule 1"' ||
		fail "agent b's access log does not name policy and reason"
	is_calm beside $BESIDE
	is_calm plain $PLAIN
}

counted() {
	lab_ctl_get b /metrics >"$LAB_DATA/metrics"
	grep -qE "^culvert_policy_ended_total $FLOWS$" "$LAB_DATA/metrics" ||
		fail "the metric says: $(grep policy_ended "$LAB_DATA/metrics")"
}
lab_ctl_get() { curl -sS --max-time 10 --unix-socket "$LAB_DIR/admin-$1.sock" "http://admin$2"; } # a|b PATH

# The order of istiod: a workload names a policy that comes only then. Nobody new gets in meanwhile, and nobody who is
# in is thrown out, as the policy may well have nothing against them.
a_policy_is_named_before_it_comes() {
	LAB_SELECTED="server=demo/later"
	change </dev/null >"$LAB_DATA/when"
	lab_wait 10 is_shut || fail "a new connection is let in"
	is_calm beside $BESIDE
	is_calm plain $PLAIN
	policy later WorkloadSelector "principals: [!Exact cluster.local/ns/demo/sa/client]" | change >"$LAB_DATA/when"
	lab_wait 10 is_open_to_new || fail "a new connection is not let in"
	is_calm beside $BESIDE
	is_calm plain $PLAIN
}
is_open_to_new() {
	lab_in pod-a2 bash -c "exec 3<>/dev/tcp/$SERVER/9000 && printf x >&3 && read -r -t 5 -n 1 c <&3 && [ \$c = x ]" 2>/dev/null
}
is_shut() { ! is_open_to_new; }

# Bound to the workload now: the policy was there before, and the workload changes.
a_policy_is_bound() {
	local when
	LAB_SELECTED=
	policy no-plaintext WorkloadSelector "notPrincipals: [!Presence []]" | change >"$LAB_DATA/when"
	is_calm plain $PLAIN
	LAB_SELECTED="server=demo/no-plaintext"
	when=$(policy no-plaintext WorkloadSelector "notPrincipals: [!Presence []]" | change)
	ended_by plain $PLAIN "$when" "a policy was bound"
	is_calm beside $BESIDE
}

cases_start
lab_spawn echo pod-b1 python3 "$TOOL" serve 9000 >/dev/null
lab_wait_port pod-b1 9000
case_run "agents start" lab_agents_start
case_run "connections are open" holders_start
case_run "a policy comes" a_policy_comes
case_run "it is counted" counted
case_run "a policy is named before it comes" a_policy_is_named_before_it_comes
case_run "a policy that was there is bound to the workload" a_policy_is_bound
holders_stop
lab_stop echo
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

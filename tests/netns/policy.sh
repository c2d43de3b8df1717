#!/usr/bin/env bash
# policy: who may reach whom is decided at the server's node, per identity; a refusal is a reset at
# once, and log and admin socket name the policy.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)

# 56: reset while receiving; 7: refused. A timeout (28) or an empty answer (52) is neither.
refused() { # WHERE URL
	local rc=0 ms
	ms=$(lab_curl "$1" "$2" -o "$LAB_DATA/body" -w '%{time_total}') || rc=$?
	expect_match "curl's exit status" '^(56|7)$' "$rc"
	expect_match "seconds until the refusal" '^[01]\.' "$ms"
}

refusal_is_explained() { # WHERE URL REGEX
	local mark
	mark=$(lab_mark agent-b)
	refused "$1" "$2"
	lab_wait_log 5 agent-b "$mark" "error=.*$3" || fail "no log line of agent b matches error=.*$3"
	lab_wait 5 recent_matches "$3" ||
		fail "culvertctl connections --recent does not name it: $(lab_ctl b connections --recent)"
}
recent_matches() { lab_ctl b connections --recent | grep -qE -e "$1"; }

# Policies are read at start: a new mesh file means new agents.
with_policies() {
	lab_agents_stop
	lab_mesh
	lab_agents_start
}

only_client_allowed() {
	LAB_SELECTED="server=demo/only-client"
	with_policies <<-YAML
	- name: only-client
	  namespace: demo
	  scope: WorkloadSelector
	  action: Allow
	  dryRun: false
	  rules: [[[{principals: [!Exact cluster.local/ns/demo/sa/client], destinationPorts: [8080]}]]]
	YAML
}

deny_all() {
	LAB_SELECTED=
	lab_deny deny-all server >"$LAB_DATA/deny"
	with_policies <"$LAB_DATA/deny"
}

# What istiod makes of the annotation istio.io/dry-run.
dry_run() {
	LAB_SELECTED="server=demo/dry-deny, demo/dry-allow"
	LAB_SETTINGS='logPolicyDecisions: true' lab_settings b
	with_policies <<-YAML
	- name: dry-deny
	  namespace: demo
	  scope: WorkloadSelector
	  action: Deny
	  dryRun: true
	  rules: [[[{principals: [!Exact cluster.local/ns/demo/sa/client]}]]]
	- name: dry-allow
	  namespace: demo
	  scope: WorkloadSelector
	  action: Allow
	  dryRun: true
	  rules: [[[{principals: [!Exact cluster.local/ns/demo/sa/vault]}]]]
	YAML
}
dry_run_is_told() { # WHERE REGEX
	local mark
	mark=$(lab_mark agent-b)
	expect_works "$1" "http://$SERVER:8080/"
	lab_wait_log 5 agent-b "$mark" "$2" || fail "agent b says: $(lab_since agent-b "$mark")"
}

missing_policy() {
	LAB_SELECTED="server=demo/not-there"
	with_policies </dev/null
}

cases_start
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "no policies: agents start" lab_agents_start
case_run "no policies: pod" expect_works pod-a1 "http://$SERVER:8080/"
case_run "no policies: outside" expect_works outside "http://$SERVER:8080/"

case_run "allow one identity: agents start" only_client_allowed
case_run "allow one identity: that one" expect_works pod-a1 "http://$SERVER:8080/"
case_run "allow one identity: that one, by VIP" expect_works pod-a1 "http://$LAB_VIP4/"
case_run "allow one identity: another" refusal_is_explained pod-a2 "http://$SERVER:8080/" \
	'allow policies exist, but none allowed'
case_run "allow one identity: another, same node" refusal_is_explained pod-b2 "http://$SERVER:8080/" \
	'allow policies exist, but none allowed'
case_run "allow one identity: outside" refusal_is_explained outside "http://$SERVER:8080/" \
	'allow policies exist, but none allowed'

case_run "deny all: agents start" deny_all
case_run "deny all: pod" refusal_is_explained pod-a1 "http://$SERVER:8080/" 'explicitly denied by: demo/deny-all'
case_run "deny all: pod, by VIP" refusal_is_explained pod-a1 "http://$LAB_VIP4/" 'explicitly denied by: demo/deny-all'
case_run "deny all: pod, IPv6" refusal_is_explained pod-a1 "http://[$(lab_ip -6 pod-b1)]:8080/" \
	'explicitly denied by: demo/deny-all'
case_run "deny all: outside" refusal_is_explained outside "http://$SERVER:8080/" 'explicitly denied by: demo/deny-all'

case_run "dry run: agents start" dry_run
case_run "dry run: a denial is told, and is none" dry_run_is_told pod-a1 \
	'info.*dry-run: deny policy match.*src.identity=spiffe://cluster.local/ns/demo/sa/client .*policy="demo/dry-deny"'
case_run "dry run: an ALLOW that matches" dry_run_is_told pod-b2 'info.*dry-run: allow policy match.*policy="demo/dry-allow"'
case_run "dry run: an ALLOW that does not" dry_run_is_told pod-a2 \
	'info.*dry-run: no allow policies match.*src.identity=spiffe://cluster.local/ns/demo/sa/other .*policy="demo/dry-allow"'
lab_settings b

case_run "a policy that is not there: agents start" missing_policy
case_run "a policy that is not there denies" refusal_is_explained pod-a1 "http://$SERVER:8080/" 'demo/not-there'
cases_end

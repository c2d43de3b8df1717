#!/usr/bin/env bash
# laststate: agents that start while the control plane is away go on with what it said last, and with the
# certificates that they had, say so, and take its word again when it is back; a file that is damaged is set aside.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/controlplane.sh"

SERVER=$(lab_ip pod-b1)
WEB="http://$SERVER:8080/"

settings() { # a|b
	lab_settings "$1"
	sed -i '/^meshFile:/d; /^fakeCa/d' "$LAB_DIR/agent-$1.yaml"
	cat >>"$LAB_DIR/agent-$1.yaml" <<-YAML
	xdsAddress: https://$(lab_ip outside):15012
	altXdsHostname: $CONTROLPLANE_NAME
	xdsRootCa: $LAB_DIR/ca-cert.pem
	caAddress: https://$(lab_ip outside):15012
	altCaHostname: $CONTROLPLANE_NAME
	caRootCa: $LAB_DIR/ca-cert.pem
	authToken: $LAB_DIR/token-$1
	podName: ztunnel-$1
	podNamespace: istio-system
	YAML
}
state_dir() { sed -n 's/^stateDir: *//p' "$LAB_DIR/agent-$1.yaml"; } # a|b
answers() { [ "$(lab_curl pod-a1 "$WEB" -o /dev/null -w '%{http_code}' 2>/dev/null)" = 200 ]; }

certificates_written() { # a|b: two pods have two identities
	[ "$(grep -ao 'spiffe://cluster.local/ns/demo/sa/[a-z]*' "$(state_dir "$1")/certificates.state" | sort -u | wc -l)" = 2 ]
}
comes_up() {
	local node file
	controlplane_start
	lab_agents_start
	controlplane streams 2 20 >/dev/null
	lab_wait 10 answers || fail "not answered"
	for node in a b; do
		for file in mesh certificates; do
			file=$(state_dir $node)/$file.state
			lab_wait 10 test -s "$file" || fail "$file is not there"
			expect_eq "its mode" 600 "$(stat -c %a "$file")"
		done
		lab_wait 20 certificates_written $node || fail "agent $node keeps too few certificates"
	done
	expect_match "the dump" '"lastKnown":\{"file":"[^"]*mesh.state","records":[0-9]+' "$(lab_ctl a raw /config_dump)"
}
# Ready within two seconds of its start, from its own log: the machine may be slow to tell us.
ready_in_time() { # a|b
	local first ready
	first=$(head -n 1 "$LAB_DATA/since-$1" | cut -f 1)
	ready=$(grep -m 1 'culvertd ready' "$LAB_DATA/since-$1" | cut -f 1)
	echo "agent $1 was ready $(($(date -d "$ready" +%s%3N) - $(date -d "$first" +%s%3N))) ms after its first line"
	[ $(($(date -d "$ready" +%s%3N) - $(date -d "$first" +%s%3N))) -le 2000 ] || fail "agent $1 took too long"
}
started_without() {
	local node mark
	lab_stop controlplane
	for node in a b; do
		lab_agent_kill $node
		mark=$(lab_mark agent-$node)
		lab_agent_start $node
		lab_since agent-$node "$mark" >"$LAB_DATA/since-$node"
		expect_match "agent $node says so" 'serving what was known.*known_seconds_ago=[0-9]+' "$(cat "$LAB_DATA/since-$node")"
		ready_in_time $node
	done
	lab_wait 10 answers || fail "not answered"
	for node in a b; do
		expect_match "agent $node's certificates" 'culvert_last_known_certificates_used_total 2' "$(lab_ctl $node raw /metrics)"
	done
	expect_match "status" 'serving what was known [0-9]+s ago' "$(lab_ctl a status)"
	expect_match "the metric" 'culvert_last_known_served_timestamp_seconds\{state="mesh"\} [1-9]' "$(lab_ctl a raw /metrics)"
	expect_match "the dump" '"serving":true,"servingSecondsOld":[0-9]' "$(lab_ctl a raw /config_dump)"
}
# Its log goes on, so controlplane_start finds the line of the first start.
controlplane_again() {
	local mark
	mark=$(lab_mark controlplane)
	controlplane_start && lab_wait_log 20 controlplane "$mark" 'listening on'
}
knows() { lab_ctl a raw /config_dump | grep -q "$1"; }
knows_not() { ! knows "$1"; }
back_with_less() {
	knows gone-soon || fail "it was not known"
	LAB_GUESTS= lab_mesh </dev/null
	controlplane_again
	controlplane streams 2 40 >/dev/null
	lab_wait 10 knows_not gone-soon || fail "it is still known"
	answers || fail "not answered"
	expect_match "the metric" 'culvert_last_known_served_timestamp_seconds\{state="mesh"\} 0' "$(lab_ctl a raw /metrics)"
	lab_ctl a status >"$LAB_DATA/status"
	expect_none "status" 'serving what' "$LAB_DATA/status"
}
damaged() {
	local file mark
	file=$(state_dir a)/mesh.state
	lab_stop controlplane
	lab_stop agent-a
	printf x | dd of="$file" bs=1 seek=100 conv=notrunc status=none
	mark=$(lab_mark agent-a)
	lab_agent_launch a
	lab_wait_log 10 agent-a "$mark" "is not to be trusted, and was set aside.*path=$file" || fail "nothing is said of it"
	lab_wait_log 10 agent-a "$mark" 'xds stream ended' || fail "it does not try"
	expect_match "readiness" 'not ready' "$(lab_ctl a raw /healthz/ready 2>/dev/null || true)"
	[ -e "$file.aside" ] || fail "it is not set aside"
	controlplane_again
	lab_agent_ready a 30
	lab_wait 10 answers || fail "not answered"
}
# What one cluster's control plane has said is not true in another's.
of_another() {
	local file mark
	lab_stop controlplane
	lab_stop agent-a
	rm -f "$(state_dir a)"/*.aside
	echo 'clusterId: another' >>"$LAB_DIR/agent-a.yaml"
	mark=$(lab_mark agent-a)
	lab_agent_launch a
	for file in mesh certificates; do
		file=$(state_dir a)/$file.state
		lab_wait_log 10 agent-a "$mark" "set aside.*path=$file .*the word of .*:15012 of cluster Kubernetes, and now .*:15012 of cluster another is asked" ||
			fail "nothing is said of $file"
		[ -e "$file.aside" ] || fail "$file is not set aside"
	done
	lab_wait_log 10 agent-a "$mark" 'xds stream ended' || fail "it does not try"
	expect_match "readiness" 'not ready' "$(lab_ctl a raw /healthz/ready 2>/dev/null || true)"
}
nothing_secret() {
	local node
	for node in a b; do
		expect_none "secrets in the log of agent $node" -e '-----BEGIN' -e "$(cat "$LAB_DIR/token-$node")" "$LAB_DIR/log/agent-$node.log"
	done
}

LAB_LOG=trace
cases_start
controlplane_accounts
settings a && settings b
LAB_GUESTS=outside:gone-soon lab_mesh </dev/null
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents know the mesh, and keep it" comes_up
case_run "started while the control plane is away" started_without
case_run "back, with less" back_with_less
case_run "a damaged file" damaged
case_run "another control plane's file" of_another
case_run "nothing secret in any log" nothing_secret
cases_end

#!/usr/bin/env bash
# admin: what an operator is shown on the node, and what the network is not.
. "$(dirname "$0")/../support/cases.sh"

get() { # WHERE URL: status code, body in $LAB_DATA/body
	lab_curl "$1" "$2" -o "$LAB_DATA/body" -w '%{http_code}'
}

readiness_is_all_the_network_sees() {
	local path
	expect_eq "readiness, from another machine" 200 "$(get outside http://10.99.0.2:15021/healthz/ready)"
	expect_eq "its body" ready "$(cat "$LAB_DATA/body")"
	for path in /config_dump /connections /logging /quitquitquit /healthz; do
		expect_eq "$path on the readiness port" 404 "$(get outside "http://10.99.0.2:15021$path")"
	done
	expect_eq "POST /quitquitquit there" 404 \
		"$(lab_curl outside http://10.99.0.2:15021/quitquitquit -X POST -o /dev/null -w '%{http_code}')"
}

admin_port_is_local() {
	local rc=0
	expect_eq "admin port on loopback" 200 "$(get node-b http://127.0.0.1:15000/config_dump)"
	expect_eq "and on ::1" 200 "$(get node-b 'http://[::1]:15000/healthz')"
	get outside http://10.99.0.2:15000/healthz >/dev/null 2>&1 || rc=$?
	expect_eq "curl's status from outside (refused)" 7 "$rc"
}

config_dump_is_json_without_keys() {
	lab_ctl b config-dump -o json >"$LAB_DATA/dump"
	python3 - "$LAB_DATA/dump" <<-'PY'
	import json, sys
	text = open(sys.argv[1]).read()
	dump = json.loads(text)
	assert "PRIVATE KEY" not in text, "a private key is in the dump"
	for key in ("workloads", "services", "policies", "certificates", "workloadState", "config", "version"):
	    assert key in dump, key
	assert {w["name"] for w in dump["workloads"]} == {"client", "other", "server", "vault"}, dump["workloads"]
	assert all(c["state"] == "Available" for c in dump["certificates"]), dump["certificates"]
	PY
	expect_none "keys in the log" -l 'PRIVATE KEY' "$LAB_DIR"/log/agent-*.log
}

connections_are_shown() {
	lab_curl pod-a1 "http://$(lab_ip pod-b1):8080/known" -o "$LAB_DATA/body"
	lab_wait 5 recent_has_it
	lab_ctl b connections --recent -o json | python3 -c '
import json, sys
flow = json.load(sys.stdin)["connections"][0]
assert flow["direction"] == "inbound" and flow["end"] == "clean", flow
assert flow["srcIdentity"] == "spiffe://cluster.local/ns/demo/sa/client", flow'
}
recent_has_it() { lab_ctl b connections --recent | grep -q inbound; }

socket_is_roots_alone() {
	expect_eq "mode of the admin socket" "600 root" "$(stat -c '%a %U' "$LAB_DIR/admin-b.sock")"
}

log_level_at_run_time() {
	expect_match "reply" 'current log level is .*proxy=debug' "$(lab_ctl b raw -X POST '/logging?level=proxy:debug')"
	expect_match "a bad level" 'Invalid level' "$(lab_ctl b raw -X POST '/logging?level=proxy:loud' 2>&1 || true)"
	expect_match "a scope of many parts" 'is .*hickory_server::server=off' "$(lab_ctl b raw -X POST '/logging?level=info,hickory_server::server:off')"
	expect_match "reset" 'current log level is info' "$(lab_ctl b raw -X POST '/logging?reset')"
	# What is said again must not pile up: it was cut off in the middle of a word, and then refused.
	for _ in $(seq 40); do lab_ctl b raw -X POST '/logging?level=info,access=info' >/dev/null || return 1; done
	expect_eq "said again and again" "current log level is access=info,info" "$(lab_ctl b raw -X POST /logging)"
	lab_ctl b raw -X POST '/logging?reset' >/dev/null
}

quits_when_told() {
	lab_ctl b raw -X POST /quitquitquit >"$LAB_DATA/body"
	expect_eq "reply" "shutdown now" "$(cat "$LAB_DATA/body")"
	lab_wait 15 lab_is_gone agent-b
}

LAB_SETTINGS=$'adminPort: 15000\nreadinessPort: 15021'
cases_start
lab_nginx
printf 'known\n' >"$LAB_DATA/nginx-pod-b1/www/known"

case_run "both agents become ready" lab_agents_start
case_run "the network sees readiness and nothing else" readiness_is_all_the_network_sees
case_run "the admin port is on loopback" admin_port_is_local
case_run "the admin socket is root's" socket_is_roots_alone
case_run "/config_dump is whole, and holds no key" config_dump_is_json_without_keys
case_run "connections, live and recent" connections_are_shown
case_run "log levels at run time" log_level_at_run_time
case_run "POST /quitquitquit ends it" quits_when_told
cases_end

#!/usr/bin/env bash
# controlplane: two agents that have mesh and certificates from a control plane and nothing from files: the quick
# start's traffic; certificates renewed under traffic; the control plane killed, and what goes on without it; back.
#
#   CONTROLPLANE_TTL=40 CONTROLPLANE_SECONDS=300 tests/netns/controlplane.sh     renewals every 20 s for five minutes
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/controlplane.sh"

TTL=${CONTROLPLANE_TTL:-12}            # seconds that a certificate lives: it is renewed after half of them
LONG=${CONTROLPLANE_SECONDS:-15}       # of traffic under renewals, at least
PYTHON=/usr/bin/python3
APP=$LAB_ROOT/tests/support/rollout_app.py
SERVER=$(lab_ip pod-b1)
LATE=$(lab_ip pod-b2)
CLIENT=$(lab_ip pod-a1)
WEB=http://$SERVER:8080

# "late" has the server's identity, and comes when its namespace does; "ghost" says that it speaks HBONE, and does not.
LAB_PODS=(pod-a1:client pod-a2:other pod-b1:server pod-b2:late)
LAB_GUESTS=outside:ghost

mesh() { # policies on stdin
	lab_mesh
	sed -i '/^  name: late$/,/serviceAccount/ s/serviceAccount: late/serviceAccount: server/' "$LAB_DIR/mesh.yaml"
}
settings() { # a|b
	LAB_LOG=trace LAB_SETTINGS='poolUnusedReleaseTimeout: 1s' controlplane_settings "$1"
	sed -i "s|serviceAccount: late, netns: .*|serviceAccount: server, netns: $LAB_DIR/late}|" "$LAB_DIR/agent-$1.yaml"
}

begin() {
	lab_deny no-other server other >"$LAB_DATA/policies"
	mesh <"$LAB_DATA/policies"
	controlplane_start
	controlplane ca-ttl "$TTL" >/dev/null
	settings a && settings b
	expect_none "files named" -hE '^(meshFile|fakeCa)' "$LAB_DIR"/agent-?.yaml
	lab_agent_launch a && lab_agent_launch b
	lab_agent_ready a 30
	lab_wait_log 30 agent-b 0 'pod is in the mesh.*pod=demo/server' || fail "the server's pod does not come up"
	controlplane streams 2 20 >/dev/null
}

# What curl is told of its peer, and nginx of its client, is as if nothing were between them; and it was HBONE.
request() { # FROM URL REMOTE CLIENT IDENTITY
	local mark page=$RANDOM$RANDOM
	mark=$(lab_mark agent-b)
	expect_eq "status and peer of $2" "200 $3" \
		"$(lab_curl "$1" "$2/?$page" -o "$LAB_DATA/body" -w '%{http_code} %{remote_ip}')"
	expect_eq "the body" hello "$(cat "$LAB_DATA/body")"
	lab_wait 5 grep -q "^$4 .*?$page" "$LAB_DATA/nginx-pod-b1/access.log" ||
		fail "nginx saw another client: $(grep "?$page" "$LAB_DATA/nginx-pod-b1/access.log")"
	lab_wait_log 5 agent-b "$mark" "src.identity=\"$5\".*direction=\"inbound\"" || fail "agent b saw no identity $5"
}
traffic() {
	local identity=spiffe://cluster.local/ns/demo/sa/client
	request pod-a1 "$WEB" "$SERVER" "$CLIENT" $identity
	request pod-a1 "http://$LAB_VIP4" $LAB_VIP4 "$CLIENT" $identity
	request pod-a1 "http://[$(lab_ip -6 pod-b1)]:8080" "$(lab_ip -6 pod-b1)" "$(lab_ip -6 pod-a1)" $identity
	request pod-a1 "http://[$LAB_VIP6]" $LAB_VIP6 "$(lab_ip -6 pod-a1)" $identity
}
denied() {
	local mark rc=0
	mark=$(lab_mark agent-b)
	lab_curl pod-a2 "$WEB/" -o "$LAB_DATA/body" 2>/dev/null || rc=$?
	expect_match "curl's exit status" '^(56|7)$' "$rc"
	lab_wait_log 5 agent-b "$mark" 'error=.*explicitly denied by: demo/no-other' || fail "the policy is not named"
}
certificates() {
	local identity
	for identity in client other server; do
		expect_match "signed" "\"spiffe://cluster.local/ns/demo/sa/$identity\": [1-9]" "$(controlplane ca-status)"
	done
	expect_match "in use" 'demo/sa/client +Leaf +Available' "$(lab_ctl a certificates)"
}

app() { # WHERE
	lab_spawn "app-$1" "$1" $PYTHON "$APP" serve "$1" 9000 && lab_wait_port "$1" 9000
}
# New connections all the time; and from the other side one a second, a pooled connection having gone meanwhile: each
# has to prove itself by the certificates of that moment.
load_start() {
	: >"$LAB_DIR/log/steady.log" && : >"$LAB_DIR/log/fresh.log"
	lab_spawn steady pod-a1 $PYTHON -u "$APP" load "$SERVER" 9000 100
	lab_spawn fresh pod-b1 $PYTHON -u "$APP" load "$CLIENT" 9000 1
}
load_end() { # all were answered
	local name got
	for name in steady fresh; do
		lab_stop $name
		got=$(tail -n 1 "$LAB_DIR/log/$name.log")
		say "    $name: $got"
		expect_match "$name" '^\{"asked": ([1-9][0-9]*), "answered": \{"pod-[ab]1": \1\}, "failed": \{\}' "$got"
	done
}
asked_more() { [ "$(lab_since "$1" "$2" | grep -c ^asked)" -ge "$3" ]; } # NAME MARK COUNT
go_on() { lab_wait 30 asked_more steady "$(lab_mark steady)" "${1:-2}" || fail "the client does not ask"; }

issued() { lab_ctl "$1" raw /metrics | sed -n 's/^culvert_certificate_requests_total{result="issued"} //p'; }
issued_more() { [ "$(issued "$1")" -ge "$2" ]; } # a|b COUNT
renewed() {
	local a b
	a=$(issued a) b=$(issued b)
	app pod-a1 && app pod-b1
	load_start
	lab_wait $((LONG * 2 + 30)) asked_more steady 0 "$LONG" || fail "the client does not ask"
	# Agent a has two identities, b one.
	lab_wait $((TTL * 4)) issued_more a $((a + 4)) || fail "agent a has had $(issued a) certificates"
	lab_wait $((TTL * 4)) issued_more b $((b + 2)) || fail "agent b has had $(issued b) certificates"
	# Half a life each, give or take a twentieth of it.
	[ $((($(issued b) - b) * TTL)) -ge $((LONG * 2 * 4 / 5)) ] || fail "agent b has had but $(($(issued b) - b)) in $LONG s"
	load_end
	say "    certificates of a certificate's life of $TTL s: $(($(issued a) - a)) for agent a, $(($(issued b) - b)) for agent b"
	expect_none "warnings" -hP '\t(warn|error)\tidentity' "$LAB_DIR"/log/agent-a.log "$LAB_DIR"/log/agent-b.log
}

outlast() { # a|b: all its certificates live for hours
	lab_ctl "$1" raw /metrics | awk -v least=$(($(date +%s) + 3600)) '
		/^culvert_certificate_expiry_timestamp_seconds/ { n++; if ($NF + 0 < least) short = 1 } END { exit !n || short }'
}
new_pod() {
	local mark
	mark=$(lab_mark agent-b)
	ln -s /run/netns/culvert-pod-b2 "$LAB_DIR/late"
	lab_wait_log 15 agent-b "$mark" 'pod is in the mesh.*pod=demo/late' || 
		fail "the new pod does not come up: $(lab_since agent-b "$mark" | grep -v access | tail -n 3)"
	expect_works pod-a1 "http://$LATE:8080/"
	mark=$(lab_mark agent-a)
	expect_works pod-b2 "http://$CLIENT:8080/"
	lab_wait_log 5 agent-a "$mark" 'src.identity="spiffe://cluster.local/ns/demo/sa/server".*direction="inbound"' ||
		fail "agent a saw no identity of it"
}
killed() {
	# Certificates that live on without their CA for longer than this takes.
	controlplane ca-ttl 86400 >/dev/null
	lab_wait $((TTL + 20)) outlast a || fail "agent a has short-lived certificates still"
	lab_wait $((TTL + 20)) outlast b || fail "agent b has short-lived certificates still"
	load_start
	go_on
	lab_kill controlplane
	lab_wait_log 20 agent-a 0 'xds stream ended.*reason=ConnectionError' || fail "agent a does not notice"
	go_on
	request pod-a1 "$WEB" "$SERVER" "$CLIENT" spiffe://cluster.local/ns/demo/sa/client
	denied
	new_pod
	go_on
	load_end
	lab_ctl a raw /config_dump >"$LAB_DATA/dump"
	grep -q ghost "$LAB_DATA/dump" || fail "what the control plane said last is not known any more"
	expect_match "status" '^xds: .*, (waiting|connecting) for' "$(lab_ctl a status)"
}

works() { [ "$(lab_curl "$1" "$2" -o "$LAB_DATA/body" -w '%{http_code}' 2>/dev/null)" = 200 ]; } # WHERE URL
back() {
	! works pod-a1 "http://$(lab_ip outside):8080/" || fail "a workload that speaks no HBONE was reached by it"
	LAB_GUESTS='' LAB_SELECTED=''
	mesh </dev/null
	load_start
	go_on
	controlplane_start
	controlplane streams 2 40 >/dev/null
	lab_wait 10 works pod-a1 "http://$(lab_ip outside):8080/" || fail "a workload that is gone is there still"
	lab_wait 10 works pod-a2 "$WEB/" || fail "a policy that is gone is in force still"
	request pod-a1 "$WEB" "$SERVER" "$CLIENT" spiffe://cluster.local/ns/demo/sa/client
	load_end
	expect_match "status" '^xds: .*, connected for' "$(lab_ctl a status)"
	lab_ctl a raw /config_dump >"$LAB_DATA/dump"
	expect_none "workloads known" ghost "$LAB_DATA/dump"
	controlplane no-violations >/dev/null
	controlplane no-nacks >/dev/null
}

# All that the admin socket says, each answer in a file of its own; an answer of 4xx ends lab_ctl with 1.
say_all() { # FOLDER
	local node path command
	mkdir "$1"
	for node in a b; do
		for path in / /healthz /healthz/ready /connections '/connections?recent=1' /metrics /config_dump /nowhere; do
			lab_ctl $node raw "$path" >"$1/$node-raw-$(tr -c '[:alnum:]\n' - <<<"$path")" 2>&1 || true
		done
		lab_ctl $node raw -X POST '/logging?level=trace' >"$1/$node-logging"
		for command in status connections 'connections --recent' config-dump certificates; do
			# shellcheck disable=SC2086
			lab_ctl $node $command >"$1/$node-$command" || true
			# shellcheck disable=SC2086
			lab_ctl $node -o json $command >"$1/$node-$command-json" || true
		done
	done
	# An error is an answer that may tell too much, and is looked through like any other; no answer is none.
	expect_eq "commands that said nothing" "" "$(find "$1" -type f -empty)"
	expect_match "a dump" 'BEGIN|certChain' "$(cat "$1/a-raw--config-dump")"
	expect_match "a table" 'demo/sa/client' "$(cat "$1/a-certificates")"
}
secrets() { # LOG...
	$PYTHON "$LAB_ROOT/tests/support/secrets.py" --token "$LAB_DIR"/token-? \
		--keys-of "$(lab_pid agent-a)" "$(lab_pid agent-b)" --log "$@"
}
nothing_secret() {
	local file
	# What looks for them would find a token, a key as PEM (its one place is this file), and that in Base64.
	printf 'x%s' "$(cat "$LAB_DIR/token-a")" | base64 -w 0 >"$LAB_DATA/planted-token"
	base64 -w 0 "$LAB_DIR/state/a/certificates.state" >"$LAB_DATA/planted-key"
	for file in "$LAB_DATA/planted-token" "$LAB_DIR/state/a/certificates.state" "$LAB_DATA/planted-key"; do
		! secrets "$file" 2>/dev/null || fail "nothing is found in $file"
	done
	say_all "$LAB_DATA/said"
	secrets "$LAB_DIR"/log/agent-?.log "$LAB_DATA"/said/* "$LAB_DIR"/state/?/mesh.state
	expect_none "PEM of keys" -l -e 'PRIVATE KEY' "$LAB_DIR"/log/agent-a.log "$LAB_DIR"/log/agent-b.log "$LAB_DATA"/said/*
	for file in "$LAB_DIR"/state/?/*.state; do
		expect_eq "mode and owner of $file" "600 0" "$(stat -c '%a %u' "$file")"
	done
}

cases_start
for where in pod-a1 pod-b1 pod-b2 outside; do
	lab_nginx $where
	echo hello >"$LAB_DATA/nginx-$where/www/index.html"
done
case_run "agents start, with nothing from files" begin
case_run "traffic by address and by VIP" traffic
case_run "a policy denies" denied
case_run "certificates come from its CA" certificates
case_run "renewed under traffic, nothing fails" renewed
case_run "killed: traffic goes on, and new pods come" killed
case_run "back: what was deleted meanwhile is gone" back
case_run "nothing secret in any log" nothing_secret
cases_end

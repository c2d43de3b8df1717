#!/usr/bin/env bash
# namespaced: what ztunnel's tests/namespaced.rs asserts and no other script here does, by its names
# (docs/upstream-tests.md has them all).
. "$(dirname "$0")/../support/cases.sh"
. "$LAB_ROOT/tests/support/certs.sh"

PYTHON=/usr/bin/python3
SUPPORT=$LAB_ROOT/tests/support
SA=spiffe://cluster.local/ns/demo/sa
DOMAIN=demo.svc.cluster.local
A1=$(lab_ip pod-a1) A2=$(lab_ip pod-a2) B1=$(lab_ip pod-b1) B2=$(lab_ip pod-b2) OUT=$(lab_ip outside)

workload() { # WHERE NAME SERVICES [MORE...]
	lab_workload "$1" "$2" | sed '/^  services:/d'
	printf '  %s\n' "services: {$3}" "${@:4}"
}
service() { # NAME PORTS [VIP]
	printf '%s\n' "- name: $1" "  namespace: demo" "  hostname: $1.$DOMAIN" "  vips: [${3:-}]" "  ports: {$2}"
}

# pod-a2 is a waypoint in front of the vault that reads no headers, the server one in front of a machine
# outside that wants PROXY, and is referred to by a service without ports.
write_mesh() {
	{
		say "workloads:"
		workload pod-a1 client ""
		workload pod-a2 other "" "applicationTunnel: {protocol: NONE}"
		workload pod-b1 server "demo/web.$DOMAIN: {}, demo/named.$DOMAIN: {80: 8081}, demo/wp.$DOMAIN: {}"
		workload pod-b2 vault "demo/web.$DOMAIN: {}" "waypoint: {destination: /$A2, hboneMtlsPort: 15008}"
		workload outside guest "" "waypoint: {destination: demo/wp.$DOMAIN, hboneMtlsPort: 15008}" | sed 's/protocol: HBONE/protocol: TCP/'
		say "services:"
		service web "80: 8080, 81: 8081" /$LAB_VIP4
		service named "80: 0"
		service wp ""
	} >"$LAB_DIR/mesh.yaml"
}

start_agents() {
	write_mesh
	lab_agents_start
}

start_apps() {
	local where
	for where in pod-b1:v1 pod-b2:v2; do
		lab_spawn "web-${where%:*}" "${where%:*}" $PYTHON "$SUPPORT/web_app.py" serve 8080 "${where#*:}"
	done
	for where in pod-b1 pod-b2 outside; do
		lab_spawn "app-$where" "$where" $PYTHON "$SUPPORT/proxy_app.py" 8081 --plain
	done
	lab_spawn plain-waypoint pod-a2 $PYTHON "$SUPPORT/proxy_app.py" 8081 --plain --forward "$B2:8081"
	for where in pod-b1 pod-b2 outside pod-a2; do lab_wait_port $where 8081; done
	for where in pod-b1 pod-b2; do lab_wait_port $where 8080; done
}

logged() { # AGENT MARK REGEX
	lab_wait_log 5 "agent-$1" "$2" "$3" || fail "agent $1 says: $(lab_since "agent-$1" "$2")"
}

says() { # WHERE ADDRESS PORT WANT
	local got
	got=$(lab_in "$1" $PYTHON -c "
import sys
sys.path.insert(0, '$SUPPORT')
import proxy_app
print(proxy_app.ask('$2:$3', b'hello'))" 2>&1)
	expect_eq "the answer" "$4" "$got"
}

peer_says() { # AUTHORITY WANT
	local got
	got=$(lab_in outside $PYTHON "$SUPPORT/hbone_client.py" say "$B1" --authority "$1" --certs "$CERTS" \
		--ca "$LAB_DIR/ca-cert.pem" 2>"$LAB_DATA/client") || fail "$(cat "$LAB_DATA/client")"
	expect_eq "the answer" "$2" "$got"
}

# Fifty connections fall to one of two once in 10^15.
service_loadbalancing() {
	local got at_a at_b
	at_a=$(lab_mark agent-a) at_b=$(lab_mark agent-b)
	got=$(lab_in pod-a1 $PYTHON "$SUPPORT/web_app.py" ask $LAB_VIP4 80 /x --count 1 --connections 51)
	expect_match "who answered" '^v1=[0-9]+ v2=[0-9]+$' "$got"
	logged a "$at_a" "src.workload=\"client\".*dst.service=\"web.$DOMAIN\".*direction=\"outbound\""
	logged b "$at_b" "src.workload=\"client\".*dst.service=\"web.$DOMAIN\".*direction=\"inbound\""
}

hbone_ip_mismatch() {
	local mark
	mark=$(lab_mark agent-b)
	peer_says "$B2:8081" '400 '
	logged b "$mark" "error=\"ip mismatch: $B1 != $B2"
}

hbone_no_address() {
	local mark
	mark=$(lab_mark agent-b)
	peer_says "nowhere" '400 '
	logged b "$mark" 'error="no valid authority pseudo header: nowhere"'
}

sandwich_plain() {
	local at_a at_b
	at_a=$(lab_mark agent-a) at_b=$(lab_mark agent-b)
	says pod-a1 "$B2" 8081 "from=$A1 said=hello then from=$A2 said=hello"
	logged a "$at_a" "src.workload=\"client\".*dst.addr=$A2:15008.*dst.hbone_addr=$B2:8081.*dst.identity=\"$SA/other\".*direction=\"outbound\""
	# Not into a waypoint again: it is the waypoint itself that asks.
	logged a "$at_a" "src.workload=\"other\".*dst.addr=$B2:15008.*dst.hbone_addr=$B2:8081.*dst.identity=\"$SA/vault\".*direction=\"outbound\""
	logged b "$at_b" "src.identity=\"$SA/other\".*dst.addr=$B2:15008.*direction=\"inbound\""
}

# The same mesh, but the server's waypoint wants headers; a changed file is read as it is.
sandwich_proxy() {
	local at_b
	lab_spawn proxy-waypoint pod-b1 $PYTHON "$SUPPORT/proxy_app.py" 15088 --forward dst && lab_wait_port pod-b1 15088
	lab_agents_stop
	sed -i '/^  name: server$/a\  applicationTunnel: {protocol: PROXY, port: 15088}' "$LAB_DIR/mesh.yaml"
	lab_agents_start
	at_b=$(lab_mark agent-b)
	says pod-a1 "$OUT" 8081 "TCP4 src=$A1 sport=yes dst=$OUT dport=8081 0xd0=$SA/client from=127.0.0.1 said=hello then from=$B1 said=hello"
	logged b "$at_b" "src.workload=\"client\".*dst.hbone_addr=$B1:15088.*direction=\"inbound\"|src.workload=\"client\".*dst.hbone_addr=$OUT:8081.*direction=\"inbound\""
}

# To our ports: no answer, in any way, but a 400 from who speaks HTTP; at once.
malicious() { # FROM ADDRESS
	local port rc code
	for port in 15001 15006 15008 15080 15000 15020 15021; do
		rc=0
		code=$(lab_in "$1" curl -sS -g --noproxy '*' --max-time 5 -o /dev/null -w '%{http_code}' "http://$2:$port/" 2>"$LAB_DATA/curl") || rc=$?
		[ "$rc" != 0 ] || [ "$code" = 400 ] || fail "port $port answered $code"
		[ "$rc" != 28 ] || fail "port $port: $(cat "$LAB_DATA/curl")"
	done
}

if ! $PYTHON -c 'import h2' 2>/dev/null; then
	case_skip all "needs Debian's python3-h2"
	exit 77
fi
cases_start
certs_init
certs_make peer "URI:$SA/peer" || exit 1
case_run "agents start" start_agents
case_run "apps start" start_apps
case_run "service_loadbalancing" service_loadbalancing
case_run "server_uncaptured_inpod" says pod-b1 "$OUT" 8081 "from=$B1 said=hello"
case_run "test_svc_hostname_port" peer_says "web.$DOMAIN:81" "200 from=$OUT said=hello"
case_run "test_svc_hostname_named_port" peer_says "named.$DOMAIN:80" "200 from=$OUT said=hello"
case_run "hbone_ip_mismatch" hbone_ip_mismatch
case_run "a CONNECT to no address is told in words" hbone_no_address
case_run "sandwich_waypoint_plain" sandwich_plain
case_run "malicious_calls_inpod: captured, at the server" malicious pod-a1 "$B1"
case_run "malicious_calls_inpod: captured, at itself" malicious pod-a1 "$A1"
case_run "malicious_calls_inpod: captured, at loopback" malicious pod-a1 127.0.0.1
case_run "malicious_calls_inpod: captured, at IPv6 loopback" malicious pod-a1 '[::1]'
case_run "malicious_calls_inpod: uncaptured, at the server" malicious outside "$B1"
case_run "malicious_calls_inpod: uncaptured, at its IPv6" malicious outside "[$(lab_ip -6 pod-b1)]"
case_run "sandwich_waypoint_proxy_protocol" sandwich_proxy
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

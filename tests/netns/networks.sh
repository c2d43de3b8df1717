#!/usr/bin/env bash
# networks: double HBONE from one network to another, through a gateway that is a real Envoy: it ends
# the outer tunnels and carries the inner bytes to the pod, without a look into them.
. "$(dirname "$0")/../support/cases.sh"
. "$LAB_ROOT/tests/support/certs.sh"
. "$LAB_ROOT/tests/support/envoy.sh"

GATEWAY=$(lab_ip outside)
SERVER=$(lab_ip pod-b1)
PYTHON=/usr/bin/python3
APP=$LAB_ROOT/tests/support/hbone_app.py
SA=spiffe://cluster.local/ns/demo/sa
PORTS='9001: 9001, 9002: 9002, 9003: 9003, 9004: 9004, 9006: 9006'
DOMAIN=demo.svc.cluster.local
# address and service: by gateway's address, by its name, with another SAN, with none
WEB=10.96.0.7 NAMED=10.96.0.8 WRONG=10.96.0.9 BARE=10.96.0.10

workload() { # WHERE NAME NETWORK MORE...
	lab_workload "$1" "$2" | sed '/^  services:/d'
	printf '  %s\n' "network: $3" "workloadName: $2-v1" "${@:4}"
}

service() { # NAME ADDRESS MORE...
	cat <<-YAML
	- name: $1
	  namespace: demo
	  hostname: $1.$DOMAIN
	  vips: [net1/$2]
	  ports: {$PORTS}
	YAML
	printf '  %s\n' "${@:3}"
}

write_mesh() {
	local by_address="networkGateway: {destination: net2/$GATEWAY, hboneMtlsPort: 15008}"
	local by_name="networkGateway: {destination: demo/gw.$DOMAIN, hboneMtlsPort: 15008}"
	{
		say "workloads:"
		workload pod-a1 client net1 'services: {}'
		workload pod-a2 other net1 'services: {}'
		workload pod-b1 server net2 "$by_address" \
			"services: {demo/web.$DOMAIN: {$PORTS}, demo/wrong.$DOMAIN: {$PORTS}, demo/bare.$DOMAIN: {$PORTS}}"
		workload pod-b2 vault net2 "$by_name" "services: {demo/named.$DOMAIN: {$PORTS}}"
		workload outside foreign net2 "services: {demo/gw.$DOMAIN: {15008: 15008}}"
		say "services:"
		service web $WEB "subjectAltNames: ['$SA/server']"
		service named $NAMED "subjectAltNames: ['$SA/vault']"
		service wrong $WRONG "subjectAltNames: ['$SA/nobody']"
		service bare $BARE
		cat <<-YAML
		- name: gw
		  namespace: demo
		  hostname: gw.$DOMAIN
		  vips: []
		  ports: {15008: 15008}
		YAML
	} >"$LAB_DIR/mesh.yaml"
}

start_agents() {
	write_mesh
	LAB_SETTINGS='network: net1' lab_settings a
	LAB_SETTINGS='network: net2' lab_settings b
	# One worker has one pool, so that connections can be counted.
	sed -i 's/^workerThreads: .*/workerThreads: 1/' "$LAB_DIR/agent-a.yaml"
	lab_agents_start
}

start_apps() {
	for where in pod-b1 pod-b2; do
		lab_spawn "app-$where" "$where" $PYTHON "$APP" serve 9001=echo 9002=tail 9003=farewell 9004=reset 9006=hold &&
			lab_wait_port "$where" 9006
	done
}

route() { # SERVICE PORT CLUSTER
	cat <<-YAML
	          - {name: $1_$2, domains: ["$1.$DOMAIN:$2"], routes: [{match: {connect_matcher: {}}, route: {
	              cluster: $3, timeout: 0s, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}]}
	YAML
}

gateway_config() {
	local port name
	say "static_resources:"
	say "  listeners:"
	envoy_connects gateway "$GATEWAY" | sed 's/^/  /'
	for port in 9001 9002 9003 9004 9006; do
		for name in web wrong; do route $name $port server; done
		route named $port vault
	done | sed 's/^/  /'
	cat <<-YAML
	  clusters:
	  - name: server
	    connect_timeout: 5s
	    load_assignment: {cluster_name: server, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: $SERVER, port_value: 15008}}}}]}]}
	  - name: vault
	    connect_timeout: 5s
	    load_assignment: {cluster_name: vault, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: $(lab_ip pod-b2), port_value: 15008}}}}]}]}
	YAML
}

start_gateway() {
	gateway_config >"$LAB_DATA/gateway.yaml"
	lab_spawn envoy outside "$ENVOY" --config-path "$LAB_DATA/gateway.yaml" --concurrency 1 --disable-hot-restart --log-level warning &&
		lab_wait 20 lab_has_listener outside 15008 ||
		fail "Envoy does not listen: $(tail -n 5 "$LAB_DIR/log/envoy.log")"
}

ask() { # WHERE ADDRESS ARGS...
	local where=$1
	shift
	lab_in "$where" $PYTHON "$APP" ask "$1" 9001 "${@:2}" >"$LAB_DATA/sums"
	expect_match "SHA-256, sent and received" '^([0-9a-f]{64}) \1$' "$(cat "$LAB_DATA/sums")"
}

logged() { # AGENT MARK REGEX
	lab_wait_log 5 "agent-$1" "$2" "$3" || fail "agent $1 says: $(lab_since "agent-$1" "$2")"
}

# In the end one connection has closed well that was counted so.
counted() { # AGENT LABEL=VALUE...
	lab_wait 5 is_counted "$@" || fail "agent $1 counts: $(grep istio_tcp_connections_closed "$LAB_DATA/scrape")"
}
is_counted() {
	curl -sS --unix-socket "$LAB_DIR/admin-$1.sock" http://localhost/metrics >"$LAB_DATA/scrape"
	[ "$("$LAB_ROOT/tests/support/prometheus.py" "$LAB_DATA/scrape" text istio_tcp_connections_closed_total response_flags=- "${@:2}")" = 1 ]
}

# Connections of HBONE that stand in WHERE: to its 15008, or with dport from it.
connections() { # WHERE sport|dport
	lab_in "$1" ss -Htn state established "$2 = :15008" | wc -l
}

one_exchange() {
	local at_a at_b
	at_a=$(lab_mark agent-a) at_b=$(lab_mark agent-b)
	ask pod-a1 $WEB
	logged a "$at_a" "src.workload=\"client\".*src.identity=\"$SA/client\".*dst.addr=$GATEWAY:15008.*dst.hbone_addr=web.$DOMAIN:9001.*dst.service=\"web.$DOMAIN\".*dst.workload=\"server-v1\".*dst.namespace=\"demo\".*dst.identity=\"$SA/server\".*direction=\"outbound\""
	logged b "$at_b" "src.addr=$GATEWAY:.*src.workload=\"client-v1\".*src.namespace=\"demo\".*src.identity=\"$SA/client\".*dst.addr=$SERVER:15008.*dst.hbone_addr=web.$DOMAIN:9001.*dst.service=\"web.$DOMAIN\".*dst.workload=\"server\".*direction=\"inbound\""
	counted a reporter=source "source_principal=$SA/client" "destination_service=web.$DOMAIN" destination_workload=server-v1 \
		destination_app=server-v1 destination_workload_namespace=demo "destination_principal=$SA/server" connection_security_policy=mutual_tls
	counted b reporter=destination source_workload=client-v1 source_app=client-v1 source_workload_namespace=demo \
		"source_principal=$SA/client" "destination_service=web.$DOMAIN" destination_workload=server-v1 connection_security_policy=mutual_tls
}

flows_share() {
	ask pod-a1 $WEB --connections 8
	expect_eq "outer connections" 1 "$(connections outside sport)"
	expect_eq "inner connections" 1 "$(connections outside dport)"
	ask pod-a1 $WEB --connections 25
	expect_eq "outer connections" 1 "$(connections outside sport)"
	expect_eq "inner connections, for 10 tunnels each" 3 "$(connections outside dport)"
	# Another pod shares nothing with it.
	ask pod-a2 $WEB
	expect_eq "outer connections" 2 "$(connections outside sport)"
	expect_eq "inner connections" 4 "$(connections outside dport)"
}

half_closes() {
	lab_in pod-a1 $PYTHON "$APP" tail $WEB 9002 --bytes 100000 >"$LAB_DATA/tail"
	expect_eq "what comes before our end" "farewell eof" "$(lab_in pod-a1 $PYTHON "$APP" farewell $WEB 9003)"
}

resets() {
	# A reset may overtake the bytes before it, as TCP's own does.
	expect_match "what the app reads" '^(so far)? reset ' "$(lab_in pod-a1 $PYTHON "$APP" end $WEB 9004 --say x)"
}

by_name() {
	local mark
	mark=$(lab_mark agent-a)
	ask pod-a1 $NAMED
	logged a "$mark" "dst.addr=$GATEWAY:15008.*dst.workload=\"vault-v1\".*dst.identity=\"$SA/vault\""
}

refused() { # ADDRESS WORDS
	local mark
	mark=$(lab_mark agent-a)
	expect_match "what the app reads" '^ reset ' "$(lab_in pod-a1 $PYTHON "$APP" end "$1" 9001)"
	logged a "$mark" "error=\"$2\""
}

held() { lab_logged held 0 ready; }
gateway_dies() {
	local mark
	mark=$(lab_mark agent-a)
	lab_spawn held pod-a1 $PYTHON -u -c "
import socket
s = socket.create_connection(('$WEB', 9006))
print(s.recv(5).decode())
try:
    print('end', s.recv(1))
except ConnectionResetError:
    print('reset')"
	lab_wait 10 held
	lab_kill envoy
	lab_wait_log 10 held 0 '^reset' || fail "the app reads: $(cat "$LAB_DIR/log/held.log")"
	logged a "$mark" 'dst.hbone_addr=web.*:9006.*error=".*connection was cut without notice|dst.hbone_addr=web.*:9006.*error="io error: '
	refused $WEB 'io error: Connection refused'
	start_gateway
	ask pod-a1 $WEB
}

if ! why=$(envoy_install); then
	case_skip all "$why"
	exit 77
fi
cases_start
certs_init
certs_make envoy "URI:$SA/foreign" || exit 1
case_run "agents start" start_agents
case_run "apps start" start_apps
case_run "the gateway starts" start_gateway
case_run "one exchange, and both logs" one_exchange
case_run "flows share outer and inner connections" flows_share
case_run "20 MB each way" ask pod-a1 $WEB --bytes 20000000
case_run "half-close each way" half_closes
case_run "a reset stays a reset" resets
case_run "a gateway that goes by name" by_name
case_run "another behind the gateway" refused $WRONG 'tls error: .*expected identit.*'
case_run "nobody could prove to be it" refused $BARE 'service bare.*no subjectAltNames'
case_run "a gateway that dies, and comes back" gateway_dies
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

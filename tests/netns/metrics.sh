#!/usr/bin/env bash
# metrics: what Prometheus and ztunnel's dashboards are told of real traffic, by both reporters: counts,
# bytes, labels and flags of what went well, was denied, failed, and came in plaintext.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)
EXCHANGE="$LAB_ROOT/tests/support/exchange.py"
OPENMETRICS='application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'
TCP=istio_tcp_connections

# The mesh as Kubernetes has it: workloads belong to deployments and apps.
mesh() { # stdin: policies
	lab_mesh
	sed -i -E 's/^  serviceAccount: (.*)/&\n  workloadName: \1-deploy\n  canonicalName: \1-app\n  canonicalRevision: v1\n  clusterId: one\n  locality: {region: r1, zone: z1, subzone: ""}/' \
		"$LAB_DIR/mesh.yaml"
}

scrape() { # a|b
	curl -sS --unix-socket "$LAB_DIR/admin-$1.sock" -H "Accept: $OPENMETRICS" http://localhost/metrics >"$LAB_DATA/scrape-$1"
}
sum() { # a|b NAME LABEL=VALUE...
	local node=$1
	shift
	scrape "$node"
	"$LAB_ROOT/tests/support/prometheus.py" "$LAB_DATA/scrape-$node" openmetrics "$@"
}
sums_to() { # WANT a|b NAME LABEL=VALUE...
	local want=$1
	shift
	[ "$(sum "$@")" = "$want" ]
}
expect_sum() { # WANT a|b NAME LABEL=VALUE...: in the end
	lab_wait 10 sums_to "$@" || expect_eq "${*:2}" "$1" "$(sum "${@:2}")"
}

start() {
	LAB_SELECTED= mesh </dev/null
	lab_agents_start
	lab_spawn server pod-b1 python3 "$EXCHANGE" serve 9000
	lab_wait_log 10 server 0 listening
}

ask() { lab_in "$1" python3 "$EXCHANGE" ask "${@:2}"; } # FROM HOST PORT

# One scrape of NODE by either form, on either way, with its type.
served() { # a|b ACCEPT FORM TYPE CURL...
	local type
	type=$(curl -sS -H "Accept: $2" -o "$LAB_DATA/served" -w '%{content_type}' "${@:5}")
	expect_eq "content type" "$4" "$type"
	"$LAB_ROOT/tests/support/prometheus.py" "$LAB_DATA/served" "$3"
}
both_forms() {
	local om='application/openmetrics-text;charset=utf-8;version=1.0.0' text='text/plain; version=0.0.4; charset=utf-8'
	served a "$OPENMETRICS" openmetrics "$om" --unix-socket "$LAB_DIR/admin-a.sock" http://localhost/metrics
	served a '*/*' text "$text" --unix-socket "$LAB_DIR/admin-a.sock" http://localhost/metrics
	for path in /metrics /stats/prometheus; do
		lab_curl node-a "http://127.0.0.1:15020$path" -H "Accept: $OPENMETRICS" >"$LAB_DATA/served"
		"$LAB_ROOT/tests/support/prometheus.py" "$LAB_DATA/served" openmetrics
	done
}

nothing_yet() {
	both_forms
	expect_eq "istio_build" 1 "$(sum a istio_build component=ztunnel tag=1.99-lab)"
	expect_eq "open sockets" 0 "$(sum a istio_tcp_sockets_open reporter=source)"
	expect_eq "families without samples" 0 "$(grep -c "$TCP" "$LAB_DATA/scrape-a")"
}

# What ONE reports of an exchange that went well.
reported_once() { # a|b REPORTER LABEL=VALUE...
	local labels=("reporter=$2" request_protocol=tcp connection_security_policy=mutual_tls "${@:3}")
	expect_sum 1 "$1" ${TCP}_closed_total "${labels[@]}" response_flags=-
	expect_eq opened 1 "$(sum "$1" ${TCP}_opened_total "${labels[@]}" response_flags=-)"
	expect_eq received 11 "$(sum "$1" istio_tcp_received_bytes_total "${labels[@]}" response_flags=-)"
	expect_eq sent 22 "$(sum "$1" istio_tcp_sent_bytes_total "${labels[@]}" response_flags=-)"
	expect_eq failed none "$(sum "$1" ${TCP}_failed_total "${labels[@]}")"
}
party() { # source|destination NAME
	say "$1_workload=$2-deploy $1_canonical_service=$2-app $1_canonical_revision=v1 $1_workload_namespace=demo" \
		"$1_principal=spiffe://cluster.local/ns/demo/sa/$2 $1_app=$2-app $1_version=v1 $1_cluster=one $1_region=r1 $1_zone=z1"
}

cross_node() {
	ask pod-a1 "$SERVER" 9000
	# shellcheck disable=SC2046
	reported_once a source $(party source client) $(party destination server) destination_service=unknown
	# shellcheck disable=SC2046
	reported_once b destination $(party source client) $(party destination server)
}
# ztunnel's local_captured_inpod: one agent, both reporters.
same_node() {
	local reporter
	ask pod-b2 "$SERVER" 9000
	for reporter in source destination; do
		# shellcheck disable=SC2046
		reported_once b $reporter $(party source vault) $(party destination server)
	done
}
by_service() {
	lab_curl pod-a1 "http://$LAB_VIP4/" -o "$LAB_DATA/body"
	expect_sum 1 a ${TCP}_closed_total reporter=source destination_service=web.demo.svc.cluster.local \
		destination_service_name=web destination_service_namespace=demo source_workload=client-deploy response_flags=-
	expect_sum 1 b ${TCP}_closed_total reporter=destination destination_service=web.demo.svc.cluster.local \
		destination_service_name=web source_workload=client-deploy response_flags=-
}
plaintext() {
	ask outside "$SERVER" 9000
	expect_sum 1 b ${TCP}_closed_total reporter=destination source_workload=unknown source_principal=unknown \
		source_region=unknown destination_region=r1 destination_workload=server-deploy \
		destination_principal=spiffe://cluster.local/ns/demo/sa/server connection_security_policy=unknown response_flags=-
	expect_eq received 11 "$(sum b istio_tcp_received_bytes_total connection_security_policy=unknown)"
	expect_eq sent 22 "$(sum b istio_tcp_sent_bytes_total connection_security_policy=unknown)"
}

# Bytes count as they come, and sockets while they are open.
while_it_lives() {
	mkfifo "$LAB_DATA/hold"
	lab_spawn holder pod-a2 python3 "$EXCHANGE" ask "$SERVER" 9000 "$LAB_DATA/hold"
	lab_wait_log 10 holder 0 answered
	expect_sum 22 b istio_tcp_sent_bytes_total source_workload=other-deploy
	expect_sum 11 a istio_tcp_received_bytes_total source_workload=other-deploy
	expect_eq opened 1 "$(sum a ${TCP}_opened_total source_workload=other-deploy)"
	expect_eq closed none "$(sum a ${TCP}_closed_total source_workload=other-deploy)"
	expect_eq "sockets of apps" 1 "$(sum a istio_tcp_sockets_open reporter=source)"
	expect_match "sockets of peers" '^[1-9]' "$(sum b istio_tcp_sockets_open reporter=destination)"
	echo >"$LAB_DATA/hold"
	expect_sum 1 a ${TCP}_closed_total source_workload=other-deploy
	expect_sum 0 a istio_tcp_sockets_open reporter=source
}

# Nobody listens at that port of the app: 503 for the peer.
refused() {
	if ask pod-a1 "$SERVER" 9 2>/dev/null; then fail "nobody listens there"; fi
	failed_once a source CONNECT
	failed_once b destination CONNECT
}
failed_once() { # a|b REPORTER FLAG
	local labels=("reporter=$2" source_workload=client-deploy "response_flags=$3")
	expect_sum 1 "$1" ${TCP}_failed_total "${labels[@]}"
	expect_eq closed 1 "$(sum "$1" ${TCP}_closed_total "${labels[@]}")"
	expect_eq opened none "$(sum "$1" ${TCP}_opened_total "${labels[@]}")"
}

denied() {
	local opened
	opened=$(sum b ${TCP}_opened_total reporter=destination source_workload=client-deploy)
	lab_deny no-client server client >"$LAB_DATA/deny"
	mesh <"$LAB_DATA/deny"
	lab_wait 20 is_denied
	failed_at_least_once b destination DENY
	failed_at_least_once a source CONNECT
	[ "$(sum b ${TCP}_opened_total reporter=destination source_workload=client-deploy)" -gt "$opened" ]
	expect_eq "received of what was denied" none "$(sum b istio_tcp_received_bytes_total response_flags=DENY)"
}
is_denied() { ! ask pod-a1 "$SERVER" 9000 2>/dev/null; }
failed_at_least_once() { # a|b REPORTER FLAG
	local labels=("reporter=$2" source_workload=client-deploy "response_flags=$3")
	expect_match "failed" '^[1-9]' "$(sum "$1" ${TCP}_failed_total "${labels[@]}")"
	expect_eq "failed and closed" "$(sum "$1" ${TCP}_closed_total "${labels[@]}")" "$(sum "$1" ${TCP}_failed_total "${labels[@]}")"
}

# No TLS: nothing is known of it, so it has no labels.
early() {
	# That it is reset may fail cat, or come after an end: what counts is what the agent counted.
	lab_in outside bash -c "exec 3<>/dev/tcp/$SERVER/15008; echo this is not TLS >&3; cat <&3 >/dev/null" || true
	expect_sum 1 b culvert_connections_failed_early_total reporter=destination
}

cases_start
LAB_SETTINGS=$'statsPort: 15020\nistioVersion: 1.99-lab'
lab_settings a && lab_settings b
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents and server start" start
case_run "before any traffic" nothing_yet
case_run "across nodes: both reporters" cross_node
case_run "on one node: both reporters" same_node
case_run "by a service's address" by_service
case_run "plaintext" plaintext
case_run "while it lives" while_it_lives
case_run "refused by the app" refused
case_run "denied" denied
case_run "failed early" early
case_run "well formed after all that" both_forms
cases_end

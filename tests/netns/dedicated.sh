#!/usr/bin/env bash
# dedicated: one agent beside one workload, in its own network namespace (PROXY_MODE=dedicated): captured
# by rules there, or asked by SOCKS5; the other node has an agent in standalone mode.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/inpod.sh"

SERVER4=$(lab_ip pod-b1)
SERVER6=$(lab_ip -6 pod-b1)

# The agent's own sockets are told from the app's by their mark, as in shared mode.
dedicated_start() {
	mkdir -p "$LAB_DIR/state/one" /run/culvert
	lab_spawn one pod-a1 unshare --mount --propagation private sh -ec 'mount --bind "$0" /run/culvert; exec "$@"' "$LAB_DIR/state/one" \
		env PROXY_MODE=dedicated PROXY_WORKLOAD_INFO=demo/client/client NODE_NAME=node-a PACKET_MARK=1337 \
		LOCAL_XDS_PATH="$LAB_DIR/mesh.yaml" XDS_ADDRESS= CA_ADDRESS= FAKE_CA=true FAKE_CA_CERT="$LAB_DIR/ca-cert.pem" \
		FAKE_CA_KEY="$LAB_DIR/ca-key.pem" UNSTABLE_ENABLE_SOCKS5=true ISTIO_META_DNS_CAPTURE=false ZTUNNEL_WORKER_THREADS=2 \
		"$LAB_BUILD/agent/culvertd" proxy ztunnel
	lab_wait_log 20 one 0 'culvertd ready'
}

agents_start() {
	dedicated_start
	lab_agent_start b
	expect_eq "readiness" $'ready\n200' "$(lab_curl pod-a1 http://127.0.0.1:15021/healthz/ready -w '%{http_code}')"
	expect_match "config_dump on 15000" '"workloads"' "$(lab_curl pod-a1 http://127.0.0.1:15000/config_dump)"
}

request() { # FROM URL CLIENT [CURL ARGS...]
	local from=$1 url=$2 client=$3 path="/known?$RANDOM$RANDOM"
	shift 3
	expect_eq "curl's status" 200 "$(lab_curl "$from" "$url$path" -o /dev/null -w '%{http_code}' "$@")"
	lab_wait 5 grep -qF "$path" "$LAB_DATA/nginx-pod-b1/access.log" "$LAB_DATA/nginx-pod-a1/access.log"
	expect_eq "the client in nginx's access log" "$client" "$(grep -hF "$path" "$LAB_DATA"/nginx-*/access.log | cut -d' ' -f1)"
}

# As Istio's chart starts it, without a mesh: it is ready, and knows nobody.
without_a_mesh() {
	mkdir -p "$LAB_DIR/state/bare"
	lab_spawn bare pod-a2 unshare --mount --propagation private sh -ec 'mount --bind "$0" /run/culvert; exec "$@"' "$LAB_DIR/state/bare" \
		env PROXY_MODE=dedicated PROXY_WORKLOAD_INFO=demo/client/client PACKET_MARK=1337 XDS_ADDRESS= FAKE_CA=true \
		ISTIO_META_DNS_CAPTURE=false ISTIO_META_ISTIO_VERSION=1.30.0 CONNECTION_TERMINATION_DEADLINE=1 "$LAB_BUILD/agent/culvertd" proxy ztunnel
	lab_wait_log 20 bare 0 'no mesh is configured'
	lab_wait_log 20 bare 0 'culvertd ready'
	expect_eq "readiness" $'ready\n200' "$(lab_curl pod-a2 http://127.0.0.1:15021/healthz/ready -w '%{http_code}')"
	expect_match "config_dump's version" '"istioVersion":"1.30.0"' "$(lab_curl pod-a2 http://127.0.0.1:15000/config_dump)"
	lab_stop bare
	expect_none "words about the chart's arguments" 'command line' "$LAB_DIR/log/bare.log"
}

captured() {
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
	request pod-a1 "http://[$SERVER6]:8080" "$(lab_ip -6 pod-a1)"
	request pod-a1 "http://$LAB_VIP4" "$(lab_ip pod-a1)"
	lab_logged one 0 'connection complete.*dst.hbone_addr=10.2.0.11:8080.*direction="?outbound'
}

inbound() {
	request pod-b1 "http://$(lab_ip pod-a1):8080" "$SERVER4"
	request pod-b1 "http://[$(lab_ip -6 pod-a1)]:8080" "$SERVER6"
	request outside "http://$(lab_ip pod-a1):8080" "$(lab_ip outside)"
}

SOCKS=(--noproxy "" --socks5 127.0.0.1:15080)
SOCKS_NAMES=(--noproxy "" --socks5-hostname 127.0.0.1:15080)
by_socks() {
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)" "${SOCKS[@]}"
	request pod-a1 "http://[$SERVER6]:8080" "$(lab_ip -6 pod-a1)" "${SOCKS[@]}"
	request pod-a1 "http://web.demo.svc.cluster.local" "$(lab_ip pod-a1)" "${SOCKS_NAMES[@]}"
}

socks_refuses() { # REGEX-OF-CURL'S-STATUS TEXT URL CURL ARGS...
	local want=$1 text=$2 rc=0
	shift 2
	lab_curl pod-a1 "$@" -o /dev/null 2>"$LAB_DATA/err" || rc=$?
	expect_match "curl's exit status" "^($want)$" $rc
	expect_match "curl's words" "$text" "$(cat "$LAB_DATA/err")"
}
socks_refusals() {
	socks_refuses 97 '\(4\)' "http://nobody.demo.svc.cluster.local" "${SOCKS_NAMES[@]}"
	# After the success that is answered before anything is dialled: the connection is reset.
	socks_refuses '55|56' curl "http://127.0.0.1:15001" "${SOCKS[@]}"
	socks_refuses '55|56' curl "http://127.0.0.1:15080" "${SOCKS[@]}"
	lab_logged one 0 'recursive'
}

socks_is_for_the_pod_alone() {
	local rc=0
	lab_curl pod-b1 "http://$SERVER4:8080/" --noproxy "" --socks5 "$(lab_ip pod-a1):15080" -o /dev/null 2>/dev/null || rc=$?
	[ $rc != 0 ] || fail "it is reached from another pod"
}

both_end() {
	lab_stop one
	lab_stop agent-b
	lab_has_no_listener pod-a1 15001
}

cases_cleanup() {
	lab_down && lab_leftovers && rmdir /run/culvert
}

cases_start
if ! inpod_possible; then
	case_skip all "no packet filter rules can be made here"
	cases_cleanup
	exit 77
fi
for pod in pod-a1 pod-b1; do
	lab_nginx $pod
	echo hello >"$LAB_DATA/nginx-$pod/www/known"
done
inpod_rules pod-a1

case_run "it starts with ztunnel's environment" agents_start
case_run "it starts without a mesh, too" without_a_mesh
case_run "what the workload dials is captured" captured
case_run "the workload is served, in tunnels and in plaintext" inbound
case_run "SOCKS5: IPv4, IPv6, a name of the mesh" by_socks
case_run "SOCKS5: refusals" socks_refusals
case_run "SOCKS5 is not for others" socks_is_for_the_pod_alone
case_run "SIGTERM ends it with status 0" both_end
cases_end

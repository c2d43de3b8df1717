#!/usr/bin/env bash
# zds: two agents started with ztunnel's environment, pods handed over by a scripted istio-cni, its
# rules in the pods: traffic with true addresses, policy, pods that come and go, istio-cni that does.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/inpod.sh"

SERVER4=$(lab_ip pod-b1)
SERVER6=$(lab_ip -6 pod-b1)
NOT_READY=$'not ready, pending: workload proxy manager\n500'

start_and_hand_over() {
	local node
	lab_capture "$LAB_DATA/link.pcap"
	inpod_agent_launch a
	inpod_agent_launch b agent-b POD_NAME=agent POD_NAMESPACE=demo SERVICE_ACCOUNT=agent
	lab_wait 20 lab_has_listener node-a 15021
	expect_eq "readiness before the snapshot" "$NOT_READY" "$(inpod_readiness a)"
	for node in a b; do cni_hands_over $node; done
	lab_wait 5 inpod_is_ready a
	lab_wait 5 inpod_is_ready b
	cni_says a "ok quiet" quiet 0.3
}

# Without the right to enter a namespace it ends at once, and says what it lacks.
needs_its_capabilities() {
	local rc=0
	env NODE_NAME=n LOCAL_XDS_PATH="$LAB_DIR/mesh.yaml" FAKE_CA=true INPOD_UDS="$LAB_DIR/zds-a.sock" \
		timeout 10 setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$LAB_BUILD/agent/culvertd" proxy \
		>"$LAB_DATA/poor" 2>&1 || rc=$?
	expect_eq "exit status" 1 $rc
	expect_match "its words" 'SYS_ADMIN and NET_ADMIN are needed' "$(cat "$LAB_DATA/poor")"
}

# A GET, and nginx's line about it: who it thinks its client was.
request() { # FROM URL CLIENT
	local path="/known?$RANDOM$RANDOM"
	expect_eq "curl's status" 200 "$(lab_curl "$1" "$2$path" -H 'X-Known: culvert-known-plaintext' -o "$LAB_DATA/body" -w '%{http_code}')"
	cmp "$LAB_DATA/body" "$WWW/known"
	lab_wait 5 grep -qF "$path" "$LAB_DATA/nginx-pod-b1/access.log"
	expect_eq "the client in nginx's access log" "$3" "$(grep -F "$path" "$LAB_DATA/nginx-pod-b1/access.log" | cut -d' ' -f1)"
}

all_requests() {
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
	request pod-a1 "http://[$SERVER6]:8080" "$(lab_ip -6 pod-a1)"
	request pod-a1 "http://$LAB_VIP4" "$(lab_ip pod-a1)"
	request pod-a1 "http://[$LAB_VIP6]" "$(lab_ip -6 pod-a1)"
	request pod-b2 "http://$SERVER4:8080" "$(lab_ip pod-b2)"
	request pod-b1 "http://$SERVER4:8080" "$SERVER4"
}

plaintext() {
	request outside "http://$SERVER4:8080" "$(lab_ip outside)"
	request outside "http://[$SERVER6]:8080" "$(lab_ip -6 outside)"
}

only_hbone_on_the_link() {
	lab_capture_stop
	"$LAB_ROOT/tests/support/wire.py" "$LAB_DATA/link.pcap" --port 15008 --never culvert-known-plaintext
}

log_names_both() {
	local mark line
	mark=$(lab_mark agent-b)
	lab_curl pod-a1 "http://$SERVER4:8080/known" -o "$LAB_DATA/body"
	lab_wait_log 10 agent-b "$mark" 'connection complete.*direction="?inbound'
	line=$(lab_since agent-b "$mark" | grep 'connection complete')
	expect_match "src.identity" 'src.identity="spiffe://cluster.local/ns/demo/sa/client"' "$line"
	expect_match "dst.identity" 'dst.identity="spiffe://cluster.local/ns/demo/sa/server"' "$line"
	expect_match "src.addr" "src.addr=$(lab_ip pod-a1):" "$line"
}

# What istioctl and a kubelet ask for, where they ask.
ports_of_the_agent() {
	local port
	lab_curl node-b http://127.0.0.1:15000/config_dump >"$LAB_DATA/dump.json"
	python3 - "$LAB_DATA/dump.json" <<-'PY'
	import json, sys
	pods = json.load(open(sys.argv[1]))["workloadState"]
	assert sorted(pods) == ["uid-server", "uid-vault"], pods
	assert pods["uid-server"]["state"] == "Up", pods
	assert pods["uid-server"]["info"] == {"name": "server", "namespace": "demo", "serviceAccount": "server"}, pods
	PY
	expect_eq "status on IPv6" 200 "$(lab_curl node-b 'http://[::1]:15021/healthz/ready' -o /dev/null -w '%{http_code}')"
	expect_eq "another path" 404 "$(lab_curl node-b http://127.0.0.1:15021/config_dump -o /dev/null -w '%{http_code}')"
	expect_eq "another method" 405 "$(lab_curl node-b http://127.0.0.1:15021/healthz/ready -X POST -o /dev/null -w '%{http_code}')"
	expect_match "metrics" '^# TYPE culvert_' "$(lab_curl node-b http://127.0.0.1:15020/stats/prometheus)"
	expect_match "pods it serves" '^workload_manager_active_proxy_count 2$' "$(lab_curl node-b http://127.0.0.1:15020/metrics)"
	expect_eq "nothing else beside the metrics" 404 "$(lab_curl node-b http://127.0.0.1:15020/config_dump -o /dev/null -w '%{http_code}')"
	for port in 15020 15021; do
		expect_eq "no index on $port" 404 "$(lab_curl node-b http://127.0.0.1:$port/ -o /dev/null -w '%{http_code}')"
	done
	expect_match "GET /logging" '^Invalid HTTP method' "$(lab_curl node-b http://127.0.0.1:15000/logging)"
	expect_match "POST /logging, bad" '^Invalid level provided: foo$' "$(lab_curl node-b 'http://127.0.0.1:15000/logging?level=foo' -X POST)"
	expect_eq "POST /logging, a part is empty" 400 "$(lab_curl node-b 'http://127.0.0.1:15000/logging?level=debug,' -X POST -o /dev/null -w '%{http_code}')"
	expect_eq "POST /logging, twice the same" 'current log level is ztunnel::proxy=trace,access=debug,info' \
		"$(for _ in 1 2; do lab_curl node-b 'http://127.0.0.1:15000/logging?level=info,access=debug,ztunnel::proxy=trace' -X POST; done | tail -n 1)"
	expect_match "POST /logging, reset" '^current log level is info$' "$(lab_curl node-b 'http://127.0.0.1:15000/logging?reset' -X POST)"
	expect_match "POST /logging" '^current log level is ' "$(lab_curl node-b 'http://127.0.0.1:15000/logging?level=access=info' -X POST)"
}

# Nothing of ours is to be reached through ours, from the pod itself or from others.
our_ports_are_nobodys() {
	local where port host rc
	for where in pod-a1 pod-b1 outside; do
		for port in 15001 15006 15008; do
			for host in "$SERVER4" "[$SERVER6]" 127.0.0.1; do
				rc=0
				lab_curl $where "http://$host:$port/known" -o /dev/null 2>/dev/null || rc=$?
				[ $rc != 0 ] || fail "$where reaches $host:$port"
			done
		done
	done
}

# A download that is under way, and what became of it: its exit status in a file.
slow_download() { # FILE
	mkfifo "$1.fifo"
	(rc=0; lab_curl pod-a1 "http://$SERVER4:8080/big" --limit-rate 10M -o "$1.body" || rc=$?; say $rc >"$1.rc") 2>"$1.err" 9>&- &
	lab_wait 10 test -s "$1.body"
}

del_ends_live_flows() {
	slow_download "$LAB_DATA/del"
	cni_says b "ok ack" del uid-server
	lab_wait 5 test -s "$LAB_DATA/del.rc" || fail "the download goes on"
	expect_match "curl's exit status" '^(56|18|52)$' "$(cat "$LAB_DATA/del.rc")"
	lab_wait 5 lab_has_no_listener pod-b1 15008
	expect_eq "a request now" fails "$(lab_curl pod-a1 "http://$SERVER4:8080/known" -o /dev/null 2>/dev/null && say works || say fails)"
	cni_says b "ok ack" del uid-server
	cni_adds b pod-b1:server
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
}

adding_twice_changes_nothing() {
	slow_download "$LAB_DATA/twice"
	cni_adds b pod-b1:server
	cni_adds b pod-b1:server
	lab_wait 30 test -s "$LAB_DATA/twice.rc"
	expect_eq "curl's exit status" 0 "$(cat "$LAB_DATA/twice.rc")"
	cmp "$LAB_DATA/twice.body" "$WWW/big"
}

# The pod's uid in another namespace: the old one is left, the new one is served.
another_namespace_replaces() {
	cni_says b "ok ack" add uid-vault demo vault vault "$(inpod_netns outside)"
	lab_wait 5 lab_has_no_listener pod-b2 15008
	lab_has_listener outside 15008
	cni_adds b pod-b2:vault
	lab_wait 5 lab_has_no_listener outside 15008
	lab_has_listener pod-b2 15008
}

refusals() {
	cni_refuses b 'is that of demo/server' add uid-second demo second second "$(inpod_netns pod-b1)"
	expect_eq "readiness while a pod is pending" "$NOT_READY" "$(inpod_readiness b)"
	expect_match "culvertctl status" 'second.*waiting' "$(inpod_ctl agent-b status)"
	cni_says b "ok ack" del uid-second
	inpod_is_ready b
	cni_refuses b "the agent's own" add uid-self demo self self "/proc/$(lab_pid agent-b)/ns/net"
	cni_says b "ok ack" del uid-self
	cni_refuses b 'no workload info' add-bare uid-bare "$(inpod_netns outside)"
	cni_refuses b 'no descriptor' add-nofd uid-nofd demo nofd nofd
	cni_refuses b 'port 15001' add uid-file demo file file /proc/self/status
	cni_says b "ok ack" del uid-file
	inpod_is_ready b
}

# A port that an app holds: refused, and tried again by itself once it is free.
taken_port_is_waited_for() {
	cni_says b "ok ack" del uid-vault
	lab_wait 5 lab_has_no_listener pod-b2 15006
	lab_spawn holder pod-b2 python3 -c '
import socket, signal
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 15006)); s.listen(); signal.pause()'
	lab_wait_port pod-b2 15006
	cni_refuses b 'port 15006 is taken by' add uid-vault demo vault vault "$(inpod_netns pod-b2)"
	expect_eq "readiness meanwhile" "$NOT_READY" "$(inpod_readiness b)"
	lab_stop holder || lab_is_gone holder # its status is the signal's
	lab_wait 10 inpod_is_ready b
	lab_has_listener pod-b2 15008
}

# Whatever makes no sense is answered, and the connection made anew; traffic never notices.
nonsense() { # NACK COMMAND...
	local want=$1 uid
	shift
	cni_refuses b "$want" "$@"
	cni_says b "ok eof" eof 5
	cni_says b "ok hello" accept
	expect_eq "readiness meanwhile" "$NOT_READY" "$(inpod_readiness b)"
	for uid in server vault; do cni_says b "ok ack" keep uid-$uid; done
	cni_says b "ok ack" snapshot
	inpod_is_ready b
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
}

# A pod that the mesh does not know (yet): its connections wait for 5 s, and are then refused.
unknown_pod_waits() {
	local rc=0 time mark
	cni_says b "ok ack" add uid-stranger demo stranger stranger "$(inpod_netns outside)"
	mark=$(lab_mark agent-b)
	time=$(lab_curl pod-a2 "http://$(lab_ip outside):15008/" -o /dev/null -w '%{time_total}' 2>/dev/null) || rc=$?
	expect_match "curl's exit status" '^(56|52)$' $rc
	expect_match "seconds it waited" '^[56]\.' "$time"
	lab_logged agent-b "$mark" 'src.addr=10.1.0.12:.*unknown|src.addr=10.1.0.12:.*local workload'
	cni_says b "ok ack" del uid-stranger
}

snapshot_drops_the_unmentioned() {
	cni_says b "ok" close
	cni_says b "ok hello" accept
	cni_says b "ok ack" keep uid-server
	cni_says b "ok ack" snapshot
	lab_wait 5 lab_has_no_listener pod-b2 15008
	lab_has_listener pod-b1 15008
	cni_adds b pod-b2:vault
}

istio_cni_away() {
	slow_download "$LAB_DATA/away"
	cni_says b "ok" away
	lab_wait 5 eval '[ "$(inpod_readiness b)" = "$NOT_READY" ]'
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
	plaintext
	cni_says b "ok" back
	cni_hands_over b
	lab_wait 5 inpod_is_ready b
	lab_wait 30 test -s "$LAB_DATA/away.rc"
	expect_eq "curl's exit status of what was under way" 0 "$(cat "$LAB_DATA/away.rc")"
}

# The successor starts while the predecessor serves; then that one is asked to go.
two_instances() {
	local mark i
	slow_download "$LAB_DATA/old"
	INPOD_APART=--net inpod_agent_launch b agent-new TERMINATION_GRACE_PERIOD_SECONDS=30
	cni_hands_over b
	mark=$(cat "$LAB_DIR/agent-new.mark")
	lab_wait_log 10 agent-new "$mark" 'culvertd ready'
	for i in 1 2 3 4 5 6 7 8; do request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"; done
	lab_signal TERM agent-b
	lab_wait 5 lab_logged agent-b 0 'shutting down'
	for i in 1 2 3 4 5 6 7 8; do
		request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
		request outside "http://$SERVER4:8080" "$(lab_ip outside)"
	done
	lab_wait 30 test -s "$LAB_DATA/old.rc"
	expect_eq "curl's exit status of what the old one carried" 0 "$(cat "$LAB_DATA/old.rc")"
	cmp "$LAB_DATA/old.body" "$WWW/big"
	lab_wait 20 lab_is_gone agent-b
	expect_eq "the old one's exit status" 0 "$(cat "$LAB_DIR/exit/agent-b")"
	request pod-a1 "http://$SERVER4:8080" "$(lab_ip pod-a1)"
}

denied() {
	local rc=0 mark
	lab_deny deny-all server >"$LAB_DATA/deny"
	lab_mesh <"$LAB_DATA/deny"
	lab_stop agent-new
	inpod_agent_launch b
	cni_hands_over b
	mark=$(lab_mark agent-b)
	lab_curl pod-a1 "http://$SERVER4:8080/known" -o /dev/null 2>/dev/null || rc=$?
	expect_match "curl's exit status" '^(56|7)$' $rc
	lab_wait_log 5 agent-b "$mark" 'error=.*explicitly denied by: demo/deny-all'
	rc=0
	lab_curl outside "http://$SERVER4:8080/known" -o /dev/null 2>/dev/null || rc=$?
	expect_match "curl's exit status from outside" '^(56|7|52)$' $rc
}

sigterm() {
	lab_stop agent-a
	lab_stop agent-b
	lab_wait 5 lab_has_no_listener pod-a1 15001
	lab_has_no_listener pod-b1 15008
}

no_bpf() {
	expect_eq "open descriptors that are BPF's" 0 "$(find "/proc/$(lab_pid agent-b)/fd" -lname 'anon_inode:bpf*' | wc -l)"
}

# The agent's own pod: its metrics, in a tunnel to its own namespace.
# The values of these labels, a line for each line of labels.
labels_of() { # LABEL...
	local line name out
	while IFS= read -r line; do
		out=
		for name; do out+=" \"$(sed -nE "s/(^|.*,)$name=\"([^\"]*)\".*/\2/p" <<<"$line")\""; done
		say "${out# }"
	done
}

metrics_in_a_tunnel() {
	local mark
	mark=$(lab_mark agent-b)
	expect_eq "curl's status" 200 "$(lab_curl pod-a1 "http://$(lab_ip node-b):15020/metrics" -o "$LAB_DATA/body" -w '%{http_code}')"
	grep -q '^culvert_tls_handshakes_total' "$LAB_DATA/body"
	lab_wait_log 5 agent-b "$mark" 'src.identity="spiffe://cluster.local/ns/demo/sa/client".*dst.hbone_addr=[^ ]*:15020.*sa/agent"'
	lab_curl node-b http://127.0.0.1:15020/metrics -o "$LAB_DATA/body"
	expect_match "connections to the agent itself" \
		'"destination" "mutual_tls" "spiffe://cluster.local/ns/demo/sa/agent" "spiffe://cluster.local/ns/demo/sa/client"' \
		"$(sed -nE 's/^istio_tcp_connections_opened_total\{(.*)\} [1-9][0-9]*$/\1/p' "$LAB_DATA/body" | labels_of \
			reporter connection_security_policy destination_principal source_principal)"
	lab_has_no_listener node-b 15001
	lab_has_no_listener node-b 15006
}

cases_cleanup() {
	lab_down && lab_leftovers && rmdir /run/culvert
}

LAB_GUESTS=node-b:agent
cases_start
if ! inpod_possible; then
	case_skip all "no packet filter rules can be made here"
	cases_cleanup
	exit 77
fi
lab_nginx
WWW=$LAB_DATA/nginx-pod-b1/www
yes culvert-known-plaintext | head -c 1048576 >"$WWW/known"
head -c 40000000 /dev/urandom >"$WWW/big"
for pod in "${LAB_PODS[@]}"; do inpod_rules "${pod%:*}"; done
cni_start a
cni_start b

case_run "it needs its capabilities" needs_its_capabilities
case_run "agents start, pods are handed over, both are ready" start_and_hand_over
case_run "requests carry their clients' addresses, IPv4 and IPv6" all_requests
case_run "plaintext from outside is passed through" plaintext
case_run "only HBONE over TLS 1.3 is on the link" only_hbone_on_the_link
case_run "the access log names both identities" log_names_both
case_run "the agent's ports answer as ztunnel's" ports_of_the_agent
case_run "the agent's own metrics, in a tunnel" metrics_in_a_tunnel
case_run "our ports lead nowhere" our_ports_are_nobodys
case_run "no BPF program is loaded" no_bpf
case_run "a pod that is deleted ends its live flows" del_ends_live_flows
case_run "a pod that is added twice notices nothing" adding_twice_changes_nothing
case_run "another namespace for the same pod replaces it" another_namespace_replaces
case_run "what cannot be served is refused with its reason" refusals
case_run "a port that is taken is waited for" taken_port_is_waited_for
case_run "a second SnapshotSent" nonsense 'second time' snapshot
case_run "Keep after the snapshot" nonsense 'after the snapshot' keep uid-server
case_run "a descriptor with Keep" nonsense 'takes none' keep-fd uid-server "$(inpod_netns pod-b1)"
case_run "two descriptors" nonsense 'more than one descriptor' add-fds uid-x demo x x "$(inpod_netns outside)" 2
case_run "ten descriptors" nonsense 'more descriptors' add-fds uid-x demo x x "$(inpod_netns outside)" 10
case_run "a packet that is no message" nonsense 'not a message' raw ffffff
case_run "an empty message of no kind" nonsense 'not a message' raw 2200
case_run "a packet that is too long" nonsense 'longer' zeros 1025
case_run "a name with a line break" nonsense 'not a message' raw 0a060a0178120312010a
case_run "a pod that the mesh does not know is waited for" unknown_pod_waits
case_run "a snapshot drops what it does not mention" snapshot_drops_the_unmentioned
case_run "istio-cni is away and comes back" istio_cni_away
case_run "two instances, one after the other" two_instances
case_run "policy denies, in tunnels and in plaintext" denied
case_run "SIGTERM ends both with status 0" sigterm
cases_end

#!/usr/bin/env bash
# sandwich: waypoints that are pods of ours: pod-b1 behind an application tunnel with PROXY headers,
# pod-b2 behind one without, and the reader of the headers is not ours.
. "$(dirname "$0")/../support/cases.sh"
. "$LAB_ROOT/tests/support/certs.sh"

PYTHON=/usr/bin/python3
SUPPORT=$LAB_ROOT/tests/support
SA=spiffe://cluster.local/ns/demo/sa
B1=$(lab_ip pod-b1) B1_6=$(lab_ip -6 pod-b1) B2=$(lab_ip pod-b2)
A1=$(lab_ip pod-a1) A1_6=$(lab_ip -6 pod-a1) OUT=$(lab_ip outside)

make_mesh() {
	# Denied by the port behind the application tunnel, which is what policy judges.
	lab_deny no-15088 server other | sed 's/sa\/other\]}/sa\/other], destinationPorts: [15088]}/' | lab_mesh
	sed -i -e '/^  name: server$/a\  applicationTunnel: {protocol: PROXY, port: 15088}' \
		-e '/^  name: vault$/a\  applicationTunnel: {protocol: NONE, port: 7777}' "$LAB_DIR/mesh.yaml"
	cat >>"$LAB_DIR/mesh.more" <<-YAML
	- name: fronted
	  namespace: demo
	  hostname: fronted.demo.svc.cluster.local
	  vips: ["/fd00:96::50", /10.96.0.50]
	  ports: {80: 8080}
	YAML
	sed -i "/^services:/r $LAB_DIR/mesh.more" "$LAB_DIR/mesh.yaml"
}

start() {
	LAB_SELECTED=server=demo/no-15088
	make_mesh
	lab_agents_start
}

start_apps() {
	lab_spawn proxy-app pod-b1 $PYTHON "$SUPPORT/proxy_app.py" 15088 && lab_wait_port pod-b1 15088
	lab_spawn plain-app pod-b2 $PYTHON "$SUPPORT/proxy_app.py" 7777 --plain && lab_wait_port pod-b2 7777
}

app_gets() { # WHERE ADDRESS PORT WANT
	local got
	got=$(lab_in "$1" $PYTHON -c "
import socket
s = socket.create_connection(('$2', $3), 10)
s.sendall(b'hello')
s.shutdown(socket.SHUT_WR)
data = b''
while piece := s.recv(65536):
    data += piece
print(data.decode())")
	expect_eq "the app's answer" "$4" "$got"
}

peer_gets() { # AUTHORITY WANT
	local got
	got=$(lab_in outside $PYTHON "$SUPPORT/hbone_client.py" say "$B1" --authority "$1" \
		--certs "$CERTS" --ca "$LAB_DIR/ca-cert.pem" 2>"$LAB_DATA/client") || fail "$(cat "$LAB_DATA/client")"
	expect_eq "the waypoint's answer" "$2" "$got"
}

policy_sees_the_tunnels_port() {
	local mark
	mark=$(lab_mark agent-b)
	lab_in pod-a2 $PYTHON "$SUPPORT/hbone_app.py" end "$B1" 80 >"$LAB_DATA/end"
	expect_match "what the app reads" '^ reset ' "$(cat "$LAB_DATA/end")"
	lab_wait_log 5 agent-b "$mark" 'dst.hbone_addr=10.2.0.11:80.*policy rejection.*no-15088' ||
		fail "agent b says: $(lab_since agent-b "$mark")"
}

nobody_listens() {
	lab_kill proxy-app
	peer_gets 1.2.3.4:80 '503 '
	start_proxy
}
start_proxy() {
	lab_spawn proxy-app pod-b1 $PYTHON "$SUPPORT/proxy_app.py" 15088 && lab_wait_port pod-b1 15088
}

# The same at the pod's own address, where the source is what the app is told to see.
not_at_loopback() {
	lab_stop agent-b
	LAB_SETTINGS='localhostAppTunnel: false' lab_settings b
	lab_agent_start b
	app_gets pod-a1 "$B1" 80 "TCP4 src=$A1 sport=yes dst=$B1 dport=80 0xd0=$SA/client from=$A1 said=hello"
}

if ! $PYTHON -c 'import h2' 2>/dev/null; then
	case_skip all "needs Debian's python3-h2"
	exit 77
fi
cases_start
certs_init
certs_make peer "URI:$SA/peer" || exit 1
case_run "agents start" start
case_run "waypoints start" start_apps
case_run "an address of its own" app_gets pod-a1 "$B1" 80 \
	"TCP4 src=$A1 sport=yes dst=$B1 dport=80 0xd0=$SA/client from=127.0.0.1 said=hello"
case_run "the same over IPv6" app_gets pod-a1 "$B1_6" 80 \
	"TCP6 src=$A1_6 sport=yes dst=$B1_6 dport=80 0xd0=$SA/client from=::1 said=hello"
case_run "an address it stands in front of" peer_gets 1.2.3.4:80 \
	"200 TCP4 src=$OUT sport=yes dst=1.2.3.4 dport=80 0xd0=$SA/peer from=127.0.0.1 said=hello"
case_run "an address of the other family" peer_gets "[fd00:96::7]:80" \
	"200 UNSPEC 0xd0=$SA/peer from=127.0.0.1 said=hello"
case_run "a service it stands in front of, by name" peer_gets fronted.demo.svc.cluster.local:80 \
	"200 TCP4 src=$OUT sport=yes dst=10.96.0.50 dport=80 0xd0=$SA/peer from=127.0.0.1 said=hello"
case_run "a service nobody knows" peer_gets nobody.demo.svc.cluster.local:80 '503 '
case_run "a port of the agent" peer_gets 1.2.3.4:15006 '503 '
case_run "policy sees the port behind the tunnel" policy_sees_the_tunnels_port
case_run "without PROXY: another port, and the client's address" app_gets pod-a1 "$B2" 80 "from=$A1 said=hello"
case_run "nobody listens" nobody_listens
case_run "not at loopback" not_at_loopback
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

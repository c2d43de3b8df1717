#!/usr/bin/env bash
# hostnames: endpoints that the mesh knows by a host name only: looked up when they are dialled, with a
# name server of ours, which also says nothing, fails, and names addresses where nobody listens.
. "$(dirname "$0")/../support/cases.sh"

PYTHON=/usr/bin/python3
SUPPORT=$LAB_ROOT/tests/support
OUT=$(lab_ip outside) OUT6=$(lab_ip -6 outside) B1=$(lab_ip pod-b1)
NOBODY=10.99.0.2 # node-b: it refuses

named() { # HOST NAME PROTOCOL
	lab_workload outside "$2" | sed "/^  services:/d; s/workloadIps:.*/workloadIps: []/; s/protocol: HBONE/protocol: $3/; s/^- uid: .*/- uid: named-$1/"
	printf '  %s\n' "hostname: $1" "services: {demo/$1: {80: 8080}${4:+, $4}}"
}
service() { # NAME VIP...
	say "- {name: $1, namespace: demo, hostname: $1, vips: [$2], ports: {80: 8080}}"
}

write_mesh() {
	{
		say "workloads:"
		lab_workload pod-a1 client
		lab_workload pod-b1 server | sed '/^  services:/d'
		say "  services: {demo/maybe.example: {80: 8080}}"
		named machine.example machine TCP
		named server.example server HBONE
		named many.example machine TCP
		named gone.example machine TCP
		named fails.example machine TCP
		named silent.example machine TCP 'demo/maybe.example: {80: 8080}'
		say "services:"
		service machine.example "/10.96.1.1, '/fd96::1:1'"
		service server.example /10.96.1.2
		service many.example /10.96.1.3
		service gone.example /10.96.1.4
		service fails.example /10.96.1.5
		service silent.example /10.96.1.6
		service maybe.example /10.96.1.7
	} >"$LAB_DIR/mesh.yaml"
}

# With its own resolv.conf, which nobody else sees.
agent_a() {
	lab_mark agent-a >"$LAB_DIR/agent-a.mark"
	say "nameserver 127.0.0.1
options timeout:2 attempts:1" >"$LAB_DIR/resolv.conf"
	lab_spawn agent-a node-a unshare --mount --propagation private sh -ec "
		mount --bind $LAB_DIR/resolv.conf $(readlink -f /etc/resolv.conf)
		exec '$LAB_BUILD/agent/culvertd' --config '$LAB_DIR/agent-a.yaml'"
	lab_agent_ready a
}

start() {
	write_mesh
	lab_spawn dns node-a $PYTHON -u "$SUPPORT/dns_server.py" 127.0.0.1 "machine.example=$OUT,$OUT6" \
		"server.example=$B1" "many.example=$NOBODY,$OUT" fails.example=fails silent.example=silent
	lab_wait_log 10 dns 0 serving
	lab_agent_start b
	agent_a
	lab_spawn app-pod-b1 pod-b1 $PYTHON "$SUPPORT/web_app.py" serve 8080 v1
	lab_spawn app-outside outside $PYTHON "$SUPPORT/web_app.py" serve 8080 v2
	lab_wait_port pod-b1 8080
	lab_wait_port outside 8080
}

logged() { # MARK REGEX
	lab_wait_log 5 agent-a "$1" "$2" || fail "agent a says: $(lab_since agent-a "$1")"
}
count() { # REGEX
	curl -sS --unix-socket "$LAB_DIR/admin-a.sock" http://localhost/metrics |
		awk -v wanted="$1" '$0 ~ wanted { sum += $NF } END { print sum + 0 }'
}
asked() { grep -c "^asked $1" "$LAB_DIR/log/dns.log"; } # NAME

not_in_the_mesh() {
	local mark
	mark=$(lab_mark agent-a)
	expect_works pod-a1 http://10.96.1.1/
	logged "$mark" "dst.addr=$OUT:8080 dst.service=\"machine.example\".*outbound"
	mark=$(lab_mark agent-a)
	expect_works pod-a1 "http://[fd96::1:1]/"
	logged "$mark" "dst.addr=\[$OUT6\]:8080 dst.service=\"machine.example\".*outbound"
	expect_eq "used" 2 "$(count '^istio_on_demand_dns_total{.*source_principal="spiffe://cluster.local/ns/demo/sa/client".*hostname="machine.example"')"
}

on_hbone() {
	local mark
	mark=$(lab_mark agent-a)
	expect_works pod-a1 http://10.96.1.2/
	logged "$mark" "dst.addr=$B1:15008 dst.hbone_addr=$B1:8080 dst.service=\"server.example\".*dst.identity=\"spiffe://cluster.local/ns/demo/sa/server\".*outbound"
}

kept() {
	local before since=$SECONDS
	before=$(asked machine.example)
	for _ in 1 2 3 4 5; do expect_works pod-a1 http://10.96.1.1/ || return 1; done
	# Two questions, A and AAAA, once in the 5 s that an answer is kept.
	[ "$(asked machine.example)" -le $((before + 2 * (1 + (SECONDS - since) / 5))) ] || fail "asked $(asked machine.example) times, $before before"
}

# Half of the draws begin where nobody listens; once that was met it is avoided for a time.
next_address() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do expect_works pod-a1 http://10.96.1.3/ || return 1; done
	some_failed() { expect_works pod-a1 http://10.96.1.3/ && [ "$(count '^culvert_failovers_total{after="tcp"}')" -ge 1 ]; }
	lab_wait 30 some_failed || fail "no address was passed over"
}

refused() { # VIP REGEX
	local mark got
	mark=$(lab_mark agent-a)
	got=$(lab_curl pod-a1 "http://$1/" 2>&1) && fail "it was answered: $got"
	expect_match "curl says" "reset by peer" "$got"
	logged "$mark" "warn.*connection failed.*dst.addr=$1:80 .*error=\"no ip addresses were resolved for workload: $2\""
}
no_such_name() { refused 10.96.1.4 'named-gone.example: gone.example: no such name, or it has no address'; }
it_fails() { refused 10.96.1.5 'named-fails.example: fails.example: the name servers do not answer, or fail'; }

# A lookup that hangs is nobody else's, and another endpoint is tried after it.
silent() {
	lab_spawn hangs pod-a1 curl -sS --max-time 30 http://10.96.1.6/
	lab_wait_log 5 dns 0 'asked silent.example' || fail "it was not asked for"
	expect_works pod-a1 http://10.96.1.1/
	lab_is_running hangs || fail "the lookup did not hang"
	some_failed() { expect_works pod-a1 http://10.96.1.7/ && [ "$(count '^culvert_failovers_total{after="name"}')" -ge 1 ]; }
	lab_wait 60 some_failed || fail "the silent name was never drawn"
	lab_wait 15 lab_is_gone hangs || fail "the lookup never ends"
	expect_match "curl says" "reset by peer" "$(cat "$LAB_DIR/log/hangs.log")"
}

cases_start
case_run "agents, apps and a name server start" start
case_run "an endpoint outside the mesh, IPv4 and IPv6" not_in_the_mesh
case_run "an endpoint in the mesh" on_hbone
case_run "an answer is kept for a time" kept
case_run "an address where nobody listens: the next one" next_address
case_run "no such name" no_such_name
case_run "the name server fails" it_fails
case_run "a silent name server holds nobody else" silent
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

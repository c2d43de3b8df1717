#!/usr/bin/env bash
# faults: what a control plane may do wrong, one thing after the other, to two agents under traffic. After each: the
# log and the metrics say what it was, both agents live, have no more descriptors than before, and serve. At the
# end both are asked to end, and have lost no memory (where the build looks for that).
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/controlplane.sh"

SERVER=$(lab_ip pod-b1)
WEB="http://$SERVER:8080/"
CLIENT=spiffe://cluster.local/ns/demo/sa/client
TTL=8 # seconds that a certificate lives: both agents ask for others all the time
ADDRESS='url="type.googleapis.com/istio.workload.Address"'
FEW=0 # addresses of the mesh

metric() { lab_ctl a raw /metrics | awk -v name="$1" '$1 == name { print $2; found = 1 } END { if (!found) print 0 }'; } # NAME{LABELS}
more() { [ "$(metric "$1")" -gt "$2" ]; }                                                                               # NAME{LABELS} THAN
is() { [ "$(metric "$1")" = "$2" ]; }
answers() { [ "$(lab_curl pod-a1 "$WEB" -o /dev/null -w '%{http_code}' 2>/dev/null)" = 200 ]; }
agents() { echo "$(lab_pid agent-a) $(lab_pid agent-b)"; }
fds_are() { [ "$(lab_fds a)" -le "$1" ] && [ "$(lab_fds b)" -le "$2" ]; }
settled() { controlplane streams 2 60 >/dev/null; }
# No connection of traffic, old or new: only what an agent at rest has.
at_rest() {
	local a=0 b=0 round
	for round in 1 2 3 4 5; do
		[ "$(lab_fds a)" -gt "$a" ] && a=$(lab_fds a)
		[ "$(lab_fds b)" -gt "$b" ] && b=$(lab_fds b)
		answers
	done
	echo "$a $b"
}

begin() {
	controlplane_start
	controlplane ca-ttl $TTL >/dev/null
	LAB_SETTINGS='poolUnusedReleaseTimeout: 1s' controlplane_settings a
	LAB_SETTINGS='poolUnusedReleaseTimeout: 1s' controlplane_settings b
	lab_agent_launch a && lab_agent_launch b
	lab_agent_ready a 30 && lab_agent_ready b 30
	settled
	lab_wait 10 answers || fail "not answered"
	agents >"$LAB_DATA/agents"
	metric "culvert_xds_resources{$ADDRESS}" >"$LAB_DATA/few"
	at_rest >"$LAB_DATA/fds"
}

# The frame of each: FUNCTION does it, waits for its end, and puts it right again.
fault() { # LOG METRIC FUNCTION...; METRIC has to grow; LOG: of agent a
	local mark before log=$1 metric=$2
	shift 2
	FEW=$(cat "$LAB_DATA/few")
	mark=$(lab_mark agent-a)
	before=$(metric "$metric")
	"$@"
	lab_wait_log 20 agent-a "$mark" "$log" || fail "agent a says nothing like $log"
	lab_wait 20 more "$metric" "$before" || fail "$metric does not grow: $before, $(metric "$metric")"
	settled
	lab_wait 20 answers || fail "not answered afterwards"
	lab_wait 10 is "culvert_xds_resources{$ADDRESS}" "$FEW" || fail "it knows other addresses than before"
	expect_eq "the processes" "$(cat "$LAB_DATA/agents")" "$(agents)"
	read -r a b <"$LAB_DATA/fds"
	lab_wait 40 fds_are "$a" "$b" || fail "descriptors: $a and $b before, $(lab_fds a) and $(lab_fds b) now"
}
ended() { echo "istio_xds_connection_terminations_total{reason=\"$1\"}"; } # REASON
FAILED='culvert_certificate_requests_total{result="failed"}'
TAKEN="istio_xds_message_total{$ADDRESS}"

# ---- xDS ----
bad_resource() {
	controlplane put address bad 0a0528022a0161 >/dev/null
	expect_match "a NACK" '^ok 3 bad: the value is no Address' "$(controlplane expect-nack 10 address)"
	expect_match "and the other" '^ok 3 bad: ' "$(controlplane expect-nack 10 address)"
	answers || fail "not answered with a resource refused"
	controlplane remove address bad >/dev/null
}
all_bad() { # each response, on each stream: the waits grow
	local i count streams
	streams=$(controlplane status | grep -o '"streams": [0-9]*' | tail -n 1)
	for i in 1 2 3 4 5 6; do
		controlplane raw 1205 >/dev/null
		settled
	done
	answers || fail "not answered while responses are broken"
	count=$(lab_since agent-a "$1" | grep -c 'is no response of xDS')
	[ "$count" -ge 6 ] || fail "it was told $count times, and before there were $streams"
}
cut_in_a_push() {
	controlplane cut-after 300000 >/dev/null
	controlplane huge 20000 >/dev/null
	settled
	lab_wait 10 is "culvert_xds_resources{$ADDRESS}" $((FEW + 20000)) || fail "they are not all there"
	answers || fail "not answered with many"
	controlplane huge 0 >/dev/null
	settled
}
shaped() { # SHAPE...: a push, and all again on a new stream
	controlplane shape "$@" >/dev/null
	controlplane huge 2000 >/dev/null
	settled
	is "culvert_xds_resources{$ADDRESS}" $((FEW + 2000)) || fail "after a push: $(metric "culvert_xds_resources{$ADDRESS}")"
	controlplane restart >/dev/null
	settled
	lab_wait 10 is "culvert_xds_resources{$ADDRESS}" $((FEW + 2000)) || fail "after a restart: $(metric "culvert_xds_resources{$ADDRESS}")"
	controlplane huge 0 >/dev/null
	settled
	controlplane shape plain >/dev/null
}
huge() {
	controlplane huge 50000 >/dev/null
	settled
	lab_wait 10 is "culvert_xds_resources{$ADDRESS}" $((FEW + 50000)) || fail "they are not all there"
	answers || fail "not answered with so many"
	controlplane huge 0 >/dev/null
	settled
}
goaway() { # a server that ends: GOAWAY, and a second later all calls
	controlplane goaway 1 >/dev/null
}
# As istiod every half an hour: GOAWAY to connections of five seconds, which are closed a second later.
greatest_age() {
	lab_stop controlplane
	controlplane_start --max-age 5
	lab_wait 60 ended_since "$1" 3 || fail "its connections live on"
	answers || fail "not answered meanwhile"
}
ended_since() { [ "$(lab_since agent-a "$1" | grep -c 'xds stream ended.*reason=Error.*Unavailable')" -ge "$2" ]; } # MARK TIMES
wrong_token() {
	cp -p "$LAB_DIR/token-a" "$LAB_DATA/good"
	printf 'this-is-nobodys-token' >"$LAB_DIR/token-a"
	controlplane cut >/dev/null
	lab_wait_log 20 agent-a "$1" 'reason=ConnectionError.*Unauthenticated, authentication failure' || fail "it is let in"
	cat "$LAB_DATA/good" >"$LAB_DIR/token-a"
	expect_none "the token in the log" -F 'this-is-nobodys-token' "$LAB_DIR/log/agent-a.log"
}
no_token() { # an empty file, and one that cannot be a token: what is in it is not said
	cp -p "$LAB_DIR/token-a" "$LAB_DATA/good"
	: >"$LAB_DIR/token-a"
	controlplane cut >/dev/null
	lab_wait_log 20 agent-a "$1" 'reason=ConnectionError.*the token file .*/token-a is empty' || fail "it says nothing of the token"
	printf 'half-of-a-secret\nother-half-of-it' >"$LAB_DIR/token-a"
	lab_wait_log 20 agent-a "$1" 'reason=ConnectionError.*token-a holds bytes that no header may have' || fail "it takes two lines"
	cat "$LAB_DATA/good" >"$LAB_DIR/token-a"
	expect_none "what is in the file" -E 'half-of' "$LAB_DIR/log/agent-a.log"
}
# ---- the server's and the CA's certificates ----
server_expired() {
	controlplane certificate expired >/dev/null
	controlplane cut >/dev/null
	lab_wait_log 20 agent-a "$1" 'xds stream ended.*expired' || fail "it believes a certificate that has ended"
	controlplane certificate good >/dev/null
}
# Of the next answers: each agent asks every few seconds, for three identities in all.
ca_fault() { # FAULT REGEX MARK
	local i
	for i in 1 2 3 4 5 6 7 8; do
		controlplane ca-fault "$1" 3 >/dev/null
		if lab_wait_log 4 agent-a "$3" "$2"; then
			break
		fi
	done
	answers || fail "the good one is not used on"
}
ca_slow() {
	controlplane ca-slow 60 >/dev/null
	lab_wait_log 30 agent-a "$1" 'signing gRPC error \(DeadlineExceeded\)' || fail "it waits without end"
	controlplane ca-release >/dev/null
}
ca_refuses() {
	controlplane ca-refuse $CLIENT >/dev/null
	lab_wait_log 20 agent-a "$1" 'certificate has ended and could not be renewed.*request impersonation' || fail "it has one still"
	! answers || fail "answered without an identity"
	controlplane ca-accept $CLIENT >/dev/null
}
at() { # FUNCTION: with the mark of now
	"$@" "$(lab_mark agent-a)"
}

rules_kept() {
	controlplane no-violations >/dev/null
	controlplane no-nacks >/dev/null
}
# Both end by themselves: with status 0, which a leak would not leave them.
ends_clean() {
	lab_agents_stop
	expect_none "leaks" -l LeakSanitizer "$LAB_DIR/log/agent-a.log" "$LAB_DIR/log/agent-b.log"
}
nothing_secret() {
	expect_none "tokens and keys" -lF -e "$(cat "$LAB_DIR/token-a")" -e "$(cat "$LAB_DIR/token-b")" -e '-----BEGIN' \
		"$LAB_DIR/log/agent-a.log" "$LAB_DIR/log/agent-b.log"
}

LAB_LOG=trace
cases_start
lab_mesh </dev/null
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents start" begin
case_run "a resource that cannot be taken" fault 'cannot be taken and stay as they were.*refused=1.*bad: the value is no Address' \
	"culvert_xds_nacks_total{$ADDRESS}" bad_resource
case_run "no response of xDS, again and again" fault 'xds stream ended.*reason=Error.*is no response of xDS' "$(ended Error)" at all_bad
case_run "cut in the middle of a push" fault 'xds stream ended.*reason=Reconnect' "$(ended Reconnect)" cut_in_a_push
case_run "each resource twice" fault 'xds response taken.*Address resources=4000 removed=0' "$TAKEN" shaped duplicate
case_run "each response twice" fault 'xds response taken.*Address resources=2000 removed=0' "$TAKEN" shaped twice
case_run "in another order" fault 'xds response taken.*Address resources=2000 removed=0' "$TAKEN" shaped reverse
case_run "policies before what names them" fault 'xds response taken.*Address resources=2000 removed=0' "$TAKEN" shaped policies-first
case_run "in many parts" fault 'xds response taken.*Address resources=100 removed=0' "$TAKEN" shaped split 100
case_run "a huge push" fault 'xds response taken.*Address resources=50000 removed=0' "$TAKEN" huge
case_run "GOAWAY, and the end" fault 'xds stream ended.*reason=Error.*Unavailable' "$(ended Error)" goaway
case_run "a token that is wrong" fault 'Unauthenticated, authentication failure; istiod.s log says why' "$(ended ConnectionError)" at wrong_token
case_run "a token's file that is empty" fault 'xds stream ended.*reason=ConnectionError' "$(ended ConnectionError)" at no_token
case_run "a server whose certificate has ended" fault 'xds stream ended.*reason=ConnectionError' "$(ended ConnectionError)" at server_expired
case_run "certificates that have ended" fault 'was not renewed.*the certificate that came has ended already' "$FAILED" \
	at ca_fault expired 'the certificate that came has ended already'
case_run "certificates that begin later" fault 'was not renewed.*the certificate that came is not valid yet' "$FAILED" \
	at ca_fault not-yet 'the certificate that came is not valid yet'
case_run "a CA that has ended" fault 'was not renewed.*none of the root certificates that came is valid now' "$FAILED" \
	at ca_fault expired-root 'none of the root certificates that came is valid now'
case_run "a CA that is slow" fault 'signing gRPC error \(DeadlineExceeded\)' "$FAILED" at ca_slow
case_run "an identity that is refused" fault "identity=$CLIENT.*\(Unauthenticated\): request impersonation authentication failure" \
	"$FAILED" at ca_refuses
case_run "the rules of the protocol are kept" rules_kept
case_run "connections that come of age" fault 'xds stream ended.*reason=Error.*Unavailable' "$(ended Error)" at greatest_age
case_run "both end, and have lost nothing" ends_clean
case_run "nothing secret in any log" nothing_secret
cases_end

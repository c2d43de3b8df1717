#!/usr/bin/env bash
# interop: HBONE with peers not written here: openssl for each rule of TLS, python3-h2 as client and
# as server to the byte, nghttp2's tools, and a real Envoy in both roles.
. "$(dirname "$0")/../support/cases.sh"
. "$LAB_ROOT/tests/support/certs.sh"
. "$LAB_ROOT/tests/support/openssl.sh"
. "$LAB_ROOT/tests/support/envoy.sh"

SERVER=$(lab_ip pod-b1)
FOREIGN=$(lab_ip outside)
PYTHON=/usr/bin/python3
APP=$LAB_ROOT/tests/support/hbone_app.py
SA=URI:spiffe://cluster.local/ns/demo/sa
BAGGAGE=k8s.cluster.name=Kubernetes,k8s.namespace.name=demo
APP_PORTS=(9001=echo 9002=tail 9003=farewell 9004=reset 9005=source 9006=hold)

make_certs() {
	certs_root stranger
	certs_make peer "$SA/peer"
	certs_make foreign "$SA/foreign"
	certs_make impostor "$SA/impostor"
	certs_make denied "$SA/denied"
	certs_make envoy "$SA/foreign"
	certs_make other-account "URI:spiffe://cluster.local/ns/elsewhere/sa/any"
	certs_make other-domain "URI:spiffe://example.org/ns/demo/sa/peer"
	certs_make second-san "URI:spiffe://example.org/ns/demo/sa/peer,$SA/denied"
	certs_make no-san DNS:peer.example
	certs_make expired "$SA/peer" 20200101000000Z 20200102000000Z
	certs_make early "$SA/peer" 20980101000000Z 20990101000000Z
	certs_make wrong-ca "$SA/peer" $CERTS_EARLIER $CERTS_LATER "$CERTS/stranger.crt" "$CERTS/stranger.key"
}

start_agents() {
	LAB_GUESTS=outside:foreign
	lab_deny deny-denied server denied >"$LAB_DATA/deny"
	LAB_SELECTED=server=demo/deny-denied
	lab_mesh <"$LAB_DATA/deny"
	# A second service of the server leads to the same port.
	sed -i 's|services: {demo/web|services: {demo/all.demo.svc.cluster.local: {8080: 8080}, demo/web|
		s|^- name: web|- {name: all, namespace: demo, hostname: all.demo.svc.cluster.local, vips: [], ports: {8080: 8080}}\n&|' \
		"$LAB_DIR/mesh.yaml"
	lab_agents_start
}

start_apps() { # WHERE
	lab_spawn "app-$1" "$1" $PYTHON "$APP" serve "${APP_PORTS[@]}" && lab_wait_port "$1" 9006
}

# ---- python3-h2 as client ----

client() { # CASE ARGS...
	local case=$1
	shift
	lab_in outside $PYTHON "$LAB_ROOT/tests/support/hbone_client.py" "$case" "$SERVER" \
		--certs "$CERTS" --ca "$LAB_DIR/ca-cert.pem" "$@" 2>"$LAB_DATA/client" ||
		fail "$(cat "$LAB_DATA/client")"
}

app_says() { # MARK COUNT REGEX
	lab_wait 5 app_said "$@" || fail "not $2 lines match '$3'; the app says: $(lab_since app-pod-b1 "$1")"
}
app_said() { [ "$(lab_since app-pod-b1 "$1" | grep -cE -e "$3")" = "$2" ]; }

exchange() { client exchange --baggage $BAGGAGE; }

app_finishes_first() {
	local mark
	mark=$(lab_mark app-pod-b1)
	client app_finishes_first
	app_says "$mark" 1 'farewell .*got=100000 end=eof'
}

we_reset() {
	local mark
	mark=$(lab_mark app-pod-b1)
	client we_reset
	app_says "$mark" 4 'hold .*end=reset'
}

# Its words count where its address does not: the lab's own network is "".
introduces() { # NETWORK REGEX
	local mark
	mark=$(lab_mark agent-b)
	client introduces --network "$1"
	lab_wait_log 5 agent-b "$mark" "$2.*src.identity=\"spiffe://cluster.local/ns/demo/sa/peer\".*direction=\"inbound\"" ||
		fail "agent b says: $(lab_since agent-b "$mark")"
}

# Each with its answer, and the log says what was wrong.
refusals() {
	local mark words
	mark=$(lab_mark agent-b)
	client refusals
	for words in 'expected method CONNECT, got GET' "no valid authority pseudo header: $SERVER:70000" "no valid authority pseudo header: $SERVER" \
		'ip mismatch: 10.2.0.11 != 127.0.0.1' 'no service or workload for hostname: nobody.demo.svc.cluster.local' \
		'connection failed: Connection refused \(os error 111\)'; do
		lab_wait_log 5 agent-b "$mark" "src.addr=$FOREIGN:.*direction=\"inbound\".*error=\"$words\"" || fail "nothing says $words"
	done
}

# By its name a service of the pod is meant, whichever else has the port.
by_name() {
	local mark
	mark=$(lab_mark agent-b)
	client named
	lab_wait_log 5 agent-b "$mark" 'dst.hbone_addr=web.demo.svc.cluster.local:80 dst.service="web.demo.svc.cluster.local"' ||
		fail "agent b says: $(lab_since agent-b "$mark")"
}

denied() { # CERTIFICATE
	local mark
	mark=$(lab_mark agent-b)
	client denied --name denied
	lab_wait_log 5 agent-b "$mark" 'sa/denied".*error="connection closed due to policy rejection.*deny-denied' ||
		fail "agent b says: $(lab_since agent-b "$mark")"
}

# ---- python3-h2 as server ----

server_start() { # CERTIFICATE ARGS...
	local name=$1
	shift
	! lab_is_running hbone-server || lab_kill hbone-server
	lab_spawn hbone-server outside $PYTHON "$LAB_ROOT/tests/support/hbone_server.py" "$FOREIGN" \
		--certs "$CERTS" --ca "$LAB_DIR/ca-cert.pem" --name "$name" --baggage $BAGGAGE "$@" &&
		lab_wait_port outside 15008
}

server_saw_nothing_wrong() {
	! grep -E 'WRONG|Traceback' -A 15 "$LAB_DIR/log/hbone-server.log" || fail "the server saw what is not right"
}

app() { lab_in pod-a1 $PYTHON "$APP" "$@"; }

served() { # PORT [ARGS...]
	local port=$1
	shift
	app ask "$FOREIGN" "$port" "$@" >"$LAB_DATA/sums"
	expect_match "SHA-256, sent and received" '^([0-9a-f]{64}) \1$' "$(cat "$LAB_DATA/sums")"
}

served_by_second_connection() {
	local mark
	mark=$(lab_mark hbone-server)
	served "$1"
	expect_eq "tries" "$1 $1" "$(lab_since hbone-server "$mark" | awk -v port="$1" '$1 == port { print $1 }' | xargs)"
}

# Nothing comes but a reset, and soon; the log has the words.
not_served() { # PORT WORDS [WHAT COMES]
	local mark got
	mark=$(lab_mark agent-a)
	got=$(app end "$FOREIGN" "$1" --say x)
	expect_match "what the app reads, and how long it takes" "^${3:-} reset ([12]?[0-9])?[0-9]{1,2}\$" "$got"
	lab_wait_log 5 agent-a "$mark" "connection complete.*dst.hbone_addr=$FOREIGN:$1.*error=\"$2\"" ||
		fail "agent a says: $(lab_since agent-a "$mark")"
}

refused_three_times() {
	local mark
	mark=$(lab_mark hbone-server)
	not_served 7004 'h2 failed: peer refused the stream'
	expect_eq "tries" 3 "$(lab_since hbone-server "$mark" | grep -c '^7004 ')"
}

peer_finishes_first() {
	expect_eq "what the app reads" "farewell eof" "$(app farewell "$FOREIGN" 7008)"
	lab_wait_log 5 hbone-server 0 "farewell got=b'and you' finished=True reset=None" ||
		fail "the server says: $(tail -n 3 "$LAB_DIR/log/hbone-server.log")"
}

# Started first and looked at last: its deadline is 10 s, and other tunnels go on meanwhile.
no_answer_begins() {
	lab_mark agent-a >"$LAB_DATA/never.mark"
	lab_spawn never pod-a1 $PYTHON "$APP" end "$FOREIGN" 7006
}
no_answer_ends() {
	lab_wait 20 lab_has_exited never
	expect_match "what the app reads" '^ reset (9[5-9]|1[0-9][0-9])[0-9]{2}$' "$(cat "$LAB_DIR/log/never.log")"
	lab_logged agent-a "$(cat "$LAB_DATA/never.mark")" ":7006.*error=\".*CONNECT was not answered in time\"" ||
		fail "agent a says: $(lab_since agent-a "$(cat "$LAB_DATA/never.mark")")"
}

ten_streams() {
	local mark
	server_start foreign --streams 10
	mark=$(lab_mark hbone-server)
	served 7000 --connections "$1" --bytes 2000
	say "connections made: $(lab_since hbone-server "$mark" | grep -c '^connection .* from'), refused before SETTINGS: $(
		lab_since hbone-server "$mark" | grep -c 'were not read yet')"
}

# TLS, and then nothing: no SETTINGS, and so nobody knows what it grants.
silent_server() {
	local mark
	server_start foreign --silent
	mark=$(lab_mark agent-a)
	expect_match "what the app reads" '^ reset (4[5-9]|[5-9][0-9]|1[0-9][0-9])[0-9]{2}$' "$(app end "$FOREIGN" 7000)"
	lab_wait_log 5 agent-a "$mark" "dst.hbone_addr=$FOREIGN:7000.*error=\"h2 failed: peer stopped halfway\"" ||
		fail "agent a says: $(lab_since agent-a "$mark")"
}

wrong_identity() {
	server_start impostor
	not_served 7000 'tls error: .*expected identit.*'
}

# ---- nghttp2's tools ----

nghttp_gets_400() {
	local mark
	mark=$(lab_mark agent-b)
	lab_in outside timeout 20 nghttp -v --no-dep --cert="$CERTS/peer.crt" --key="$CERTS/peer.key" -y \
		"https://$SERVER:15008/" >"$LAB_DATA/nghttp" 2>&1 || fail "nghttp: $(tail "$LAB_DATA/nghttp")"
	expect_match "nghttp's report" ':status: 400' "$(cat "$LAB_DATA/nghttp")"
	lab_wait_log 5 agent-b "$mark" 'error="expected method CONNECT, got GET"'
}

# h2load has no client certificates, so haproxy puts it into TLS.
h2load_floods() {
	local report
	cat >"$LAB_DATA/haproxy.cfg" <<-CONF
	defaults
		mode tcp
		timeout connect 5s
		timeout client 30s
		timeout server 30s
	listen hbone
		bind 127.0.0.1:7008
		server pod $SERVER:15008 ssl crt $LAB_DATA/peer.pem ca-file $LAB_DIR/ca-cert.pem alpn h2 verify required
	CONF
	cat "$CERTS/peer.crt" "$CERTS/peer.key" >"$LAB_DATA/peer.pem"
	lab_spawn haproxy outside haproxy -db -f "$LAB_DATA/haproxy.cfg"
	lab_wait_port outside 7008
	report=$(lab_in outside timeout 60 h2load -n 5000 -c 4 -m 50 "http://127.0.0.1:7008/" 2>&1)
	lab_kill haproxy
	expect_match "h2load's report" 'requests: 5000 total, 5000 started, 5000 done, 0 succeeded, 5000 failed, 0 errored' "$report"
	expect_match "h2load's report" 'status codes: 0 2xx, 0 3xx, 5000 4xx, 0 5xx' "$report"
	exchange
}

# ---- Envoy ----

ask_envoy() { # WHERE ADDRESS PORT ARGS...
	local where=$1
	shift
	lab_in "$where" $PYTHON "$APP" ask "$@" >"$LAB_DATA/sums"
	expect_match "SHA-256, sent and received" '^([0-9a-f]{64}) \1$' "$(cat "$LAB_DATA/sums")"
}

finishes_first() { # WHERE ADDRESS PORT-PREFIX
	lab_in "$1" $PYTHON "$APP" tail "$2" "${3}9002" --bytes 100000
	expect_eq "what comes before our end" "farewell eof" "$(lab_in "$1" $PYTHON "$APP" farewell "$2" "${3}9003")"
}

envoy_cases() {
	local why
	if ! why=$(envoy_install); then
		case_skip "a real Envoy in both roles" "$why"
		return
	fi
	case_run "Envoy starts" envoy_start outside pod-b1 9001 9002 9003
	case_run "Envoy as client: one exchange" ask_envoy outside 127.0.0.1 19001
	case_run "Envoy as client: 50 MB each way" ask_envoy outside 127.0.0.1 19001 --bytes 50000000
	case_run "Envoy as client: half-close each way" finishes_first outside 127.0.0.1 1
	case_run "Envoy as client: 40 connections at once" ask_envoy outside 127.0.0.1 19001 --connections 40
	case_run "Envoy as server: one exchange" ask_envoy pod-a1 "$FOREIGN" 9001
	case_run "Envoy as server: 50 MB each way" ask_envoy pod-a1 "$FOREIGN" 9001 --bytes 50000000
	case_run "Envoy as server: half-close each way" finishes_first pod-a1 "$FOREIGN" ""
	case_run "Envoy as server: 120 connections at once" ask_envoy pod-a1 "$FOREIGN" 9001 --connections 120
	case_run "Envoy as server: an authority it has no route for" not_served 9009 'http status: 404 Not Found'
	lab_stop envoy >/dev/null
}

if ! $PYTHON -c 'import h2' 2>/dev/null || ! type nghttp h2load haproxy >/dev/null 2>&1; then
	case_skip all "needs Debian's python3-h2, nghttp2-client and haproxy"
	exit 77
fi
cases_start
certs_init
case_run "certificates" make_certs
case_run "agents and apps start" start_agents
case_run "apps start" start_apps pod-b1
start_apps outside

case_run "TLS: a peer of the mesh is let in" tls_accepts peer -alpn h2
case_run "TLS: another namespace of the trust domain is let in" tls_accepts other-account -alpn h2
case_run "TLS: no ALPN is let in" tls_accepts peer
case_run "TLS: h2 among other ALPNs is let in" tls_accepts peer -alpn http/1.1,h2
case_run "TLS: AES-256 is let in" tls_accepts peer -alpn h2 -ciphersuites TLS_AES_256_GCM_SHA384
case_run "TLS: a second SAN of the trust domain is let in" tls_accepts second-san -alpn h2
case_run "TLS: ALPN without h2 is refused" tls_refuses 120 "peer does not speak h2" peer -alpn http/1.1
case_run "TLS: version 1.2 is refused" tls_refuses 70 "peer does not speak TLS 1.3" peer -alpn h2 -tls1_2
case_run "TLS: ChaCha20 alone is refused" tls_refuses 40 "peer offers no cipher suite of ours" peer -alpn h2 -ciphersuites TLS_CHACHA20_POLY1305_SHA256
case_run "TLS: no client certificate is refused" tls_refuses 116 "peer showed no certificate" - -alpn h2
case_run "TLS: an unknown CA is refused" tls_refuses 48 "peer certificate refused .*: .*" wrong-ca -alpn h2
case_run "TLS: an expired certificate is refused" tls_refuses 45 "peer certificate refused .*: expired" expired -alpn h2
case_run "TLS: a certificate of the future is refused" tls_refuses 45 "peer certificate refused .*: not valid yet" early -alpn h2
case_run "TLS: another trust domain is refused" tls_refuses 42 "peer certificate is of another trust domain: spiffe:.*" other-domain -alpn h2
case_run "TLS: no SPIFFE identity is refused" tls_refuses 42 "peer certificate .*identit.*" no-san -alpn h2

case_run "client: preface, answer, bytes both ways" exchange
case_run "client: it finishes first" client we_finish_first
case_run "client: the app finishes first" app_finishes_first
case_run "client: the app resets" client app_resets
case_run "client: its RST_STREAM is a reset" we_reset
case_run "client: 29 requests that are refused, each with its answer" refusals
case_run "client: a service by its name" by_name
case_run "client: headers of 70 KB" client large_headers
case_run "client: denied by policy" denied
case_run "client: of another network, it is who it says" introduces beyond 'src.workload="visitor".*src.namespace="beyond"'
case_run "client: of our network, it is whose address it has" introduces "" 'src.workload="foreign".*src.namespace="demo"'
case_run "client: policy sees the first SAN alone" client exchange --name second-san --baggage $BAGGAGE
case_run "client: windows are kept to the byte" client small_window
case_run "client: the 1001st stream is refused" client too_many_streams
case_run "nghttp: a GET is answered 400" nghttp_gets_400
case_run "h2load: 5,000 GETs, and all is well afterwards" h2load_floods

server_start foreign
case_run "server: one that never answers" no_answer_begins
case_run "server: preface, CONNECT, bytes both ways" served 7000
case_run "server: 100 and 103, then 200" served 7001
for status in 201 204 302 401 403 503; do
	case_run "server: $status is a reset, and the log names it" not_served "7$status" "http status: $status.*"
done
case_run "server: a body with 206 never reaches the app" not_served 7206 "http status: 206.*"
case_run "server: GOAWAY before the answer is tried again" served_by_second_connection 7002
case_run "server: REFUSED_STREAM is tried again" served_by_second_connection 7003
case_run "server: REFUSED_STREAM for ever is given up" refused_three_times
case_run "server: RST_STREAM before the answer" not_served 7005 'h2 failed: stream reset by peer \(2 INTERNAL_ERROR\)'
case_run "server: RST_STREAM in midstream" not_served 7007 'h2 failed: stream reset by peer \(8 CANCEL\)' 'so far'
case_run "server: the connection lost in midstream" not_served 7009 'tls error: connection was cut without notice' 'so far'
case_run "server: it finishes first" peer_finishes_first
case_run "server: and the one that never answers is given up" no_answer_ends
case_run "server: 10 streams granted, 25 connections" ten_streams 25
case_run "server: 10 streams granted, 60 connections" ten_streams 60
case_run "server: silent after TLS" silent_server
case_run "server: the certificate of another" wrong_identity
case_run "server: each preface and each CONNECT was as it should be" server_saw_nothing_wrong
lab_kill hbone-server

envoy_cases
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

#!/usr/bin/env bash
# certfiles: a certificate from files that somebody else renews: not there yet, there, renewed under a
# connection that lives, broken, and not for everybody; what is said of it where.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/certs.sh"

SERVER=$(lab_ip pod-b1)

renew() { # NAME: a certificate for demo/NAME takes its place
	certs_make "$1" "URI:spiffe://cluster.local/ns/demo/sa/$1" || return
	cp "$CERTS/$1.key" "$LAB_DATA/key.pem"
	cp "$CERTS/$1.crt" "$LAB_DATA/chain.pem"
}
is_served() { # SERIAL
	lab_ctl a raw /config_dump | python3 -c '
import json, sys
for one in json.load(sys.stdin)["certificates"]:
    if one["identity"].endswith("/sa/client"):
        serials = [int(c["serialNumber"]) for c in one["certChain"]]
        roots = one["rootCerts"]
        assert one["state"] == "Available" and serials == [int(sys.argv[1], 16)], one
        assert len(roots) == 1 and roots[0]["validFrom"] and roots[0]["expirationTime"], one
        sys.exit(0)
sys.exit(1)' "$1" 2>"$LAB_DATA/served"
}
expect_served() { lab_wait 5 is_served "$(certs_serial client)" || fail "agent a: $(cat "$LAB_DATA/served")"; }

settings() {
	LAB_SETTINGS=$'certFile: '"$LAB_DATA/chain.pem"$'\ncertKeyFile: '"$LAB_DATA/key.pem"$'\ncertRootsFile: '"$LAB_DIR/ca-cert.pem"
	lab_settings a && sed -i '/^fakeCa/d' "$LAB_DIR/agent-a.yaml"
	certs_init
}

# A connection hears at once why there is none.
not_there() {
	local mark rc=0
	mark=$(lab_mark agent-a)
	lab_wait_log 5 agent-a 0 "no certificate.*identity=spiffe://cluster.local/ns/demo/sa/client.*$LAB_DATA/chain.pem: No such file" ||
		fail "agent a says: $(lab_since agent-a 0)"
	lab_curl pod-a1 "http://$SERVER:8080/" -o /dev/null || rc=$?
	expect_match "curl's exit status" '^(56|7)$' "$rc"
	lab_wait_log 5 agent-a "$mark" "error=\"identity error: $LAB_DATA/chain.pem: No such file" ||
		fail "agent a says: $(lab_since agent-a "$mark")"
	expect_match "the state" "demo/sa/client +- +Unavailable: $LAB_DATA/chain.pem: No such file" "$(lab_ctl a certificates)"
}
comes() {
	renew client && expect_served
	expect_works pod-a1 "http://$SERVER:8080/"
	expect_match "the state" 'demo/sa/client +Leaf +Available' "$(lab_ctl a certificates)"
}
# What lives is not cut; what comes has the new one.
renewed() {
	lab_in pod-a1 python3 - "$SERVER" "$LAB_DATA" <<-'PY' &
	import os, socket, sys, time
	def ask():
	    one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	    got = b""
	    while not got.endswith(b"hello\n"):
	        more = one.recv(65536)
	        assert more, got
	        got += more
	one = socket.create_connection((sys.argv[1], 8080), timeout=20)
	ask()
	open(sys.argv[2] + "/lives", "w")
	until = time.monotonic() + 20
	while not os.path.exists(sys.argv[2] + "/go_on"):
	    assert time.monotonic() < until, "nobody said to go on"
	    time.sleep(0.02)
	ask()
	PY
	local lives=$!
	lab_wait 10 test -e "$LAB_DATA/lives" || fail "no connection"
	renew client && expect_served
	expect_works pod-a1 "http://$SERVER:8080/"
	: >"$LAB_DATA/go_on"
	wait $lives || fail "the connection that lived was cut"
}
broken() {
	local mark
	mark=$(lab_mark agent-a)
	echo nothing >"$LAB_DATA/chain.pem"
	lab_wait_log 5 agent-a "$mark" "certificate was not renewed, the old one is used on.*$LAB_DATA/chain.pem: the first element is no certificate" ||
		fail "agent a says: $(lab_since agent-a "$mark")"
	expect_served
	expect_works pod-a1 "http://$SERVER:8080/"
}
# The node's other pod has another identity.
not_for_others() {
	local rc=0
	renew client && expect_served
	lab_curl pod-a2 "http://$SERVER:8080/" -o /dev/null || rc=$?
	expect_match "curl's exit status" '^(56|7)$' "$rc"
	expect_match "the state" 'demo/sa/other +- +Unavailable: .*it is a certificate for spiffe://cluster.local/ns/demo/sa/client, not for' \
		"$(lab_ctl a certificates)"
}
counted() {
	lab_ctl a raw /metrics >"$LAB_DATA/metrics"
	expect_match "available" 'culvert_certificates\{state="available"\} 1' "$(cat "$LAB_DATA/metrics")"
	expect_match "unavailable" 'culvert_certificates\{state="unavailable"\} 1' "$(cat "$LAB_DATA/metrics")"
	expect_match "its end" 'culvert_certificate_expiry_timestamp_seconds\{identity="spiffe://cluster.local/ns/demo/sa/client"\} 4070908800' \
		"$(cat "$LAB_DATA/metrics")"
	expect_match "issued" 'culvert_certificate_requests_total\{result="issued"\} [1-9]' "$(cat "$LAB_DATA/metrics")"
}
# At the level that says most, from beginning to end.
nothing_secret() {
	local line
	while read -r line; do
		[ "${line:0:1}" = - ] || [ ${#line} -lt 16 ] || ! grep -qF -- "$line" "$LAB_DIR"/log/agent-*.log || fail "a key is in a log"
	done < <(cat "$CERTS"/*.key)
}

cases_start
LAB_LOG=trace lab_settings b
LAB_LOG=trace settings
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents start" lab_agents_start
case_run "not there yet" not_there
case_run "they come" comes
case_run "renewed under a connection that lives" renewed
case_run "broken: the old one is used on" broken
case_run "not for another identity" not_for_others
case_run "counted" counted
case_run "no key in any log" nothing_secret
cases_end

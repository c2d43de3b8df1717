#!/usr/bin/env bash
# tls: revocation lists and what settings add to TLS, with openssl's peers and between two agents:
# lists of leaf and intermediate, stale and broken ones, connections that live when a list comes;
# TLS 1.2 and trust domains by option.
. "$(dirname "$0")/../support/cases.sh"
. "$LAB_ROOT/tests/support/certs.sh"
. "$LAB_ROOT/tests/support/openssl.sh"

SERVER=$(lab_ip pod-b1)
FOREIGN=$(lab_ip outside)
PYTHON=/usr/bin/python3
APP=$LAB_ROOT/tests/support/hbone_app.py
SA=URI:spiffe://cluster.local/ns/demo/sa
REVOKED='peer certificate refused .23.: revoked'
CA=("$LAB_DIR/ca-cert.pem" "$LAB_DIR/ca-key.pem")

make_certs() {
	certs_intermediate middle
	certs_make peer "$SA/peer"
	certs_make foreign "$SA/foreign"
	certs_make bad "$SA/bad"
	certs_make below "$SA/below" $CERTS_EARLIER $CERTS_LATER "$CERTS/middle.crt" "$CERTS/middle.key"
	certs_make bad-below "$SA/below" $CERTS_EARLIER $CERTS_LATER "$CERTS/middle.crt" "$CERTS/middle.key"
	certs_root stranger
	certs_make wrong-ca "$SA/foreign" $CERTS_EARLIER $CERTS_LATER "$CERTS/stranger.crt" "$CERTS/stranger.key"
	certs_make expired "$SA/foreign" 20200101000000Z 20200102000000Z
	certs_make early "$SA/foreign" 20980101000000Z 20990101000000Z
	certs_make no-san DNS:foreign.example
	certs_make other-domain "URI:spiffe://example.org/ns/demo/sa/foreign"
	certs_make far "URI:spiffe://far.example/ns/demo/sa/peer"
	certs_make farther "URI:spiffe://farther.example/ns/demo/sa/peer"
}
below() { say "-alpn h2 -cert_chain $CERTS/middle.crt"; }

settings() { # a|b MORE
	LAB_SETTINGS="crlFile: $LAB_DATA/crl-$1.pem"$'\n'${2:-} lab_settings "$1"
}

start_all() {
	LAB_GUESTS=outside:foreign
	lab_mesh </dev/null
	settings a
	settings b
	lab_agents_start
	lab_logged agent-b 0 'revocation lists cannot be read, nobody is revoked until they can.*No such file'
	lab_spawn app pod-b1 $PYTHON "$APP" serve 9001=echo 9006=hold
	lab_wait_port pod-b1 9006
}

# Puts what is on stdin in place of an agent's lists, at once, and waits until they are read.
lists() { # a|b COUNT
	local mark file=$LAB_DATA/crl-$1.pem
	mark=$(lab_mark "agent-$1")
	cat >"$file.new" && mv "$file.new" "$file"
	lab_wait_log 3 "agent-$1" "$mark" "revocation lists read.*lists=$2" ||
		fail "agent $1 says: $(lab_since "agent-$1" "$mark")"
}

leaf_is_revoked() {
	certs_crl "${CA[@]}" $CERTS_LATER "$(certs_serial bad)" | lists b 1
	tls_refuses 44 "$REVOKED" bad -alpn h2
	tls_accepts peer -alpn h2
	expect_match "the metric" '^istio_crl_policy_rejections_total\{reporter="destination"\} 1$' \
		"$(curl -sS --unix-socket "$LAB_DIR/admin-b.sock" http://localhost/metrics)"
}
leaf_below_is_revoked() {
	certs_crl "$CERTS/middle.crt" "$CERTS/middle.key" $CERTS_LATER "$(certs_serial bad-below)" | lists b 1
	tls_refuses 44 "$REVOKED" bad-below $(below)
	tls_accepts below $(below)
	tls_accepts bad -alpn h2 # its issuer has no list now
}
intermediate_is_revoked() {
	certs_crl "${CA[@]}" $CERTS_LATER "$(certs_serial middle)" | lists b 1
	tls_refuses 44 "$REVOKED" below $(below)
	tls_accepts peer -alpn h2
}
stale_list_counts() {
	certs_crl "${CA[@]}" 20200202000000Z "$(certs_serial bad)" | lists b 1
	tls_refuses 44 "$REVOKED" bad -alpn h2
	tls_accepts peer -alpn h2
}
bundle_of_two() {
	{
		certs_crl "$CERTS/middle.crt" "$CERTS/middle.key" $CERTS_LATER "$(certs_serial bad-below)"
		certs_crl "${CA[@]}" $CERTS_LATER "$(certs_serial bad)"
	} | lists b 2
	tls_refuses 44 "$REVOKED" bad-below $(below)
	tls_refuses 44 "$REVOKED" bad -alpn h2
	tls_accepts below $(below)
}
broken_file_changes_nothing() {
	local mark
	mark=$(lab_mark agent-b)
	say '-----BEGIN X509 CRL-----' >"$LAB_DATA/crl-b.pem"
	lab_wait_log 3 agent-b "$mark" "the old ones are kept.*$LAB_DATA/crl-b.pem: block 1 is not whole" ||
		fail "agent b says: $(lab_since agent-b "$mark")"
	tls_refuses 44 "$REVOKED" bad -alpn h2
}
empty_file_frees_all() {
	lists b 0 </dev/null
	tls_accepts bad -alpn h2
}

# ---- connections that live ----

# The serial number of an agent's own certificate for demo/NAME.
serial_of() { # a|b NAME
	lab_ctl "$1" raw /config_dump | $PYTHON -c '
import json, sys
for one in json.load(sys.stdin)["certificates"]:
    if one["identity"].endswith("/sa/" + sys.argv[1]):
        print("%X" % int(one["certChain"][0]["serialNumber"]))' "$2" | sed 's/^\(..\)*.$/0&/'
}

hold() { # NAME WHERE
	lab_spawn "$1" "$2" $PYTHON "$APP" end "$SERVER" 9006
	lab_wait 5 lab_flows a "$3"
}
lab_flows() { [ "$(lab_ctl "$1" raw /connections | grep -c '"outbound"')" -ge "$2" ]; }

# Agent AGENT says since MARK that it ended connections of these directions, at least so many, and of a direction with 0
# none: its workers together, which share apps out by port, so that each may have a connection of its own to a peer.
lab_ended() { # AGENT MARK INBOUND OUTBOUND
	lab_since "agent-$1" "$2" |
		sed -n 's/.*connections with revoked peers ended.*inbound=\([0-9]*\).outbound=\([0-9]*\).*/\1 \2/p' |
		awk -v in_min="$3" -v out_min="$4" '
			{ i += $1; o += $2 }
			END { exit !(i >= in_min && o >= out_min && (in_min || !i) && (out_min || !o)) }'
}

cut_by() { # AGENT SERIAL INBOUND OUTBOUND
	local mark started ended
	lists a 0 </dev/null
	lists b 0 </dev/null
	rm -f "$LAB_DIR"/log/held.log "$LAB_DIR"/log/other.log
	hold held pod-a1 1
	hold other pod-a2 2
	mark=$(lab_mark "agent-$1")
	started=${EPOCHREALTIME/./}
	certs_crl "${CA[@]}" $CERTS_LATER "$2" | lists "$1" 1
	lab_wait 5 lab_has_exited held || fail "it lives on"
	ended=${EPOCHREALTIME/./}
	say "    cut $(((ended - started) / 1000)) ms after the file was written"
	expect_match "what the app reads" '^ready reset ' "$(cat "$LAB_DIR/log/held.log")"
	lab_wait 5 lab_ended "$1" "$mark" "$3" "$4" ||
		fail "agent $1 says: $(lab_since "agent-$1" "$mark")"
	lab_wait_log 5 "agent-$1" "$mark" "connection complete.*error=\".*$REVOKED\"" ||
		fail "agent $1 says: $(lab_since "agent-$1" "$mark")"
}

client_is_revoked() {
	local mark
	cut_by b "$(serial_of a client)" 1 0
	# The other client's connection is another one, and lives; new ones of the revoked one do not.
	lab_is_running other || fail "another client's connection was cut, too"
	lab_kill other
	mark=$(lab_mark agent-b)
	expect_match "what a new one reads" '^ reset ' "$(lab_in pod-a1 $PYTHON "$APP" end "$SERVER" 9006)"
	lab_wait_log 5 agent-b "$mark" "connection failed.*$REVOKED" || fail "agent b says: $(lab_since agent-b "$mark")"
	lists b 0 </dev/null
	lab_in pod-a1 $PYTHON "$APP" ask "$SERVER" 9001 >/dev/null
}
server_is_revoked() {
	local mark
	cut_by a "$(serial_of b server)" 0 2
	mark=$(lab_mark agent-a)
	expect_match "what a new one reads" '^ reset ' "$(lab_in pod-a1 $PYTHON "$APP" end "$SERVER" 9006)"
	lab_wait_log 5 agent-a "$mark" "connection complete.*error=\".*$REVOKED\"" ||
		fail "agent a says: $(lab_since agent-a "$mark")"
	lists a 0 </dev/null
	lab_in pod-a1 $PYTHON "$APP" ask "$SERVER" 9001 >/dev/null
}

# ---- openssl as server ----

revoked_server() {
	certs_crl "${CA[@]}" $CERTS_LATER "$(certs_serial foreign)" | lists a 1
	tls_server_refused "tls error: $REVOKED" foreign
	lists a 0 </dev/null
}

# ---- by option ----

options_start() {
	settings b $'tls12Enabled: true\ntrustDomainAliases: other.example,far.example'
	lab_stop agent-b
	lab_agent_start b
}
bad_start() { # SETTING SENTENCE
	local rc=0
	settings b "$1"
	lab_in node-b timeout 30 "$LAB_BUILD/agent/culvertd" --check --config "$LAB_DIR/agent-b.yaml" \
		>"$LAB_DATA/out" 2>&1 || rc=$?
	expect_eq "exit status" 2 "$rc"
	expect_match "the sentence" "$2" "$(cat "$LAB_DATA/out")"
	expect_eq "lines" 1 "$(wc -l <"$LAB_DATA/out")"
}
broken_list_is_found() {
	say hello >"$LAB_DATA/crl-b.pem"
	bad_start '' "^culvertd: $LAB_DATA/crl-b.pem: it is neither PEM nor a revocation list\$"
	: >"$LAB_DATA/crl-b.pem"
}
pqc() {
	if openssl list -kem-algorithms 2>/dev/null | grep -q X25519MLKEM768; then
		settings b 'compliancePolicy: pqc'
		lab_stop agent-b
		lab_agent_start b
		tls_accepts peer -alpn h2 -groups X25519MLKEM768
		tls_refuses 40 '.*' peer -alpn h2 -groups X25519
	else
		bad_start 'compliancePolicy: pqc' '^culvertd: compliancePolicy .or COMPLIANCE_POLICY.: OpenSSL .* has no key exchange X25519MLKEM768'
	fi
}

cases_start
certs_init
case_run "certificates" make_certs
case_run "start: a list that is not there yet" start_all
case_run "no list: everybody is let in" tls_accepts bad -alpn h2
case_run "a revoked leaf is refused" leaf_is_revoked
case_run "a revoked leaf of an intermediate is refused" leaf_below_is_revoked
case_run "a revoked intermediate is refused" intermediate_is_revoked
case_run "a stale list counts" stale_list_counts
case_run "a bundle of two issuers" bundle_of_two
case_run "a broken file changes nothing" broken_file_changes_nothing
case_run "an empty file frees all" empty_file_frees_all
case_run "a client is revoked: its connections end, others live" client_is_revoked
case_run "a server is revoked: the pool's connections end" server_is_revoked
case_run "openssl as server: revoked" revoked_server
case_run "openssl as server: an unknown CA" tls_server_refused "tls error: peer certificate refused .*: .*" wrong-ca
case_run "openssl as server: expired" tls_server_refused "tls error: peer certificate refused .*: expired" expired
case_run "openssl as server: of the future" tls_server_refused "tls error: peer certificate refused .*: not valid yet" early
case_run "openssl as server: no SPIFFE identity" tls_server_refused "tls error: .*expected identit.*" no-san
case_run "openssl as server: another's identity" tls_server_refused "tls error: .*expected identit.*: it is spiffe:.*, expected spiffe:.*" peer
case_run "openssl as server: another trust domain" tls_server_refused "tls error: .*expected identit.*: it is spiffe:.*, expected spiffe:.*" other-domain
case_run "openssl as server: TLS 1.2 alone" tls_server_refused "tls error: peer sent TLS alert 70 protocol_version: it does not speak TLS 1.3" foreign -tls1_2
case_run "openssl as server: ALPN without h2" tls_server_refused "tls error: peer sent TLS alert 120 no_application_protocol: it does not speak h2" foreign -alpn http/1.1
case_run "--check finds a broken list" broken_list_is_found
case_run "by option: another start" options_start
case_run "by option: TLS 1.2 is let in" tls_accepts peer -alpn h2 -tls1_2
case_run "by option: TLS 1.2 without AES-GCM is refused" tls_refuses 40 "peer offers no cipher suite of ours" peer -alpn h2 -tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305
case_run "by option: TLS 1.2 without a certificate is refused" tls_refuses 40 "peer showed no certificate" - -alpn h2 -tls1_2
case_run "by option: TLS 1.1 is refused" tls_refuses 70 "peer does not speak TLS 1.3" peer -alpn h2 -tls1_1 -cipher DEFAULT@SECLEVEL=0
case_run "by option: another trust domain is let in" tls_accepts far -alpn h2
case_run "by option: and a third is not" tls_refuses 42 "peer certificate is of another trust domain.*" farther -alpn h2
case_run "post-quantum key exchange: had, or refused in one sentence" pqc
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

#!/usr/bin/env bash
# ca: certificates from a CA as istiod's, over gRPC: away, back, renewed under traffic, refused, wrong in
# every way, slow; connections hear why, and nothing secret is in any log.
. "$(dirname "$0")/../support/cases.sh"
. "$(dirname "$0")/../support/controlplane.sh"

SERVER=$(lab_ip pod-b1)
CLIENT=spiffe://cluster.local/ns/demo/sa/client

settings() { # a|b
	LAB_SETTINGS="caAddress: https://$(lab_ip outside):15012
caRootCa: $LAB_DATA/roots.pem
altCaHostname: $CONTROLPLANE_NAME
authToken: $LAB_DIR/token-$1"
	LAB_LOG=trace lab_settings "$1" && sed -i '/^fakeCa/d' "$LAB_DIR/agent-$1.yaml"
}
answers() { lab_curl pod-a1 "http://$SERVER:8080/" -o "$LAB_DATA/body" 2>"$LAB_DATA/curl"; }
expect_refused() { ! answers || fail "it was answered"; }
# What agent a says from MARK on.
expect_said() { # SECONDS MARK REGEX
	lab_wait_log "$1" agent-a "$2" "$3" || fail "agent a says nothing like $3, but: $(lab_since agent-a "$2" | grep -P '\tidentity\t|IDENTITY' | tail -n 5)"
}
# What was kept would be used, and nobody be asked.
certificates_lost() { rm -f "$LAB_DIR"/state/[ab]/certificates.state; }
issued() { lab_ctl a raw /metrics | sed -n 's/^culvert_certificate_requests_total{result="issued"} //p'; }
issued_more() { [ "$(issued)" -ge "$1" ]; }

# As a ConfigMap that is not there yet when the agents start: looked at again with each connection.
roots_later() {
	expect_said 10 0 "no certificate.*identity=$CLIENT.*the roots' file $LAB_DATA/roots.pem cannot be read"
	cp "$LAB_DIR/ca-cert.pem" "$LAB_DATA/roots.pem.new"
	mv "$LAB_DATA/roots.pem.new" "$LAB_DATA/roots.pem"
}
away() {
	local mark
	mark=$(lab_mark agent-a)
	expect_said 10 0 "no certificate.*identity=$CLIENT.*signing gRPC error \(Unavailable\)"
	expect_refused
	expect_said 5 "$mark" 'error="identity error: signing gRPC error \(Unavailable\).*IDENTITY_ERROR'
	expect_match "the state" "demo/sa/client +- +Unavailable: signing gRPC error" "$(lab_ctl a certificates)"
}
# What waits brings the next attempt about: nobody waits for the end of a pause that has grown.
comes() {
	controlplane_start
	lab_wait 10 answers || fail "not answered: $(cat "$LAB_DATA/curl")"
	expect_match "the state" 'demo/sa/client +Leaf +Available' "$(lab_ctl a certificates)"
	expect_match "the status" "^CA: +https://$(lab_ip outside):15012\$" "$(lab_ctl a status)"
	dumped
}
# As istioctl ztunnel-config certificate reads it: without all of these it says that a certificate is not valid.
dumped() {
	lab_ctl a raw /config_dump >"$LAB_DATA/dump.json"
	python3 - "$LAB_DATA/dump.json" <<-'PY' || fail "not as istioctl reads it"
	import base64, datetime, json, sys
	rows = json.load(open(sys.argv[1]))["certificates"]
	rows = [row for row in rows if row["state"] == "Available"] # the others are still being asked for
	assert any(row["identity"].endswith("/sa/client") for row in rows), rows
	for row in rows:
	    assert row["certChain"] and row["rootCerts"], row
	    for cert in row["certChain"] + row["rootCerts"]:
	        assert base64.b64decode(cert["pem"]).startswith(b"-----BEGIN CERTIFICATE-----")
	        assert int(cert["serialNumber"]) > 0
	        begin, end = (datetime.datetime.strptime(cert[key], "%Y-%m-%dT%H:%M:%SZ") for key in ("validFrom", "expirationTime"))
	        assert begin < datetime.datetime.utcnow() < end, cert
	PY
}
renewed_under_traffic() {
	local before mark client rc=0
	controlplane ca-ttl 4 >/dev/null
	# What is there has hours to go: the agents begin anew, with short ones.
	lab_agents_stop && certificates_lost && lab_agents_start
	lab_wait 10 answers || fail "not answered"
	mark=$(lab_mark agent-a)
	before=$(issued)
	lab_in pod-a1 python3 - "$SERVER" "$LAB_DATA/over" >"$LAB_DATA/client" 2>&1 <<-'PY' &
	import http.client, os, sys
	count = 0
	while not os.path.exists(sys.argv[2]):
	    one = http.client.HTTPConnection(sys.argv[1], 8080, timeout=10)
	    one.request("GET", "/")
	    assert one.getresponse().read() == b"hello\n"
	    one.close()
	    count += 1
	print("%d connections" % count)
	PY
	client=$!
	lab_wait 60 issued_more $((before + 6)) || fail "agent a has had $(issued) certificates"
	: >"$LAB_DATA/over"
	wait $client || rc=$?
	cat "$LAB_DATA/client"
	expect_eq "the client's end" 0 "$rc"
	lab_since agent-a "$mark" >"$LAB_DATA/since"
	expect_none "warnings" -P '\t(warn|error)\tidentity' "$LAB_DATA/since"
}
# It is used until it ends; then connections fail, with the CA's words; then it is had again.
refused() {
	local mark
	mark=$(lab_mark agent-a)
	controlplane ca-refuse $CLIENT >/dev/null
	expect_said 10 "$mark" "was not renewed, the old one is used on.*identity=$CLIENT.*\(Unauthenticated\): request impersonation authentication failure"
	expect_said 10 "$mark" "certificate has ended and could not be renewed.*identity=$CLIENT"
	expect_refused
	expect_said 5 "$mark" 'error="identity error: signing gRPC error \(Unauthenticated\): request impersonation authentication failure'
	controlplane ca-accept $CLIENT >/dev/null
	lab_wait 10 answers || fail "not answered"
}
# Wrong answers until agent a has had one: agent b may take those that were ordered.
expect_said_of() { # MARK FAULT REGEX
	for _ in 1 2 3 4 5 6 7 8; do
		controlplane ca-fault "$2" 4 >/dev/null
		if lab_wait_log 4 agent-a "$1" "$3"; then
			return
		fi
	done
	expect_said 1 "$1" "$3"
}
wrong() {
	local mark fault
	while read -r fault text; do
		mark=$(lab_mark agent-a)
		# Both agents ask, for four identities, every two seconds.
		expect_said_of "$mark" "$fault" "(was not renewed|no certificate).*: $text"
		lab_wait 20 answers || fail "not answered after $fault"
	done <<-'FAULTS'
	no-root no root certificate present
	garbage the certificate cannot be read
	empty chain returned from CA is empty
	other-identity did not find expected SAN: spiffe://cluster.local/ns/demo/sa/(client|other), the certificate has spiffe://cluster.local/ns/other/sa/other
	other-key the certificate is for another key
	FAULTS
	mark=$(lab_mark agent-a)
	expect_said_of "$mark" other-root 'certificate is taken, but.*does not lead to any of the roots'
	lab_wait 20 answers || fail "not answered"
}
# The deadline frees the place that a request has; who waits hears sooner.
slow() {
	local mark
	lab_stop agent-a
	certificates_lost
	controlplane ca-slow 60 >/dev/null
	lab_agent_start a
	mark=$(lab_mark agent-a)
	expect_refused
	expect_said 12 "$mark" 'error="identity error: '
	expect_said 15 0 "identity=$CLIENT.*signing gRPC error \(DeadlineExceeded\)"
	controlplane ca-release >/dev/null
	lab_wait 15 answers || fail "not answered"
}
nothing_secret() {
	expect_none "tokens in logs" -lF -e "$(cat "$LAB_DIR/token-a")" -e "$(cat "$LAB_DIR/token-b")" "$LAB_DIR"/log/agent-*.log
	expect_none "PEM in logs" -l -e '-----BEGIN' "$LAB_DIR"/log/agent-*.log
	lab_ctl a raw /config_dump >"$LAB_DATA/dump"
	expect_none "the token in the dump" -F "$(cat "$LAB_DIR/token-a")" "$LAB_DATA/dump"
}

cases_start
controlplane_accounts
settings a && settings b
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents start" lab_agents_start
case_run "roots that come later" roots_later
case_run "the CA is away" away
case_run "it comes" comes
case_run "renewed under traffic" renewed_under_traffic
case_run "refused, and allowed again" refused
case_run "answers that are wrong" wrong
case_run "slow" slow
case_run "nothing secret in any log" nothing_secret
cases_end

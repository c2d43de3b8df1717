#!/usr/bin/env bash
# rotation: certificates that live for four seconds: connections come and live on through a handful of
# generations, and none fails.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)

serials() { # a|b
	lab_ctl "$1" raw /config_dump | python3 -c '
import json, sys
print(*[c["serialNumber"] for one in json.load(sys.stdin)["certificates"] for c in one["certChain"]])'
}
issued() { # a|b
	lab_ctl "$1" raw /metrics | sed -n 's/^culvert_certificate_requests_total{result="issued"} //p'
}
issued_more() { [ "$(issued "$1")" -ge "$2" ]; } # a|b COUNT

# One connection lives; others come one after the other; until agent a has had certificates COUNT times.
through_generations() { # COUNT
	local before client rc=0
	before=$(serials a)
	lab_in pod-a1 python3 - "$SERVER" "$LAB_DATA/over" >"$LAB_DATA/client" 2>&1 <<-'PY' &
	import os, socket, sys
	def ask(conn):
	    conn.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	    got = b""
	    while not got.endswith(b"hello\n"):
	        more = conn.recv(65536)
	        assert more, got
	        got += more
	    assert got.startswith(b"HTTP/1.1 200"), got
	def connect():
	    return socket.create_connection((sys.argv[1], 8080), timeout=10)
	lives, count = connect(), 0
	while not os.path.exists(sys.argv[2]) and count < 100000:
	    with connect() as one:
	        ask(one)
	    if count % 10 == 0:
	        ask(lives)
	    count += 1
	ask(lives)
	print("%d connections" % count)
	PY
	client=$!
	lab_wait 60 issued_more a "$1" || fail "agent a has had $(issued a) certificates"
	: >"$LAB_DATA/over"
	wait $client || rc=$?
	cat "$LAB_DATA/client"
	expect_eq "the client's end" 0 "$rc"
	[ "$before" != "$(serials a)" ] || fail "agent a has the certificates that it began with"
}
# Nothing was refused at any moment, and nobody had to be told.
nothing_failed() {
	for node in a b; do
		expect_eq "failures of agent $node" 'culvert_certificate_requests_total{result="failed"} 0' \
			"$(lab_ctl $node raw /metrics | grep 'certificate_requests_total{result="failed"}')"
		lab_since "agent-$node" 0 >"$LAB_DATA/since"
		expect_none "warnings of agent $node" -P '\t(warn|error)\tidentity' "$LAB_DATA/since"
	done
}

cases_start
LAB_SETTINGS='secretTtl: 4s'
lab_settings a && lab_settings b
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents start" lab_agents_start
case_run "works" expect_works pod-a1 "http://$SERVER:8080/"
case_run "ten certificates for two identities" through_generations 10
case_run "nothing failed" nothing_failed
cases_end

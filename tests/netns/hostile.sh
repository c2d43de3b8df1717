#!/usr/bin/env bash
# hostile: peers, admin clients and strangers that mean no good, while a good client asks through the
# same pod. Each attack ends within a bounded number of frames or by a deadline; the good client sees
# no error; the agent's descriptors come back, and its memory but for 8 MiB. A row for each attack is
# printed; of it, latency is not judged. Both agents, the good client and its app share one CPU; the
# attackers, and the app that they ask for (another port of the same pod), have the other: what is seen
# is what they cost the agent, and neither their own work nor that of an app that serves them.
#
#   hostile.sh [ATTACK...]    only these, of "hostile.py attacks"
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)
HOSTILE=$LAB_ROOT/tests/support/hostile.py
# What the sanitizer keeps of freed memory would be all there is to see of the agent's.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"
export PYTHONDONTWRITEBYTECODE=1
# One worker, so that nobody is spared by the luck of being on another.
export ZTUNNEL_WORKER_THREADS=1
# What sanitizers keep beside each allocation comes back later.
KEPT_MIB=8
grep -q __asan_init "$LAB_BUILD/agent/culvertd" 2>/dev/null && KEPT_MIB=32
ATTACKERS_CPU=$(($(nproc) > 1))
ATTACKER=(nice -n -10 taskset -c "$ATTACKERS_CPU")

# The attacker is a workload of the mesh like any other: its certificate is good.
attacker_certificate() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / \
		-keyout "$LAB_DATA/attacker-key.pem" -out "$LAB_DATA/attacker.csr" 2>"$LAB_DATA/openssl.log" &&
		openssl x509 -req -in "$LAB_DATA/attacker.csr" -CA "$LAB_DIR/ca-cert.pem" -CAkey "$LAB_DIR/ca-key.pem" \
			-set_serial 7777 -days 1 -out "$LAB_DATA/attacker.pem" -extfile <(
				say "subjectAltName=critical,URI:spiffe://cluster.local/ns/demo/sa/other"
				say "keyUsage=critical,digitalSignature"
				say "extendedKeyUsage=clientAuth,serverAuth"
			) 2>>"$LAB_DATA/openssl.log"
}

# The app of the attackers: nginx again, with room for all that the agent grants them.
attackers_app_starts() {
	local dir=$LAB_DATA/nginx-pod-b1 conf=$LAB_DATA/attackers-app.conf
	sed -e "s/listen .*8080/& backlog=4096/; s/8080/8081/; s/worker_connections 1024/worker_connections 8192; multi_accept on/" \
		-e "s|$dir/pid|$LAB_DATA/attackers-app.pid|; s|$dir/access.log lab|off|" "$dir/nginx.conf" >"$conf"
	lab_spawn attackers-app pod-b1 "${ATTACKER[@]}" prlimit -n16384 nginx -e "$dir/error.log" -p "$dir" \
		-c "$conf" && lab_wait_port pod-b1 8081
}

good_client_starts() {
	attackers_app_starts
	lab_agents_start
	for name in agent-a agent-b nginx-pod-b1; do
		taskset -acp 0 "$(lab_pid "$name")" >/dev/null
		# What else this machine does is not what is looked at.
		find "/proc/$(lab_pid "$name")/task" -mindepth 1 -maxdepth 1 -printf '%f\n' |
			xargs renice -n -15 -p >/dev/null
	done
	expect_works pod-a1 "http://$SERVER:8080/small"
	lab_spawn good pod-a1 taskset -c 0 nice -n -15 "$HOSTILE" good "$SERVER" 8080 "$LAB_DATA/good"
	"$HOSTILE" head
}

attack_command() { # NAME
	COMMAND=("${ATTACKER[@]}" "$HOSTILE" try "$1" --address "$SERVER" --app-port 8081
		--cert "$LAB_DATA/attacker.pem" --key "$LAB_DATA/attacker-key.pem" --ca "$LAB_DIR/ca-cert.pem"
		--agent "$(lab_pid agent-b)" --log "$LAB_DIR/log/agent-b.log" --admin "$LAB_DIR/admin-b.sock"
		--good "$LAB_DATA/good" --kept-mib "$KEPT_MIB" --also "near=$(lab_pid agent-a)" "app=$(lab_pid nginx-pod-b1)"
		"good=$(lab_pid good)")
}

attack() { # NAME
	attack_command "$1"
	lab_in outside "${COMMAND[@]}"
}

# One takes as long as all others together, so it runs beside them once its beginning has been looked at.
slow_one_starts() {
	attack_command never-reads-until-ended
	lab_spawn never-reads outside "${COMMAND[@]}" --seen-s 5
	lab_wait 40 lab_logged_or_gone never-reads 0 'have been looked at'
	lab_ctl b connections | grep -q "$(lab_ip outside)"
}
slow_one_ended() {
	lab_wait 75 lab_has_exited never-reads
	cat "$LAB_DIR/log/never-reads.log"
	expect_eq "its status" 0 "$(cat "$LAB_DIR/exit/never-reads")"
}

admin_still_answers() {
	expect_match "culvertctl status of agent b" server "$(lab_ctl b status)"
}

good_client_saw_no_error() {
	lab_stop good
	expect_eq "requests that failed" "" "$(awk '$3 != "-"' "$LAB_DATA/good" | head -n 5)"
	say "    $(wc -l <"$LAB_DATA/good") requests"
}

# A warning for each flood, which says of what.
floods_are_told() {
	expect_match "agent b's log" 'peer floods its connection, closed.*of="PING"' \
		"$(grep 'peer floods' "$LAB_DIR/log/agent-b.log")"
}

metrics() { curl -sS --unix-socket "$LAB_DIR/admin-b.sock" http://localhost/metrics; }

# Every flood above has its number, and so has what the crowd lost.
floods_are_counted() {
	local kind shown
	shown=$(metrics)
	for kind in RST_STREAM SETTINGS PING PRIORITY WINDOW_UPDATE "empty DATA" "DATA without a stream" HEADERS \
		"oversized header list" "unknown frame" "refused request"; do
		expect_match "/metrics" "^culvert_h2_attacks_total\{kind=\"$kind\"\} [1-9]" "$shown"
	done
	for kind in 'tls_handshakes_total\{result="ok"' 'tls_handshakes_total\{result="timeout"' \
		'connections_refused_total\{reason="crowd"' 'requests_refused_total\{status="400"' \
		'requests_refused_total\{status="503"'; do
		expect_match "/metrics" "^culvert_$kind\} [1-9]" "$shown"
	done
	for kind in tls_handshakes_paced_total dials_paced_total; do
		expect_match "/metrics" "^culvert_$kind [1-9]" "$shown"
	done
}

# 200 requests forbidden and a dozen floods a second do not fill the log.
warnings_are_few() {
	expect_match "lines about floods" '^[1-9][0-9]?[0-9]?$' "$(grep -c 'peer floods' "$LAB_DIR/log/agent-b.log")"
}

cases_start
lab_nginx
head -c 1024 /dev/zero >"$LAB_DATA/nginx-pod-b1/www/small"
truncate -s 64M "$LAB_DATA/nginx-pod-b1/www/big"
attacker_certificate || warn "openssl could not make a certificate: $(cat "$LAB_DATA/openssl.log")"

case_run "agents and a good client start" good_client_starts
if [ $# -gt 0 ]; then
	for name; do case_run "$name" attack "$name"; done
	case_run "the good client saw no error at all" good_client_saw_no_error
	case_run "SIGTERM ends both with status 0" lab_agents_stop
	cases_end
fi
case_run "a lively peer that never reads begins" slow_one_starts
case_run "silence and half things end by deadlines" attack slow
for name in rapid-reset made-you-reset settings ping priority window-update empty-data stray-data \
	empty-headers continuation hpack-bomb large-lists unknown refused refused-dead; do
	case_run "$name flood ends" attack "$name"
done
case_run "streams above the limit alone are refused" attack too-many-streams
case_run "streams that come and go" attack come-and-go
case_run "malformed frames end the connection" attack malformed
case_run "downloads that nobody reads" attack never-reads
case_run "a dribbling client is served" attack dribbles
case_run "garbage on our ports" attack garbage
case_run "TLS handshake storm" attack handshakes
case_run "ClientHello storm" attack hellos
case_run "a crowd that says nothing" attack crowd
case_run "slow admin clients" attack slow-admin
case_run "the admin socket answers after them" admin_still_answers
case_run "a lively peer that never reads has ended" slow_one_ended
case_run "floods are told in the log" floods_are_told
case_run "but not each time" warnings_are_few
case_run "floods are counted" floods_are_counted
case_run "the good client saw no error at all" good_client_saw_no_error
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

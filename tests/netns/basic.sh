#!/usr/bin/env bash
# basic: requests between pods of two nodes: addresses as each side sees them, IPv4, IPv6, VIP,
# plaintext from outside, nothing installed in any namespace.
. "$(dirname "$0")/../support/cases.sh"

SERVER4=$(lab_ip pod-b1)
SERVER6=$(lab_ip -6 pod-b1)

agents_become_ready() {
	lab_capture "$LAB_DATA/link.pcap"
	lab_agents_start
	expect_match "status of agent a" client "$(lab_ctl a status)"
	[ -z "${LAB_BACKEND:-}" ] || expect_match "backend of agent a" "backend: *$LAB_BACKEND" "$(lab_ctl a status)"
}

# A GET and where curl says it went; then nginx's line about the same request.
request() { # FROM URL REMOTE CLIENT
	local path="/known?$RANDOM$RANDOM" got
	got=$(lab_curl "$1" "$2$path" -H 'X-Known: culvert-known-plaintext' -o "$LAB_DATA/body" -w '%{http_code} %{remote_ip}')
	expect_eq "curl's status and remote_ip" "200 $3" "$got"
	cmp "$LAB_DATA/body" "$WWW/known"
	lab_wait 5 grep -qF "$path" "$LAB_DATA/nginx-pod-b1/access.log"
	expect_eq "the client in nginx's access log" "$4" \
		"$(grep -F "$path" "$LAB_DATA/nginx-pod-b1/access.log" | cut -d' ' -f1)"
}

access_line_names_both() {
	local mark line
	mark=$(lab_mark agent-b)
	lab_curl pod-a1 "http://$SERVER4:8080/known" -o "$LAB_DATA/body"
	lab_wait_log 10 agent-b "$mark" 'connection complete.*direction="?inbound'
	line=$(lab_since agent-b "$mark" | grep 'connection complete')
	expect_match "src.addr" "src.addr=$(lab_ip pod-a1):" "$line"
	expect_match "src.identity" 'src.identity="spiffe://cluster.local/ns/demo/sa/client"' "$line"
	expect_match "dst.hbone_addr" "dst.hbone_addr=$SERVER4:8080" "$line"
	expect_match "bytes_sent" 'bytes_sent=[1-9]' "$line"
}

only_hbone_on_the_link() {
	lab_capture_stop
	"$LAB_ROOT/tests/support/wire.py" "$LAB_DATA/link.pcap" --port 15008 --never culvert-known-plaintext
}

connection_to_nobody_is_refused() { # WHERE ADDRESS
	local rc=0
	lab_curl "$1" "http://$2:8099/" -o "$LAB_DATA/body" -w '%{time_total}\n' >"$LAB_DATA/time" || rc=$?
	expect_match "curl's exit status (refused or reset)" '^(7|56|52)$' "$rc"
	[ "$(cut -d. -f1 "$LAB_DATA/time")" -lt 5 ] || fail "it took $(cat "$LAB_DATA/time") s"
}

# The router's answer comes while the connect is still being sent.
no_route_is_said() { # ADDRESS
	local rc=0 mark
	ip -n culvert-node-a route add unreachable 10.1.0.99
	ip -n culvert-node-a -6 route add unreachable fd00:1::99
	mark=$(lab_mark agent-a)
	lab_curl pod-a1 "http://$1:8080/" -o "$LAB_DATA/body" 2>/dev/null || rc=$?
	ip -n culvert-node-a route del unreachable 10.1.0.99
	ip -n culvert-node-a -6 route del unreachable fd00:1::99
	expect_match "curl's exit status (reset)" '^(7|56)$' "$rc"
	lab_wait_log 5 agent-a "$mark" 'bytes_sent=0 bytes_recv=0 duration="[0-9]+ms" error="io error: (No route to host \(os error 113\)|Network is unreachable \(os error 101\))"' ||
		fail "agent a says: $(lab_since agent-a "$mark")"
}

no_packet_filters() {
	local where
	for where in "${LAB_SPACES[@]}"; do
		expect_eq "nft list ruleset in $where" "" "$(lab_in "$where" nft list ruleset)"
		expect_eq "iptables-save in $where" "" "$(lab_in "$where" iptables-save)"
		expect_eq "ip6tables-save in $where" "" "$(lab_in "$where" ip6tables-save)"
	done
}

cases_start
lab_nginx
WWW=$LAB_DATA/nginx-pod-b1/www
yes culvert-known-plaintext | head -c 1048576 >"$WWW/known"

case_run "both agents become ready" agents_become_ready
case_run "pod address, IPv4" request pod-a1 "http://$SERVER4:8080" "$SERVER4" "$(lab_ip pod-a1)"
case_run "pod address, IPv6" request pod-a1 "http://[$SERVER6]:8080" "$SERVER6" "$(lab_ip -6 pod-a1)"
case_run "service address, IPv4" request pod-a1 "http://$LAB_VIP4" $LAB_VIP4 "$(lab_ip pod-a1)"
case_run "service address, IPv6" request pod-a1 "http://[$LAB_VIP6]" $LAB_VIP6 "$(lab_ip -6 pod-a1)"
case_run "both pods on one node" request pod-b2 "http://$SERVER4:8080" "$SERVER4" "$(lab_ip pod-b2)"
case_run "a pod to itself" request pod-b1 "http://$SERVER4:8080" "$SERVER4" "$SERVER4"
case_run "plaintext from outside, IPv4" request outside "http://$SERVER4:8080" "$SERVER4" "$(lab_ip outside)"
case_run "plaintext from outside, IPv6" request outside "http://[$SERVER6]:8080" "$SERVER6" "$(lab_ip -6 outside)"
case_run "the access log names client and server" access_line_names_both
case_run "only HBONE over TLS 1.3 is on the link" only_hbone_on_the_link
case_run "a port nobody listens on" connection_to_nobody_is_refused pod-a1 "$SERVER4"
case_run "a port nobody listens on, IPv6" connection_to_nobody_is_refused pod-a1 "[$SERVER6]"
case_run "a port nobody listens on, IPv6 in plaintext" connection_to_nobody_is_refused outside "[$SERVER6]"
case_run "an address that the router has no way to" no_route_is_said 10.1.0.99
case_run "an address that the router has no way to, IPv6" no_route_is_said "[fd00:1::99]"
case_run "no packet filter in any namespace" no_packet_filters
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

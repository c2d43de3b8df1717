#!/usr/bin/env bash
# quickstart: real traffic, captured by eBPF, through mutual-TLS HBONE, decided by policy, in one command.
#
#   tests/quickstart.sh          build, show and prove, take everything down again
#   tests/quickstart.sh --waypoint   the same, and HTTP rules in a waypoint, which is a real Envoy
#   tests/quickstart.sh --keep   the first, but leave the lab up, and say how to enter it
#   tests/quickstart.sh --down   take down a lab that was left up
#
# As root on Debian 12 or later, after "apt-get update". Installs packages, and otherwise touches
# nothing but network namespaces called culvert-*, /run/culvert-lab and the folder build/.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lab.sh
. tests/support/packages.sh

KNOWN=culvert-known-plaintext # what must never be seen between the nodes
STEP="the start"
KEEP=0
WAYPOINT=0

title() {
	STEP=$1
	printf '\n%s\n' "$1"
}
proved() { printf '  proved: %s\n' "$1"; }
shown() { sed 's/^/    | /' | cut -c1-400; }

failed() {
	printf '\nFAILED: %s\n  %s\n\n' "$STEP" "$1" >&2
	[ ! -d "$LAB_DIR" ] || lab_tails
	exit 1
}

leave() {
	local rc=$?
	trap - EXIT
	if [ "$KEEP" = 1 ]; then
		how_to_enter
	else
		lab_down || rc=1
	fi
	exit $rc
}

how_to_enter() {
	cat <<-TEXT

	The lab stays up (see the drawing at the top of tests/lab.sh):
	  a shell in pod a1            ip netns exec culvert-pod-a1 bash
	  a request from it            ip netns exec culvert-pod-a1 curl http://$(lab_ip pod-b1):8080/page
	  agent a's connections        $LAB_BUILD/agent/culvertctl --socket $LAB_DIR/admin-a.sock connections --recent
	  logs, mesh, settings         $LAB_DIR/log, $LAB_DIR/mesh.yaml, $LAB_DIR/agent-a.yaml
	  take it down                 tests/quickstart.sh --down
	TEXT
}

build() {
	local log=build/quickstart.log
	mkdir -p build
	{ cmake --preset release && cmake --build --preset release --target culvertd culvertctl; } \
		>$log 2>&1 </dev/null || { tail -n 30 $log >&2; failed "it does not build; see $log"; }
}

prepare() {
	[ ! -d "$LAB_DIR" ] || say "taking down a lab that is still there"
	lab_down || failed "what an earlier run left cannot be removed"
	trap leave EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	lab_up || failed "the lab cannot be made"
	lab_deny no-other server other >"$LAB_DATA/policy" && lab_mesh <"$LAB_DATA/policy"
	lab_nginx || failed "nginx does not start"
	WWW=$LAB_DATA/nginx-pod-b1
	yes $KNOWN | head -c 1048576 >"$WWW/www/page"
	openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 -in /dev/zero 2>/dev/null |
		head -c 268435456 >"$WWW/www/big"
}

# A request whose answer must be the known page; says what curl and nginx saw.
request() { # FROM URL REMOTE CLIENT
	local mark="$1-$RANDOM$RANDOM" got
	got=$(lab_curl "$1" "$2/page?$mark" -H "X-Known: $KNOWN" -o "$LAB_DATA/body" -w '%{http_code} %{remote_ip}') ||
		failed "no answer from $2"
	[ "$got" = "200 $3" ] || failed "curl saw status and peer '$got', expected '200 $3'"
	cmp -s "$LAB_DATA/body" "$WWW/www/page" || failed "the body is not the page"
	lab_wait 5 grep -qF "$mark" "$WWW/access.log" || failed "nginx has not logged the request"
	got=$(grep -F "$mark" "$WWW/access.log")
	[ "${got%% *}" = "$4" ] || failed "nginx saw ${got%% *} as its client, expected $4"
	proved "$1 asked $2: curl sees $3 as its peer, nginx sees $4 as its client"
}

show_identity_and_capture() {
	local server4 server6
	server4=$(lab_ip pod-b1) server6=$(lab_ip -6 pod-b1)
	title "Requests between nodes, while the link between them is recorded"
	lab_capture "$LAB_DATA/link.pcap" || failed "the link cannot be recorded"
	request pod-a1 "http://$server4:8080" "$server4" "$(lab_ip pod-a1)"
	request pod-a1 "http://$LAB_VIP4" $LAB_VIP4 "$(lab_ip pod-a1)"
	request pod-a1 "http://[$server6]:8080" "$server6" "$(lab_ip -6 pod-a1)"
	request pod-a1 "http://[$LAB_VIP6]" $LAB_VIP6 "$(lab_ip -6 pod-a1)"
	lab_capture_stop || failed "the recording cannot be ended"

	title "What was on the link"
	tests/support/wire.py "$LAB_DATA/link.pcap" --port 15008 --never $KNOWN >"$LAB_DATA/wire" ||
		failed "something other than HBONE over TLS 1.3 was on the link"
	proved "$(cat "$LAB_DATA/wire"); not one byte of the pages' text"
}

show_bulk() {
	local sum got mbits
	title "A download of 256 MiB"
	lab_capture "$LAB_DATA/bulk.pcap" 128 || failed "the link cannot be recorded"
	sum=$(sha256sum <"$WWW/www/big")
	got=$(lab_curl pod-a1 "http://$LAB_VIP4/big" --max-time 60 | sha256sum)
	[ "$got" = "$sum" ] || failed "the SHA-256 differs"
	lab_capture_stop && tests/support/wire.py "$LAB_DATA/bulk.pcap" --port 15008 --headers-only >"$LAB_DATA/wire" ||
		failed "something other than HBONE was on the link"
	proved "its SHA-256 is right (${sum:0:16}...), and the link carried $(cat "$LAB_DATA/wire")"

	title "iperf3, both directions"
	lab_spawn iperf3 pod-b1 iperf3 -s && lab_wait_port pod-b1 5201 || failed "iperf3 does not listen"
	for way in "" -R; do
		lab_in pod-a1 timeout 30 iperf3 -c "$(lab_ip pod-b1)" -t 2 $way -f m >"$LAB_DATA/iperf3" 2>&1 ||
			failed "iperf3 $way: $(tail -n 1 "$LAB_DATA/iperf3")"
		mbits=$(sed -n 's/.* \([0-9.]*\) Mbits.*receiver.*/\1/p' "$LAB_DATA/iperf3")
		awk -v m="${mbits:-0}" 'BEGIN { exit !(m > 1) }' || failed "iperf3 $way moved nothing"
		proved "$([ -z "$way" ] && say "pod a1 to pod b1" || say "pod b1 to pod a1"): $mbits Mbit/s"
	done
}

show_outside() {
	title "A plaintext client from outside the mesh"
	request outside "http://$(lab_ip pod-b1):8080" "$(lab_ip pod-b1)" "$(lab_ip outside)"
	proved "no policy forbids it, so it is let in, without an identity"
}

recent_names_policy() { lab_ctl b connections --recent | grep -q 'demo/no-other'; }

show_policy() {
	local mark rc=0 time
	title "A request that policy denies: service account \"other\", policy demo/no-other"
	mark=$(lab_mark agent-b)
	time=$(lab_curl pod-a2 "http://$(lab_ip pod-b1):8080/page" -o /dev/null -w '%{time_total}' 2>"$LAB_DATA/curl") || rc=$?
	case $rc in 7 | 56) ;; *) failed "curl ended with status $rc, expected a reset: $(cat "$LAB_DATA/curl")" ;; esac
	awk -v t="$time" 'BEGIN { exit !(t < 2) }' || failed "the refusal took $time s"
	proved "pod a2 is reset after $time s: $(cat "$LAB_DATA/curl")"
	lab_wait_log 5 agent-b "$mark" 'error=.*demo/no-other' || failed "agent b's log does not name the policy"
	proved "the log of the server's agent names the policy:"
	lab_since agent-b "$mark" | grep 'demo/no-other' | head -n 1 | shown
	lab_wait 5 recent_names_policy || failed "culvertctl connections --recent does not name the policy"
	proved "so does culvertctl connections --recent:"
	lab_ctl b connections --recent | grep -e 'demo/no-other' -m 1 | shown
}

show_what_it_says() {
	title "What an operator sees"
	say "  the access log, for the first request:"
	grep -m 1 'connection complete' "$LAB_DIR/log/agent-b.log" | shown
	say "  culvertctl status, on node b:"
	lab_ctl b status >"$LAB_DATA/status" || failed "culvertctl status does not work"
	shown <"$LAB_DATA/status"

	title "What is installed in the namespaces"
	for where in "${LAB_SPACES[@]}"; do
		lab_in "$where" sh -ec 'nft list ruleset; iptables-save; ip6tables-save' >"$LAB_DATA/rules" ||
			failed "the packet filters of $where cannot be listed"
		[ ! -s "$LAB_DATA/rules" ] || failed "there are packet filter rules in $where: $(head -n 5 "$LAB_DATA/rules")"
	done
	proved "no iptables and no nftables rule in any of ${#LAB_SPACES[@]}: nothing but sockets and BPF links"
}

refused_at_once() { # URL
	local rc=0 time
	time=$(lab_curl pod-a1 "$1" -o /dev/null -w '%{time_total}' 2>"$LAB_DATA/curl") || rc=$?
	[ $rc = 7 ] || failed "curl to $1 ended with status $rc, expected a refused connect"
	awk -v t="$time" 'BEGIN { exit !(t < 1) }' || failed "the refusal took $time s"
}

show_fail_closed() {
	title "Agent a is killed (kill -9)"
	lab_capture "$LAB_DATA/dead.pcap" || failed "the link cannot be recorded"
	lab_agent_kill a || failed "it cannot be killed"
	refused_at_once "http://$(lab_ip pod-b1):8080/page"
	refused_at_once "http://[$(lab_ip -6 pod-b1)]:8080/page"
	refused_at_once "http://$LAB_VIP4/page"
	lab_capture_stop && tests/support/wire.py "$LAB_DATA/dead.pcap" --port 15008 --headers-only --least 0 \
		--never $KNOWN >"$LAB_DATA/wire" || failed "something was sent in clear"
	proved "its pods' new connections are refused at once, and none was sent in clear"
	lab_agent_start a || failed "agent a does not start again"
	request pod-a1 "http://$LAB_VIP4" $LAB_VIP4 "$(lab_ip pod-a1)"
	proved "started again, it serves its pods again"
}

show_the_end() {
	title "Both agents are asked to end (SIGTERM)"
	lab_bpf_links >"$LAB_DATA/links"
	lab_agents_stop || failed "an agent did not end with status 0"
	lab_wait 5 lab_bpf_links_gone "$LAB_DATA/links" || failed "BPF links are left"
	[ -z "$(find "$LAB_DIR"/bpf-* -type f 2>/dev/null)" ] || failed "pins are left"
	request pod-a1 "http://$(lab_ip pod-b1):8080" "$(lab_ip pod-b1)" "$(lab_ip pod-a1)"
	proved "no link, no pin, no listener is left; the pods speak to each other as before there was a mesh"
}

main() {
	local started
	case ${1:-} in
	"") ;;
	--keep) KEEP=1 ;;
	--waypoint) WAYPOINT=1 ;;
	--down | --help | -h) ;;
	*) warn "unknown option '$1'; usage: tests/quickstart.sh [--waypoint | --keep | --down]" && exit 2 ;;
	esac
	case ${1:-} in --help | -h) sed -n '2,10s/^# \{0,1\}//p' tests/quickstart.sh && exit ;; esac
	[ "$(id -u)" = 0 ] || { warn "the quick start makes network namespaces and loads BPF programs: run it as root"; exit 1; }
	if [ "${1:-}" = --down ]; then
		lab_lock && lab_down && lab_leftovers && say "the lab is down"
		exit
	fi

	title "Packages and build"
	packages_ensure "${PACKAGES_BUILD[@]}" "${PACKAGES_LAB[@]}" || exit 1
	[ $WAYPOINT = 0 ] || packages_ensure python3-pip || exit 1
	lab_lock || exit 1
	started=${EPOCHREALTIME/./}
	build
	say "  culvertd is in build/release/agent, culvertctl beside it"

	title "Two nodes with two pods each, and one machine outside the mesh"
	prepare
	lab_agents_start || failed "the agents do not start"
	proved "two agents run on one mesh file; all four pods are enrolled, none was restarted"

	show_identity_and_capture
	show_bulk
	show_outside
	show_policy
	show_what_it_says
	show_fail_closed
	if [ $WAYPOINT = 1 ]; then
		. tests/support/quickstart_waypoint.sh
		show_waypoint
	fi
	if [ $KEEP = 0 ]; then
		show_the_end
		title "Everything is taken down"
		lab_down && lab_leftovers || failed "something is left behind"
		proved "no namespace, mount, process or file of the lab is left"
	fi
	printf '\nAll of it holds, in %s s after the packages.\n' "$(((${EPOCHREALTIME/./} - started) / 1000000))"
}

main "$@"

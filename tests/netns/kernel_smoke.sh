#!/usr/bin/env bash
# kernel_smoke: what a kernel must be able to do for two agents, in a minute: the programs load and
# attach, IPv4, IPv6 and service addresses go through HBONE with identities, policy denies, a killed
# agent's pods are refused.
#
#   tests/netns/kernel_smoke.sh [BUILD_DIR]    default: build/release
#
# tests/kernels.sh runs it in emulated machines, with LAB_PATIENCE for their slowness and LAB_BACKEND
# so that epoll cannot stand in for io_uring.
LAB_BUILD=${1:-${LAB_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build/release}}
. "$(dirname "$0")/../support/cases.sh"

LAB_BACKEND=${LAB_BACKEND:-}
SERVER4=$(lab_ip pod-b1)
SERVER6=$(lab_ip -6 pod-b1)

agents_become_ready() {
	lab_agents_start
	expect_match "status of agent a" client "$(lab_ctl a status)"
	expect_match "status of agent b" server "$(lab_ctl b status)"
	say "    $(lab_ctl a status | grep '^backend:')"
	expect_match "backend of agent a" "backend: *$LAB_BACKEND" "$(lab_ctl a status)"
	expect_match "backend of agent b" "backend: *$LAB_BACKEND" "$(lab_ctl b status)"
}

programs_are_attached() {
	lab_bpf_links >"$LAB_DATA/links"
	[ -s "$LAB_DATA/links" ] || fail "no BPF link is pinned"
	say "    $(wc -l <"$LAB_DATA/links") links"
}

# Both agents tell the same flow: who it was, that it went to port 15008 of the server's pod, and how much.
through_hbone() { # URL SERVER CLIENT
	local mark_a mark_b
	mark_a=$(lab_mark agent-a)
	mark_b=$(lab_mark agent-b)
	expect_works pod-a1 "$1"
	cmp "$LAB_DATA/body" "$LAB_DATA/nginx-pod-b1/www/index.html"
	told a "$mark_a" outbound "$2" "$3"
	told b "$mark_b" inbound "$2" "$3"
}
told() { # a|b MARK DIRECTION SERVER CLIENT
	local line part
	lab_wait_log 10 "agent-$1" "$2" "connection complete.*direction=\"$3\"" ||
		fail "agent $1 tells of no $3 connection"
	line=$(lab_since "agent-$1" "$2" | grep "direction=\"$3\"")
	for part in "src.addr=$5:" "dst.addr=$4:15008 " "dst.hbone_addr=$4:8080 " \
		'src.identity="spiffe://cluster.local/ns/demo/sa/client"' \
		'dst.identity="spiffe://cluster.local/ns/demo/sa/server"'; do
		grep -qF -e "$part" <<<"$line" || fail "agent $1 does not tell '$part': $line"
	done
	! grep -q ' error=' <<<"$line" || fail "agent $1 tells of an error: $line"
}

# 7: refused by the kernel; 56: reset. A timeout (28) is neither.
fails_at_once() { # EXIT_STATUS URL
	local rc=0 s
	s=$(lab_curl pod-a1 "$2" -o "$LAB_DATA/body" -w '%{time_total}') || rc=$?
	expect_match "curl's exit status" "^($1)\$" "$rc"
	[ "${s%.*}" -lt "${LAB_PATIENCE:-1}" ] || fail "it took $s s"
}

deny_all() {
	lab_deny deny-all server >"$LAB_DATA/deny"
	lab_mesh <"$LAB_DATA/deny"
	lab_agents_stop
	lab_agents_start
}
denied() { # URL
	local mark
	mark=$(lab_mark agent-b)
	fails_at_once '56|7' "$1?denied"
	lab_wait_log 5 agent-b "$mark" 'error=.*explicitly denied by: demo/deny-all' ||
		fail "no log line of agent b names the policy"
	! grep -qF '?denied' "$LAB_DATA/nginx-pod-b1/access.log" || fail "it reached nginx all the same"
}

links_gone_at_sigterm() {
	lab_bpf_links >"$LAB_DATA/links"
	lab_agents_stop
	lab_wait 5 lab_bpf_links_gone "$LAB_DATA/links"
}

# What the kernel keeps of an oops (bit 7) and of a warning of its own (bit 9).
complaints() { echo $(($(cat /proc/sys/kernel/tainted) & 640)); }
kernel_is_content() { expect_eq "oops and warning bits of /proc/sys/kernel/tainted" "$COMPLAINTS" "$(complaints)"; }

COMPLAINTS=$(complaints)
cases_start
lab_nginx
head -c 100000 /dev/urandom >"$LAB_DATA/nginx-pod-b1/www/index.html"
say "    kernel $(uname -r)"
case_run "both agents become ready" agents_become_ready
case_run "the BPF programs are attached" programs_are_attached
case_run "pod address, IPv4, by HBONE" through_hbone "http://$SERVER4:8080/" "$SERVER4" "$(lab_ip pod-a1)"
case_run "pod address, IPv6, by HBONE" through_hbone "http://[$SERVER6]:8080/" "[$SERVER6]" "[$(lab_ip -6 pod-a1)]"
case_run "service address, IPv4, by HBONE" through_hbone "http://$LAB_VIP4/" "$SERVER4" "$(lab_ip pod-a1)"
case_run "service address, IPv6, by HBONE" through_hbone "http://[$LAB_VIP6]/" "[$SERVER6]" "[$(lab_ip -6 pod-a1)]"
case_run "agents start with a policy" deny_all
case_run "policy denies, IPv4" denied "http://$SERVER4:8080/"
case_run "policy denies, IPv6" denied "http://[$SERVER6]:8080/"
case_run "agent a is killed" lab_agent_kill a
case_run "without its agent a pod is refused, IPv4" fails_at_once 7 "http://$SERVER4:8080/"
case_run "without its agent a pod is refused, IPv6" fails_at_once 7 "http://[$SERVER6]:8080/"
case_run "agent a takes over what is pinned" lab_agent_start a
case_run "SIGTERM ends both, and no BPF link is left" links_gone_at_sigterm
case_run "the kernel has not complained" kernel_is_content
cases_end

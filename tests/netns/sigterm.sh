#!/usr/bin/env bash
# sigterm: an agent that is asked to end does so with status 0 and leaves no namespace, link, pin,
# mount, cgroup, socket or listener behind; its pods then speak without it.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)

# All that an agent could leave on the machine, sorted.
inventory() {
	ls /run/netns | grep -v '^culvert-bench' | sed 's/^/netns /'
	awk '{ print "mount " $2 }' /proc/self/mounts
	find "$LAB_CGROUP" -type d | sed 's/^/cgroup /'
	find "$LAB_DIR" -maxdepth 1 -name '*.sock' -o -path "$LAB_DIR/bpf-*/*" | sed 's/^/file /'
	local where
	for where in "${LAB_SPACES[@]}"; do
		lab_in "$where" ss -Hltn | awk -v w="$where" '$4 !~ /:8080$/ { print "listener " w " " $4 }'
	done
}
is_as_before() {
	inventory | sort >"$LAB_DATA/after"
	comm -13 "$LAB_DATA/before" "$LAB_DATA/after" >"$LAB_DATA/left"
	[ ! -s "$LAB_DATA/left" ]
}
nothing_is_left() {
	lab_wait 5 lab_bpf_links_gone "$LAB_DATA/links" || fail "BPF links are left"
	lab_wait 5 is_as_before || fail "left behind: $(cat "$LAB_DATA/left")"
}

works() { expect_works pod-a1 "http://$SERVER:8080/"; }

something_is_there() { # else nothing_is_left could not fail
	lab_agents_start
	works
	lab_bpf_links >"$LAB_DATA/links"
	! is_as_before
}

ends_in_a_transfer() {
	lab_agents_start
	lab_spawn download pod-a1 curl -sS --noproxy '*' --limit-rate 1M --max-time 60 \
		-o "$LAB_DATA/big" "http://$SERVER:8080/big"
	lab_wait 10 test -s "$LAB_DATA/big"
	lab_bpf_links >"$LAB_DATA/links"
	lab_agents_stop
	lab_wait 10 lab_has_exited download
}

ends_while_starting() {
	lab_agent_launch a
	lab_wait 10 lab_logged_or_gone agent-a "$(cat "$LAB_DIR/agent-a.mark")" .
	lab_stop agent-a
}

cases_start
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
truncate -s 64M "$LAB_DATA/nginx-pod-b1/www/big"
inventory | sort >"$LAB_DATA/before"

case_run "agents leave traces while they run" something_is_there
case_run "idle: both end with status 0" lab_agents_stop
case_run "idle: nothing is left" nothing_is_left
case_run "idle: the pods speak without agents" works
case_run "in a transfer: both end with status 0" ends_in_a_transfer
case_run "in a transfer: nothing is left" nothing_is_left
case_run "while starting: it ends with status 0" ends_while_starting
case_run "while starting: nothing is left" nothing_is_left
cases_end

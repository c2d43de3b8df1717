#!/usr/bin/env bash
# killrestart: an agent that is killed, again and again and in the middle of a transfer, starts anew
# on what is pinned, works, and leaves no more behind than one that never was.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)

works() { expect_works pod-a1 "http://$SERVER:8080/"; }
links() { lab_bpf_links | wc -l; }

killed_and_started() {
	local before round
	works
	before=$(links)
	for round in 1 2 3 4; do
		lab_agent_kill "$1"
		lab_agent_start "$1"
		works
		expect_eq "BPF links after start $round" "$before" "$(links)"
	done
}

killed_while_starting() {
	lab_agent_kill a
	lab_agent_launch a
	lab_wait 10 lab_logged_or_gone agent-a "$(cat "$LAB_DIR/agent-a.mark")" .
	lab_agent_kill a
	lab_agent_start a
	works
}

# The client must learn of it: its transfer ends with an error, soon.
killed_in_a_transfer() {
	local rc=0
	lab_spawn download pod-a1 curl -sS --noproxy '*' --limit-rate 4M --max-time 60 \
		-o "$LAB_DATA/big" "http://$SERVER:8080/big"
	lab_wait 10 test -s "$LAB_DATA/big"
	lab_agent_kill "$1"
	lab_wait 10 lab_has_exited download
	rc=$(cat "$LAB_DIR/exit/download")
	expect_match "curl's exit status (partial or reset)" '^(18|56)$' "$rc"
	rm -f "$LAB_DATA/big"
	lab_agent_start "$1"
	works
}

ended() {
	lab_bpf_links >"$LAB_DATA/links"
	lab_agents_stop
	lab_wait 5 lab_bpf_links_gone "$LAB_DATA/links"
}

cases_start
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
truncate -s 64M "$LAB_DATA/nginx-pod-b1/www/big"
case_run "agents start" lab_agents_start
case_run "the client's agent, four times" killed_and_started a
case_run "the server's agent, four times" killed_and_started b
case_run "while it starts" killed_while_starting
case_run "the client's agent in a transfer" killed_in_a_transfer a
case_run "the server's agent in a transfer" killed_in_a_transfer b
case_run "SIGTERM ends both with status 0, and no BPF link is left" ended
cases_end

#!/usr/bin/env bash
# failclosed: without their agent, enrolled pods can neither connect nor be connected to, at once and
# not by timeout, and nothing of them is on the wire in clear.
. "$(dirname "$0")/../support/cases.sh"

SERVER4=$(lab_ip pod-b1)
SERVER6=$(lab_ip -6 pod-b1)

# The kernel refuses the connect itself (7), so nothing was sent; within a second.
refused() { # WHERE URL
	local rc=0 s
	s=$(lab_curl "$1" "$2" -o "$LAB_DATA/body" -w '%{time_total}') || rc=$?
	expect_eq "curl's exit status" 7 "$rc"
	expect_match "seconds until the refusal" '^0\.' "$s"
}

kill_agent_a() {
	lab_capture "$LAB_DATA/dead.pcap"
	lab_agent_kill a
}

nothing_on_the_wire() {
	lab_capture_stop
	"$LAB_ROOT/tests/support/wire.py" "$LAB_DATA/dead.pcap" --port 15008 --headers-only --least 0
}

cases_start
lab_nginx pod-b1
lab_nginx outside
lab_nginx pod-a2
for www in "$LAB_DATA"/nginx-*/www; do echo hello >"$www/index.html"; done
case_run "agents start" lab_agents_start
case_run "before: to the other node" expect_works pod-a1 "http://$SERVER4:8080/"
case_run "before: out of the mesh" expect_works pod-a1 "http://$(lab_ip outside):8080/"

case_run "agent a is killed" kill_agent_a
case_run "dead: to the other node" refused pod-a1 "http://$SERVER4:8080/"
case_run "dead: to the other node, IPv6" refused pod-a1 "http://[$SERVER6]:8080/"
case_run "dead: to a service" refused pod-a1 "http://$LAB_VIP4/"
case_run "dead: to a service, IPv6" refused pod-a1 "http://[$LAB_VIP6]/"
case_run "dead: out of the mesh" refused pod-a1 "http://$(lab_ip outside):8080/"
case_run "dead: to a pod of the same node" refused pod-a1 "http://$(lab_ip pod-a2):8080/"
case_run "dead: nothing was sent to the other node" nothing_on_the_wire
case_run "dead: into the pod from outside" refused outside "http://$(lab_ip pod-a2):8080/"
case_run "dead: into the pod from outside, IPv6" refused outside "http://[$(lab_ip -6 pod-a2)]:8080/"
case_run "dead: the other node's pods go on" expect_works pod-b2 "http://$SERVER4:8080/"

case_run "agent a is started again" lab_agent_start a
case_run "after: to the other node" expect_works pod-a1 "http://$SERVER4:8080/"
case_run "after: into the pod from outside" expect_works outside "http://$(lab_ip pod-a2):8080/"
case_run "SIGTERM ends both with status 0" lab_agents_stop
cases_end

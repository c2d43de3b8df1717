#!/usr/bin/env bash
# porttaken: when a port of ours is in use inside a pod, the agent says by whom, shows it, tries again,
# and enrols the pod as soon as the port is free.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)

works() { expect_works pod-a1 "http://$SERVER:8080/"; }

hold() { # NAME PYTHON
	local mark
	mark=$(lab_mark "$1")
	lab_spawn "$1" pod-b1 python3 -u -c "import socket
s = socket.socket()
$2
print('holding', flush=True)
socket.socketpair()[0].recv(1)"
	lab_wait_log 10 "$1" "$mark" holding || fail "the port cannot be taken for the test"
}

names_holder_and_waits() { # HOLDER
	local mark
	mark=$(lab_mark agent-b)
	lab_agent_launch b
	lab_wait_log 10 agent-b "$mark" "15008.*python3.*$(lab_pid "$1")" ||
		fail "no log line names python3 (pid $(lab_pid "$1"))"
	! lab_logged agent-b "$mark" 'culvertd ready' || fail "it is ready without its port"
	lab_wait 5 status_waits || fail "culvertctl status shows nothing: $(lab_ctl b status)"
}
status_waits() { lab_ctl b status | grep -E 'server' | grep -qiE 'wait'; }

# Ready now, or it would not heal: the retry has a bound of seconds.
heals() { # HOLDER
	lab_kill "$1"
	lab_agent_ready b
	! status_waits || fail "culvertctl status still waits: $(lab_ctl b status)"
	works
	lab_stop agent-b
}

time_wait() {
	hold time-wait "s.bind(('$SERVER', 15008))
s.connect(('$(lab_ip pod-b2)', 8080))
s.close()"
	lab_kill time-wait
	[ -n "$(lab_in pod-b1 ss -Htan state time-wait 'sport = :15008')" ] || fail "there is no TIME_WAIT socket to test with"
	lab_agent_start b
	works
	lab_stop agent-b
}

cases_start
lab_nginx pod-b1
lab_nginx pod-b2
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agent a starts" lab_agent_start a

case_run "an app listens on 0.0.0.0:15008" hold listener "s.bind(('0.0.0.0', 15008)); s.listen()"
case_run "listening app: named, shown, waited for" names_holder_and_waits listener
case_run "listening app: healed when it ends" heals listener

case_run "an app connects from port 15008" hold client "s.bind(('$SERVER', 15008)); s.connect(('$(lab_ip pod-b2)', 8080))"
case_run "connected app: named, shown, waited for" names_holder_and_waits client
case_run "connected app: healed when it ends" heals client

case_run "a TIME_WAIT socket on 15008 does not keep the pod out" time_wait
cases_end

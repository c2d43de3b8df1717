#!/usr/bin/env bash
# porttaken: when a port of ours is in use inside a pod, the agent says by whom, shows it, tries again,
# and enrols the pod as soon as the port is free.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)

works() { expect_works pod-a1 "http://$SERVER:8080/"; }

# Runs PYTHON on the socket s, and keeps it. A connected one ends by reset, without TIME_WAIT.
hold() { # NAME PYTHON
	local mark
	mark=$(lab_mark "$1")
	lab_spawn "$1" pod-b1 python3 -u -c "import signal, socket, struct
s = socket.socket()
$2
print('holding')
signal.pause()"
	lab_wait_log 10 "$1" "$mark" holding || fail "the port cannot be taken for the test"
}
RESET="s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))"

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

# @SECONDS: the retry comes every second, or what holds the port goes by itself later.
heals() { # SECONDS
	lab_agent_ready b "$1"
	! status_waits || fail "culvertctl status still waits: $(lab_ctl b status)"
	works
	lab_stop agent-b
}

ends_and_heals() { # HOLDER
	lab_kill "$1"
	heals 10
}

# A socket that never asked for SO_REUSEADDR keeps the port for its 60 s of TIME_WAIT, unless the
# kernel can be asked to drop it (ss -K, INET_DIAG_DESTROY).
time_wait() {
	local mark
	hold time-wait "s.bind(('127.0.0.1', 15008)); s.connect(('127.0.0.1', 8080)); s.close()"
	lab_kill time-wait
	[ -n "$(lab_in pod-b1 ss -Htan state time-wait 'sport = :15008')" ] || fail "there is no TIME_WAIT socket to test with"
	mark=$(lab_mark agent-b)
	lab_agent_launch b
	lab_wait_log 10 agent-b "$mark" "15008.*TIME_WAIT" || fail "no log line names a TIME_WAIT socket"
	lab_in pod-b1 ss -HK state time-wait 'sport = :15008' >"$LAB_DATA/ss" 2>&1 || say "    ss cannot drop it; waiting for its end"
	heals 75
}

# A socket on the pod's own address is in nobody's way: our listeners are on loopback. SO_REUSEADDR,
# as tunnels of the cases before leave their own TIME_WAIT sockets on that address and port.
elsewhere() {
	hold elsewhere "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('$SERVER', 15008)); s.connect(('$(lab_ip pod-b2)', 8080)); $RESET"
	lab_agent_launch b
	heals 10
	lab_kill elsewhere
}

cases_start
lab_nginx pod-b1
lab_nginx pod-b2
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agent a starts" lab_agent_start a

case_run "an app listens on 0.0.0.0:15008" hold listener "s.bind(('0.0.0.0', 15008)); s.listen()"
case_run "listening app: named, shown, waited for" names_holder_and_waits listener
case_run "listening app: healed when it ends" ends_and_heals listener

case_run "an app connects from 127.0.0.1:15008" hold client "s.bind(('127.0.0.1', 15008)); s.connect(('127.0.0.1', 8080)); $RESET"
case_run "connected app: named, shown, waited for" names_holder_and_waits client
case_run "connected app: healed when it ends" ends_and_heals client

case_run "a TIME_WAIT socket: named, and healed when it is gone" time_wait
case_run "a connection from the pod's address and port 15008" elsewhere
cases_end

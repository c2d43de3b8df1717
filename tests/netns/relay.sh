#!/usr/bin/env bash
# relay: what the agents do between two ends: plaintext in bulk is whole, counted and spliced; silence
# and half-closed silence end with a reason of their own, over HBONE and in plaintext.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)
BYTES=50000000

bulk_is_whole() { # FROM
	local mark line
	mark=$(lab_mark agent-b)
	lab_curl "$1" "http://$SERVER:8080/bulk" -o "$LAB_DATA/bulk"
	cmp "$LAB_DATA/bulk" "$LAB_DATA/nginx-pod-b1/www/bulk" || fail "other bytes came"
	lab_wait_log 10 agent-b "$mark" "connection complete.*src.addr=$(lab_ip "$1"):"
	line=$(lab_since agent-b "$mark" | grep "connection complete.*src.addr=$(lab_ip "$1"):")
	expect_match "the flow's bytes_sent" "bytes_sent=$((BYTES / 1000000))[0-9]{6} " "$line"
	expect_match "the flow's end" 'duration="[0-9]+ms"$' "${line%% error=*}"
}

# The loops keep the pipes that they have used; no flow holds one.
pipes() {
	local n=0 fd
	for fd in /proc/"$(lab_pid agent-b)"/fd/*; do
		case $(readlink "$fd") in pipe:*) n=$((n + 1)) ;; esac
	done
	say $n
}

bulk_is_spliced() {
	local before
	before=$(pipes)
	bulk_is_whole outside
	[ "$(pipes)" -gt "$before" ] || fail "agent b has used no pipe: $before before, $(pipes) after"
	[ "$(pipes)" -le $((before + 2 * 8)) ] || fail "agent b holds $(pipes) pipe ends"
}

# A client that says nothing, or only that it has finished, to a server that says nothing.
silent_client() { # FROM PORT half|open
	lab_in "$1" timeout 30 python3 - "$SERVER" "$2" "$3" <<-'PY'
	import socket, sys
	s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
	s.sendall(b"x")
	if sys.argv[3] == "half":
	    s.shutdown(socket.SHUT_WR)
	try:
	    print("got", len(s.recv(1)))
	except ConnectionResetError:
	    print("reset")
	PY
}

silence_ends() { # FROM open|half AGENT REASON
	local mark got
	mark=$(lab_mark "agent-$3")
	got=$(silent_client "$1" 8090 "$2")
	expect_eq "what the client was told" reset "$got"
	lab_wait_log 10 "agent-$3" "$mark" "end=\"relay us $4\""
}

# Both agents hear the same silence; which one speaks first does not matter.
silence_ends_over_hbone() { # FROM open|half REASON
	local mark_a mark_b
	mark_a=$(lab_mark agent-a) mark_b=$(lab_mark agent-b)
	expect_eq "what the client was told" reset "$(silent_client "$1" 8090 "$2")"
	lab_wait 10 eval "lab_logged agent-a $mark_a 'end=\"relay us $3' || lab_logged agent-b $mark_b 'end=\"relay us $3'" ||
		fail "neither log says: relay us $3"
}

cases_start
lab_nginx
head -c $BYTES /dev/urandom >"$LAB_DATA/nginx-pod-b1/www/bulk"
lab_spawn silent pod-b1 python3 -c '
import socket
l = socket.create_server(("", 8090))
kept = []
while True:
    kept.append(l.accept())'
lab_wait_port pod-b1 8090
LAB_SETTINGS="idleTimeout: 2s
halfCloseTimeout: 1s" lab_settings a
LAB_SETTINGS="idleTimeout: 2s
halfCloseTimeout: 1s" lab_settings b

case_run "both agents become ready" lab_agents_start
case_run "bulk over HBONE is whole" bulk_is_whole pod-a1
case_run "bulk in plaintext is whole, and spliced" bulk_is_spliced
case_run "silence in plaintext" silence_ends outside open b "idle timeout"
case_run "silence in plaintext, half-closed" silence_ends outside half b "half-closed for too long"
case_run "silence over HBONE" silence_ends_over_hbone pod-a1 open "idle timeout"
case_run "silence over HBONE, half-closed" silence_ends_over_hbone pod-a1 half "half-closed for too long"
case_run "agents end with status 0" lab_agents_stop
cases_end

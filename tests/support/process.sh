# process: start programs in a namespace, wait for what they do, and end exactly those.
#
# Sourced by lab.sh. Whoever starts a program writes down its pid and its start time under $LAB_DIR,
# so that a later run can end it even when this one was killed, and can never end a stranger that
# was given the same pid. Nothing here sleeps for a guess: lab_wait polls a condition to a deadline.

LAB_DIR=/run/culvert-lab

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# Field 22 of /proc/PID/stat, counted after the name, which may hold blanks and parentheses.
lab_start_time() {
	local stat fields
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	read -r -a fields <<<"${stat##*) }"
	printf '%s\n' "${fields[19]}"
}

# Waits until COMMAND succeeds; 1 after SECONDS. lab_wait SECONDS COMMAND...
# LAB_PATIENCE multiplies the seconds, for machines that are emulated.
lab_wait() {
	local deadline=$((${EPOCHREALTIME/./} + $1 * ${LAB_PATIENCE:-1} * 1000000))
	shift
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# Starts COMMAND in the namespace culvert-WHERE, with its output in log/NAME.log.
# nsenter and not "ip netns exec": that one hides the host's mounts below /sys behind a new mount
# namespace, and a bpffs mounted in there would die with its process, and the pins with it.
lab_spawn() { # NAME WHERE COMMAND...
	local name=$1 where=$2
	shift 2
	! lab_is_running "$name" || { warn "$name is running already"; return 1; }
	rm -f "$LAB_DIR/exit/$name" "$LAB_DIR/pid/$name"
	(
		trap - EXIT
		nsenter --net="/run/netns/culvert-$where" -- "$@" &
		pid=$!
		printf '%s %s\n' "$pid" "$(lab_start_time "$pid")" >"$LAB_DIR/pid/$name.new"
		mv "$LAB_DIR/pid/$name.new" "$LAB_DIR/pid/$name"
		rc=0
		wait "$pid" 2>/dev/null || rc=$?
		[ -d "$LAB_DIR/exit" ] && printf '%s\n' "$rc" >"$LAB_DIR/exit/$name"
	) </dev/null >>"$LAB_DIR/log/$name.log" 2>&1 9>&- &
	lab_wait 5 test -e "$LAB_DIR/pid/$name"
}

lab_pid() { # NAME
	local pid start
	read -r pid start <"$LAB_DIR/pid/$1" 2>/dev/null && printf '%s\n' "$pid"
}

lab_is_running() { # NAME
	local pid start stat
	[ -e "$LAB_DIR/pid/$1" ] || return 1
	read -r pid start <"$LAB_DIR/pid/$1"
	[ "$(lab_start_time "$pid")" = "$start" ] || return 1
	{ read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
	stat=${stat##*) }
	[ "${stat%% *}" != Z ]
}
lab_is_gone() { ! lab_is_running "$1"; }
lab_has_exited() { [ -s "$LAB_DIR/exit/$1" ]; }

lab_signal() { # SIGNAL NAME
	lab_is_running "$2" || return 0
	kill "-$1" "$(lab_pid "$2")" 2>/dev/null || lab_is_gone "$2"
}

# Asks NAME to end and returns its exit status; 124 when it had to be killed after 10 s.
lab_stop() { # NAME
	lab_signal TERM "$1"
	if ! lab_wait 10 lab_is_gone "$1"; then
		warn "$1 did not end within 10 s of SIGTERM; killing it"
		lab_signal KILL "$1"
		lab_wait 5 lab_is_gone "$1"
		return 124
	fi
	lab_wait 5 lab_has_exited "$1" || return 125
	return "$(cat "$LAB_DIR/exit/$1")"
}

# kill -9, and its status is of no interest.
lab_kill() { # NAME
	lab_signal KILL "$1"
	lab_wait 5 lab_is_gone "$1" && lab_wait 5 lab_has_exited "$1"
}

# Ends everything this lab or one before it started: all asked at once, stragglers killed.
lab_end_all() {
	local file name names=()
	for file in "$LAB_DIR"/pid/*; do
		name=${file##*/}
		[ -e "$file" ] && [ "$name" != '*' ] && names+=("${name%.new}")
	done
	for name in "${names[@]}"; do lab_signal TERM "$name"; done
	for name in "${names[@]}"; do
		lab_wait 5 lab_is_gone "$name" || lab_signal KILL "$name"
	done
	for name in "${names[@]}"; do
		lab_wait 5 lab_is_gone "$name" || warn "process $(lab_pid "$name") ($name) cannot be ended"
	done
}

# Where a log stands now, and what came after that.
lab_mark() { stat -c %s "$LAB_DIR/log/$1.log" 2>/dev/null || say 0; }        # NAME
lab_since() { tail -c "+$(($2 + 1))" "$LAB_DIR/log/$1.log" 2>/dev/null; }    # NAME MARK
lab_logged() { lab_since "$1" "$2" | grep -qE -e "$3"; }                     # NAME MARK REGEX
lab_wait_log() { lab_wait "$1" lab_logged "$2" "$3" "$4"; }                  # SECONDS NAME MARK REGEX
lab_logged_or_gone() { lab_logged "$@" || lab_is_gone "$1"; }

lab_has_listener() { # WHERE PORT
	[ -n "$(nsenter --net="/run/netns/culvert-$1" ss -Hltn "sport = :$2")" ]
}
lab_has_no_listener() { ! lab_has_listener "$@"; }
lab_wait_port() { lab_wait 10 lab_has_listener "$1" "$2"; }

# The last lines of every log, for whoever must find out why.
lab_tails() {
	local log
	for log in "$LAB_DIR"/log/*.log; do
		[ -s "$log" ] || continue
		warn "--- the last lines of ${log##*/}"
		tail -n "${1:-15}" "$log" >&2
	done
}

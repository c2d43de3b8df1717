# cases: the frame of a namespace test: a fresh lab, named cases, a count, and nothing left behind.
#
# Sourced by tests/netns/*.sh. Prints "PASS name", "FAIL name" or "SKIP name: reason" per case, which
# tests/run.sh counts. Ends with 0 (all passed), 1 (some failed) or 77 (nothing could be tried).

LAB_BUILD=${LAB_BUILD:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/dev}
. "$(dirname "${BASH_SOURCE[0]}")/../lab.sh"

CASES_NAME=$(basename "$0" .sh)
CASES_PASSED=0
CASES_FAILED=0

# A case is a function in a subshell under set -e: its first failing command fails it.
case_run() { # NAME FUNCTION...
	local name="$CASES_NAME: $1" rc
	shift
	(
		trap - EXIT
		set -e
		"$@"
	)
	rc=$?
	if [ $rc = 0 ]; then
		CASES_PASSED=$((CASES_PASSED + 1))
		say "PASS $name"
	else
		CASES_FAILED=$((CASES_FAILED + 1))
		say "FAIL $name"
		[ ! -d "$LAB_DIR" ] || lab_tails 8
	fi
	return 0
}

case_skip() { say "SKIP $CASES_NAME: $1: $2"; } # NAME REASON

fail() {
	warn "    $*"
	return 1
}
expect_eq() { # WHAT WANT GOT
	[ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}
# No line that grep would find. A file that is not there is a failure, not an answer; so of what a command says a file
# is made first.
expect_none() { # WHAT GREP-ARGUMENTS... FILE...
	local what=$1 found rc=0
	shift
	found=$(grep "$@") || rc=$?
	[ $rc -le 1 ] || fail "$what: grep could not look (status $rc)" || return
	expect_eq "$what" "" "$found"
}
expect_match() { # WHAT REGEX GOT
	grep -qE -e "$2" <<<"$3" || fail "$1: expected to match '$2', got '$3'"
}

expect_works() { # FROM URL
	expect_eq "curl's status" 200 "$(lab_curl "$1" "$2" -o "$LAB_DATA/body" -w '%{http_code}')"
}

cases_cleanup() {
	lab_down && lab_leftovers
}

cases_end() {
	trap - EXIT
	case_run "no report of a sanitizer, no failed assertion" cases_no_reports
	case_run "nothing is left behind" cases_cleanup
	[ $CASES_FAILED = 0 ]
	exit
}

cases_no_reports() {
	local found
	if found=$(grep -hE -A 12 'Sanitizer|runtime error:|[Aa]ssertion .* failed' "$LAB_DIR"/log/*.log); then
		fail "in the logs: $found"
	fi
}

# A fresh lab, or the end of the script. Agents are not started: cases differ in what they want.
cases_start() {
	if [ "$(id -u)" != 0 ]; then
		case_skip all "needs root to make network namespaces"
		exit 77
	fi
	for program in agent/culvertd agent/culvertctl tests/support/storm; do
		[ -x "$LAB_BUILD/$program" ] && continue
		say "FAIL $CASES_NAME: $LAB_BUILD/$program is not built"
		exit 1
	done
	lab_lock && lab_down || exit 1
	trap 'cases_cleanup' EXIT
	if ! lab_up; then
		say "FAIL $CASES_NAME: the lab cannot be made"
		exit 1
	fi
}

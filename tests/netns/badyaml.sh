#!/usr/bin/env bash
# badyaml: a malformed file gives one sentence with file:line and what was expected, exit status 2, and
# nothing has been started: no listener, no link, no pin, no admin socket.
. "$(dirname "$0")/../support/cases.sh"

MESH=$LAB_DIR/mesh.yaml
SETTINGS=$LAB_DIR/agent-a.yaml

# Runs the agent on what is there and looks at what it said and left.
refused() { # FILE REGEX
	local rc=0 lines
	lab_in node-a timeout 30 "$LAB_BUILD/agent/culvertd" --config "$SETTINGS" \
		>"$LAB_DATA/out" 2>"$LAB_DATA/err" </dev/null || rc=$?
	sed 's/^/    /' "$LAB_DATA/err" | cut -c1-300
	expect_eq "exit status" 2 "$rc"
	lines=$(wc -l <"$LAB_DATA/err")
	expect_eq "lines on stderr" 1 "$lines"
	expect_match "the sentence" "$1:[0-9]+: .*$2" "$(cat "$LAB_DATA/err")"
	expect_eq "listeners in the pod" "" "$(lab_in pod-a1 ss -Hltn)"
	expect_eq "pins" "" "$(find "$LAB_DIR/bpf-a" -type f 2>/dev/null)"
	expect_eq "links" "" "$(lab_bpf_links)"
	[ ! -e "$LAB_DIR/admin-a.sock" ] || fail "there is an admin socket"
	! grep -q 'culvertd ready' "$LAB_DATA/out" || fail "it said that it is ready"
}

mesh() { # SED REGEX: one edit of the good mesh
	lab_mesh </dev/null
	sed -i "$1" "$MESH"
	refused "$MESH" "$2"
}
settings() { # SED REGEX
	lab_mesh </dev/null
	lab_settings a
	sed -i "$1" "$SETTINGS"
	refused "$SETTINGS" "$2"
	lab_settings a
}

mesh_of() { # COMMAND REGEX: another file altogether
	"$1"
	refused "$MESH" "$2"
	lab_mesh </dev/null
}
missing() { rm -f "$MESH"; }
empty() { : >"$MESH"; }
huge() { yes '# a comment line that fills a file of one hundred megabytes and says nothing' | head -c 100000000 >"$MESH"; }
binary() { head -c 4096 /dev/urandom >"$MESH"; }

settings_missing() {
	mv "$SETTINGS" "$SETTINGS.away"
	refused "$SETTINGS" .
}

checks_only() { # --check of the good files: status 0, nothing started
	local rc=0
	lab_mesh </dev/null
	lab_settings a
	lab_in node-a "$LAB_BUILD/agent/culvertd" --check --config "$SETTINGS" >"$LAB_DATA/out" 2>&1 || rc=$?
	expect_eq "exit status of --check" 0 "$rc"
	expect_eq "links" "" "$(lab_bpf_links)"
}

cases_start
case_run "the good files pass --check" checks_only
case_run "mesh: bad indentation" mesh '4s/^  /     /' .
case_run "mesh: a tab for indentation" mesh '4s/^  /\t/' .
case_run "mesh: unknown key" mesh '3s/name:/nmae:/' nmae
case_run "mesh: wrong type" mesh 's/^  workloadIps: .*11"]$/  workloadIps: 10.1.0.11/' list
case_run "mesh: bad IP" mesh 's/10\.1\.0\.11/10.1.0.256/' '10\.1\.0\.256'
case_run "mesh: duplicate uid" mesh 's,Pod/demo/other,Pod/demo/client,' 'Pod/demo/client'
case_run "mesh: missing file" mesh_of missing .
case_run "mesh: empty file" mesh_of empty .
case_run "mesh: 100 MB file" mesh_of huge .
case_run "mesh: bytes that are no text" mesh_of binary .
case_run "settings: unknown key" settings '1s/nodeName/nodName/' nodName
case_run "settings: wrong type" settings 's/^workerThreads: .*/workerThreads: many/' many
case_run "settings: bad indentation" settings '2s/^/   /' .
case_run "settings: pods are no list" settings '/^- /d; s/^pods:/pods: 7/' pods
case_run "settings: missing file" settings_missing
cases_end

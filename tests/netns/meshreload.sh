#!/usr/bin/env bash
# meshreload: the mesh file is read again when it changes, in place or by a rename; a broken one is one
# sentence in the log, and what was known before stays in force.
. "$(dirname "$0")/../support/cases.sh"

SERVER=$(lab_ip pod-b1)
MESH=$LAB_DIR/mesh.yaml

read_again() { # REGEX COMMAND...: what changes the file; waits for agent b's word on it
	local mark regex=$1
	shift
	mark=$(lab_mark agent-b)
	"$@" || return
	lab_wait_log 10 agent-b "$mark" "$regex" || fail "agent b does not say $regex"
}

deny_by_rename() {
	LAB_SELECTED=
	lab_deny deny-all server >"$LAB_DATA/deny"
	mv "$MESH" "$MESH.before"
	lab_mesh <"$LAB_DATA/deny"
	mv "$MESH" "$MESH.after"
	cp "$MESH.before" "$MESH"
	mv "$MESH.after" "$MESH"
}
broken() { printf 'workloads:\n- {uid: a\n' >"$MESH"; }
in_place() { lab_mesh </dev/null; }

refused() {
	local rc=0
	lab_curl pod-a1 "http://$SERVER:8080/" -o /dev/null || rc=$?
	expect_match "curl's exit status" '^(56|7)$' "$rc"
}

# A pod that says in the settings that it is somebody else than the mesh says: said at its start, shown as long as it is so.
other_account() {
	local mark why='the mesh says that its service account is server, and not somebody: all its connections are refused'
	lab_stop agent-b
	sed -i 's/\(name: server, .*serviceAccount: \)server/\1somebody/' "$LAB_DIR/agent-b.yaml"
	mark=$(lab_mark agent-b)
	lab_agent_start b
	lab_wait_log 5 agent-b "$mark" "error.*not known in the mesh.*pod=demo/server.*: $why" || fail "agent b does not say so"
	refused
	expect_match "status" "demo/server .*$why" "$(lab_ctl b status)"
	read_again 'mesh file read again' sed -i '/^  name: server$/,/serviceAccount/ s/serviceAccount: server/serviceAccount: somebody/' "$MESH"
	lab_ctl b status >"$LAB_DATA/status"
	expect_none "status" 'service account' "$LAB_DATA/status"
	read_again 'mesh file read again' sed -i '/^  name: server$/,/node:/ s/node: node-b/node: node-x/' "$MESH"
	expect_match "status" 'demo/server .*the mesh says that it is on node node-x, and not on node-b: all' "$(lab_ctl b status)"
	read_again 'mesh file read again' sed -i 's/^  name: server$/  name: another/' "$MESH"
	expect_match "status" 'demo/server .*the mesh has no workload of this name: all' "$(lab_ctl b status)"
}

cases_start
lab_nginx
echo hello >"$LAB_DATA/nginx-pod-b1/www/index.html"
case_run "agents start" lab_agents_start
case_run "before" expect_works pod-a1 "http://$SERVER:8080/"
case_run "a policy comes, by a rename" read_again 'mesh file read again.*policies=1' deny_by_rename
case_run "it is in force" refused
case_run "a broken file" read_again 'mesh file cannot be taken.*mesh.yaml:[0-9]+: ' broken
case_run "the policy is in force still" refused
case_run "it goes, in place" read_again 'mesh file read again.*policies=1' in_place
case_run "allowed again" expect_works pod-a1 "http://$SERVER:8080/"
case_run "a pod of another service account than the mesh says" other_account
cases_end

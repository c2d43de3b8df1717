# controlplane: the lab's istiod: controlplane.py in the namespace of the machine outside, which both nodes
# reach, with the lab's mesh and the lab's CA.
#
# Sourced after lab.sh. Each agent has an account of its own: tokens in $LAB_DIR/token-a and token-b.

CONTROLPLANE_NAME=istiod.istio-system.svc

controlplane_accounts() {
	local node
	for node in a b; do
		(umask 077 && say "token-of-$node-$RANDOM$RANDOM" >"$LAB_DIR/token-$node") || return 1
		say "- {token: $(cat "$LAB_DIR/token-$node"), namespace: istio-system, serviceAccount: ztunnel, pod: ztunnel-$node, node: node-$node}"
	done >"$LAB_DIR/accounts.yaml"
}

# Serves $LAB_DIR/mesh.yaml at https://[address of outside]:15012. More options for controlplane.py serve may follow.
controlplane_start() {
	local mark
	mark=$(lab_mark controlplane)
	{ [ -f "$LAB_DIR/accounts.yaml" ] || controlplane_accounts; } &&
		lab_spawn controlplane outside "$LAB_ROOT/tests/support/controlplane.py" serve \
			--listen "$(lab_ip outside):15012" --name $CONTROLPLANE_NAME --socket "$LAB_DIR/controlplane.sock" \
			--mesh "$LAB_DIR/mesh.yaml" --ca "$LAB_DIR/ca-cert.pem" "$LAB_DIR/ca-key.pem" \
			--accounts "$LAB_DIR/accounts.yaml" "$@" &&
		lab_wait_log 20 controlplane "$mark" 'listening on' || { warn "the control plane does not start"; return 1; }
}

# One command; its answer on stdout, 1 where it is an error.
controlplane() { # COMMAND...
	"$LAB_ROOT/tests/support/controlplane.py" "$LAB_DIR/controlplane.sock" "$@"
}

# The mesh as lab_mesh has just written it.
controlplane_reload() { controlplane reload >/dev/null; }

# An agent whose mesh and certificates come from there, and nothing of either from files. LAB_SETTINGS as ever.
controlplane_settings() { # a|b
	lab_settings "$1" && sed -i '/^meshFile:/d; /^fakeCa/d' "$LAB_DIR/agent-$1.yaml" &&
		cat >>"$LAB_DIR/agent-$1.yaml" <<-YAML
		xdsAddress: https://$(lab_ip outside):15012
		altXdsHostname: $CONTROLPLANE_NAME
		xdsRootCa: $LAB_DIR/ca-cert.pem
		caAddress: https://$(lab_ip outside):15012
		altCaHostname: $CONTROLPLANE_NAME
		caRootCa: $LAB_DIR/ca-cert.pem
		authToken: $LAB_DIR/token-$1
		podName: ztunnel-$1
		podNamespace: istio-system
		YAML
}

# inpod: pods the way istio-cni makes them: packet filter rules in each (reference/controlplane 6.8,
# datapath 3.9), and a scripted istio-cni (zds.py) that hands them to an agent in shared mode.
#
# Sourced after cases.sh. Agents are started with ztunnel's environment alone: no --config.

INPOD_PROBE4=169.254.7.127
INPOD_PROBE6=fd16:9254:7127:1337:ffff:ffff:ffff:ffff

# Rules of one family in one pod. What carries the agent's mark is never redirected; what the agent
# sends to the app with a client's address is remembered by a mark of the connection, and so the
# app's replies find back to the agent although they are addressed to the client.
inpod_rules_of() { # WHERE COMMAND LOOPBACK PROBE
	lab_in "$1" "$2-restore" --wait 10 <<-RULES
	*mangle
	-A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
	-A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
	COMMIT
	*nat
	-A PREROUTING -s $4 -p tcp -j ACCEPT
	-A PREROUTING ! -d $3 -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
	-A OUTPUT -d $4 -p tcp -j ACCEPT
	-A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
	-A OUTPUT ! -d $3 -o lo -j ACCEPT
	-A OUTPUT ! -d $3 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
	COMMIT
	RULES
}

inpod_rules() { # WHERE
	inpod_rules_of "$1" iptables 127.0.0.1/32 $INPOD_PROBE4 &&
		inpod_rules_of "$1" ip6tables ::1/128 $INPOD_PROBE6 &&
		ip -n "culvert-$1" rule add fwmark 0x111/0xfff pref 32764 lookup 100 &&
		ip -n "culvert-$1" route add local 0.0.0.0/0 dev lo table 100 &&
		ip -n "culvert-$1" -6 rule add fwmark 0x111/0xfff pref 32764 lookup 100 &&
		ip -n "culvert-$1" -6 route add local ::/0 dev lo table 100
}

inpod_possible() {
	lab_in pod-a1 iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001 2>"$LAB_DIR/log/iptables.log" &&
		lab_in pod-a1 iptables -t nat -F OUTPUT
}

# The istio-cni of a node.
cni_start() { # a|b
	mkfifo "$LAB_DIR/cni-$1.fifo"
	lab_spawn "cni-$1" "node-$1" "$LAB_ROOT/tests/support/zds.py" "$LAB_DIR/zds-$1.sock" "$LAB_DIR/cni-$1.fifo" &&
		lab_wait_log 10 "cni-$1" 0 listening
}

# One command; its answer on stdout.
cni() { # a|b COMMAND...
	local node=$1 mark
	shift
	mark=$(lab_mark "cni-$node")
	say "$*" >"$LAB_DIR/cni-$node.fifo"
	lab_wait_log 15 "cni-$node" "$mark" '^(ok|error)' || { warn "istio-cni did not answer: $*"; return 1; }
	lab_since "cni-$node" "$mark"
}

cni_says() { # a|b ANSWER COMMAND...
	local node=$1 want=$2
	shift 2
	expect_eq "$*" "$want" "$(cni "$node" "$@")"
}
cni_refuses() { # a|b REGEX COMMAND...
	local node=$1 want=$2
	shift 2
	expect_match "$*" "^ok nack .*$want" "$(cni "$node" "$@")"
}

inpod_netns() { say "/run/netns/culvert-$1"; } # WHERE
inpod_pods() {                                 # a|b: as WHERE:NAME
	local pod
	for pod in "${LAB_PODS[@]}"; do [ "${pod:4:1}" != "$1" ] || say "$pod"; done
}

cni_adds() { # a|b WHERE:NAME
	cni_says "$1" "ok ack" add "uid-${2#*:}" demo "${2#*:}" "${2#*:}" "$(inpod_netns "${2%:*}")"
}
cni_hands_over() { # a|b
	local pod
	cni_says "$1" "ok hello" accept || return 1
	for pod in $(inpod_pods "$1"); do cni_adds "$1" "$pod" || return 1; done
	cni_says "$1" "ok ack" snapshot
}

# An agent as a DaemonSet would start it: with variables alone, unless LAB_BACKEND is to be forced. /run/culvert, where it keeps its admin socket, is its own,
# and with INPOD_APART=--net its network namespace too.
inpod_agent_launch() { # a|b [NAME [VARIABLE=VALUE...]]
	local node=$1 name=${2:-agent-$1} config=()
	shift
	[ $# = 0 ] || shift
	if [ -n "${LAB_BACKEND:-}" ]; then # which has no variable
		say "loopBackend: $LAB_BACKEND" >"$LAB_DIR/shared.yaml"
		config=(--config "$LAB_DIR/shared.yaml")
		set -- PROXY_MODE=shared "$@"
	fi
	lab_mark "$name" >"$LAB_DIR/$name.mark"
	mkdir -p /run/culvert "$LAB_DIR/state/$name"
	lab_spawn "$name" "node-$node" unshare --mount --propagation private ${INPOD_APART:-} sh -ec \
		'ip link set lo up; mount --bind "$1" /run/culvert; shift; exec "$@"' sh "$LAB_DIR/state/$name" \
		env NODE_NAME="node-$node" INPOD_UDS="$LAB_DIR/zds-$node.sock" LOCAL_XDS_PATH="$LAB_DIR/mesh.yaml" \
		XDS_ADDRESS= CA_ADDRESS= FAKE_CA=true FAKE_CA_CERT="$LAB_DIR/ca-cert.pem" FAKE_CA_KEY="$LAB_DIR/ca-key.pem" \
		ISTIO_META_DNS_CAPTURE=false ZTUNNEL_WORKER_THREADS=2 RUST_LOG="${LAB_LOG:-info}" "$@" \
		"$LAB_BUILD/agent/culvertd" "${config[@]}" proxy
}

inpod_ctl() { # AGENT ARGS...
	local name=$1
	shift
	"$LAB_BUILD/agent/culvertctl" --socket "$LAB_DIR/state/$name/admin.sock" "$@"
}

# Status and body of GET /healthz/ready, as a kubelet would ask.
inpod_readiness() { # a|b
	lab_curl "node-$1" "http://127.0.0.1:15021/healthz/ready" -w '%{http_code}'
}
inpod_is_ready() { [ "$(inpod_readiness "$1" 2>/dev/null)" = $'ready\n200' ]; }

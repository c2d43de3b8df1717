# lab: two nodes with two pods each, and one machine outside the mesh, out of network namespaces.
#
#   pod-a1 client  10.1.0.11 fd00:1::11 ┐                                    ┌ pod-b1 server 10.2.0.11 fd00:2::11
#                                       ├ node-a ── link0 10.99.0.0/24 ── node-b ┤
#   pod-a2 other   10.1.0.12 fd00:1::12 ┘        fd00:99::/64           │    └ pod-b2 vault  10.2.0.12 fd00:2::12
#                                                                       └ outside 10.3.0.11 fd00:3::11
#   service web.demo at 10.96.0.7 and fd00:96::7, port 80 -> server:8080
#
# Sourced, as root. Everything is named culvert-* or lies below $LAB_DIR (process.sh), one lab per
# machine, guarded by a lock. lab_down removes it all, also what a killed run left behind.
# A function returns 0, or 1 after one sentence on stderr.

LAB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$LAB_ROOT/tests/support/process.sh"

LAB_BUILD=${LAB_BUILD:-$LAB_ROOT/build/release}
LAB_SPACES=(node-a node-b pod-a1 pod-a2 pod-b1 pod-b2 outside)
LAB_PODS=(pod-a1:client pod-a2:other pod-b1:server pod-b2:vault)
LAB_VIP4=10.96.0.7
LAB_VIP6=fd00:96::7

# pod-a1 -> 10.1.0.11, -6 pod-a1 -> fd00:1::11
lab_ip() { # [-6] WHERE
	local net=10. zero=.0. node host
	[ "$1" = -6 ] && net=fd00: && zero=:: && shift
	case $1 in
	pod-a[12]) node=1 host=1${1#pod-a} ;;
	pod-b[12]) node=2 host=1${1#pod-b} ;;
	outside) node=3 host=11 ;;
	node-a) node=1 host=1 ;;
	node-b) node=2 host=1 ;;
	esac
	say "$net$node$zero$host"
}

# Runs COMMAND in a namespace: lab_in pod-a1 curl ...
lab_in() {
	local where=$1
	shift
	nsenter --net="/run/netns/culvert-$where" -- "$@"
}

# One lab at a time. The lock is on descriptor 9, which lab_spawn keeps from its children.
lab_lock() {
	exec 9>/run/culvert-lab.lock
	flock -n 9 && return
	say "another lab is in use on this machine; waiting for it (15 minutes at most)"
	flock -w 900 9 || { warn "the other lab did not end"; return 1; }
}

lab_space() { # WHERE FORWARD
	ip netns add "culvert-$1" &&
		ip -n "culvert-$1" link set lo up &&
		lab_in "$1" sh -ec "
			for f in all default; do
				echo 0 >/proc/sys/net/ipv6/conf/\$f/disable_ipv6
				echo 0 >/proc/sys/net/ipv6/conf/\$f/accept_dad
				echo $2 >/proc/sys/net/ipv6/conf/\$f/forwarding
			done
			echo $2 >/proc/sys/net/ipv4/ip_forward"
}

# A pod the way CNIs with routed pods do it: /32 addresses, everything through the node.
lab_attach() { # NODE WHERE IP4 IP6 GATEWAY4 GATEWAY6
	local node=culvert-$1 where=culvert-$2 port=$2
	ip -n "$node" link add "$port" type veth peer name eth0 netns "$where" &&
		ip -n "$node" addr add "$5/32" dev "$port" &&
		ip -n "$node" addr add "$6/128" dev "$port" nodad &&
		ip -n "$node" link set "$port" up &&
		ip -n "$where" addr add "$3/32" dev eth0 &&
		ip -n "$where" addr add "$4/128" dev eth0 nodad &&
		ip -n "$where" link set eth0 up &&
		ip -n "$where" route add "$5" dev eth0 &&
		ip -n "$where" route add default via "$5" &&
		ip -n "$where" -6 route add "$6" dev eth0 &&
		ip -n "$where" -6 route add default via "$6" &&
		ip -n "$node" route add "$3" dev "$port" &&
		ip -n "$node" -6 route add "$4" dev "$port"
}

lab_link() {
	ip -n culvert-node-a link add link0 type veth peer name link0 netns culvert-node-b &&
		ip -n culvert-node-a addr add 10.99.0.1/24 dev link0 &&
		ip -n culvert-node-b addr add 10.99.0.2/24 dev link0 &&
		ip -n culvert-node-a addr add fd00:99::1/64 dev link0 nodad &&
		ip -n culvert-node-b addr add fd00:99::2/64 dev link0 nodad &&
		ip -n culvert-node-a link set link0 up &&
		ip -n culvert-node-b link set link0 up &&
		ip -n culvert-node-a route add 10.2.0.0/15 via 10.99.0.2 &&
		ip -n culvert-node-b route add 10.1.0.0/16 via 10.99.0.1 &&
		ip -n culvert-node-a -6 route add fd00:2::/31 via fd00:99::2 &&
		ip -n culvert-node-b -6 route add fd00:1::/32 via fd00:99::1
}

lab_topology() {
	local where node
	for where in "${LAB_SPACES[@]}"; do
		case $where in
		node-*) lab_space "$where" 1 || return 1 ;;
		*) lab_space "$where" 0 || return 1 ;;
		esac
	done
	lab_link || return 1
	for where in pod-a1 pod-a2 pod-b1 pod-b2; do
		node=$([ "${where#pod-a}" != "$where" ] && echo 1 || echo 2)
		lab_attach "node-${where:4:1}" "$where" "$(lab_ip "$where")" "$(lab_ip -6 "$where")" \
			"10.$node.0.1" "fd00:$node::1" || return 1
	done
	lab_attach node-b outside "$(lab_ip outside)" "$(lab_ip -6 outside)" 10.3.0.1 fd00:3::1
}

# The built-in CA's root, shared by both agents.
lab_ca() {
	(umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-subj /O=cluster.local -addext 'keyUsage=critical,keyCertSign,cRLSign' \
		-keyout "$LAB_DIR/ca-key.pem" -out "$LAB_DIR/ca-cert.pem" 2>"$LAB_DIR/log/openssl.log") ||
		{ warn "openssl could not make the lab's CA; see $LAB_DIR/log/openssl.log"; return 1; }
}

# The agents attach to the root of the cgroup2 hierarchy. Where nothing mounts one, we do.
lab_cgroup() {
	LAB_CGROUP=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
	[ -z "$LAB_CGROUP" ] || return 0
	LAB_CGROUP=$LAB_DIR/cgroup
	mkdir -p "$LAB_CGROUP" && mount -t cgroup2 none "$LAB_CGROUP"
}

lab_up() {
	mkdir -p "$LAB_DIR"/{pid,exit,log,state} && chmod 755 "$LAB_DIR" || return 1
	LAB_DATA=$(mktemp -d /var/tmp/culvert-lab.XXXXXX) && chmod 755 "$LAB_DATA" || return 1
	say "$LAB_DATA" >"$LAB_DIR/data"
	lab_cgroup || { warn "no cgroup2 hierarchy, and none can be mounted"; return 1; }
	lab_topology || { warn "the namespaces of the lab cannot be made"; return 1; }
	lab_ca && lab_mesh </dev/null && lab_settings a && lab_settings b
}

lab_down() {
	local where data mount
	[ -d "$LAB_DIR" ] && lab_end_all
	# Pins first: a link that is only pinned goes with its file.
	for mount in $(awk -v dir="$LAB_DIR/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | tac); do
		case $mount in "$LAB_DIR/bpf"*) find "$mount" -xdev -type f ! -name '*.debug' -delete ;; esac
		umount "$mount" || { warn "$mount is still in use"; return 1; }
	done
	for where in "${LAB_SPACES[@]}"; do
		[ ! -e "/run/netns/culvert-$where" ] || ip netns del "culvert-$where" || return 1
	done
	if [ -s "$LAB_DIR/data" ]; then
		read -r data <"$LAB_DIR/data"
		case $data in /var/tmp/culvert-lab.*) rm -rf --one-file-system "$data" ;; esac
	fi
	rm -rf --one-file-system "$LAB_DIR"
}

# Whether anything of ours is left on the machine: prints it and returns 1.
lab_leftovers() {
	local found where
	found=$(
		for where in "${LAB_SPACES[@]}"; do
			[ ! -e "/run/netns/culvert-$where" ] || say "namespace culvert-$where"
		done
		awk -v dir="$LAB_DIR/" 'index($2, dir) == 1 { print "mount " $2 }' /proc/self/mounts
		[ ! -e "$LAB_DIR" ] || say "directory $LAB_DIR"
	)
	[ -z "$found" ] || { warn "left behind: $found"; return 1; }
}

lab_workload() { # WHERE NAME
	local line node=node-${1:4:1}
	case $1 in
	outside) node=elsewhere ;;
	node-*) node=$1 ;;
	esac
	cat <<-YAML
	- uid: lab//Pod/demo/$2
	  name: $2
	  namespace: demo
	  serviceAccount: $2
	  trustDomain: cluster.local
	  node: $node
	  protocol: HBONE
	  workloadIps: ["$(lab_ip "$1")", "$(lab_ip -6 "$1")"]
	YAML
	case $2 in
	server) say '  services: {demo/web.demo.svc.cluster.local: {80: 8080}}' ;;
	*) say '  services: {}' ;;
	esac
	line=$(sed -n "s/^$2=//p" <<<"${LAB_SELECTED:-}")
	[ -z "$line" ] || say "  authorizationPolicies: [$line]"
}

# Writes the mesh both agents read. stdin: entries for its list of policies.
# LAB_SELECTED holds lines WORKLOAD=ns/policy for policies that are bound to one workload. LAB_GUESTS:
# more workloads as WHERE:NAME, which speak HBONE without an agent of ours.
lab_mesh() {
	local pod policies
	policies=$(cat)
	{
		say "workloads:"
		for pod in "${LAB_PODS[@]}" ${LAB_GUESTS:-}; do lab_workload "${pod%:*}" "${pod#*:}"; done
		cat <<-YAML
		services:
		- name: web
		  namespace: demo
		  hostname: web.demo.svc.cluster.local
		  vips: [/$LAB_VIP4, "/$LAB_VIP6"]
		  ports: {80: 8080}
		YAML
		[ -z "$policies" ] || printf 'policies:\n%s\n' "$policies"
	} >"$LAB_DIR/mesh.yaml"
}

# A policy that refuses what comes from ServiceAccount SA, or with none everything.
lab_deny() { # NAME WORKLOAD [SA]
	local match="notPrincipals: [!Exact nobody]"
	[ -z "${3:-}" ] || match="principals: [!Exact cluster.local/ns/demo/sa/$3]"
	LAB_SELECTED="${LAB_SELECTED:-}${LAB_SELECTED:+$'\n'}$2=demo/$1"
	cat <<-YAML
	- name: $1
	  namespace: demo
	  scope: WorkloadSelector
	  action: Deny
	  dryRun: false
	  rules: [[[{$match}]]]
	YAML
}

# LAB_SETTINGS holds more lines for the settings file; LAB_BACKEND forces io_uring or epoll.
lab_settings() { # a|b
	local pod where name
	{
		cat <<-YAML
		nodeName: node-$1
		meshFile: $LAB_DIR/mesh.yaml
		fakeCa: true
		fakeCaCert: $LAB_DIR/ca-cert.pem
		fakeCaKey: $LAB_DIR/ca-key.pem
		stateDir: $LAB_DIR/state/$1
		bpfDir: $LAB_DIR/bpf-$1
		cgroupDir: $LAB_CGROUP
		adminSocket: $LAB_DIR/admin-$1.sock
		log: ${LAB_LOG:-info}
		workerThreads: 2
		YAML
		[ -z "${LAB_BACKEND:-}" ] || say "loopBackend: $LAB_BACKEND"
		[ -z "${LAB_SETTINGS:-}" ] || say "$LAB_SETTINGS"
		say "pods:"
		for pod in "${LAB_PODS[@]}"; do
			where=${pod%:*} name=${pod#*:}
			[ "${where:4:1}" = "$1" ] || continue
			say "- {name: $name, namespace: demo, serviceAccount: $name, netns: /run/netns/culvert-$where}"
		done
	} >"$LAB_DIR/agent-$1.yaml"
}

# Starts an agent and waits until it says that its pods are enrolled.
lab_agent_start() { # a|b
	lab_agent_launch "$1" && lab_agent_ready "$1"
}
lab_agent_launch() { # a|b
	lab_mark "agent-$1" >"$LAB_DIR/agent-$1.mark"
	lab_spawn "agent-$1" "node-$1" "$LAB_BUILD/agent/culvertd" --config "$LAB_DIR/agent-$1.yaml"
}
lab_agent_ready() { # a|b [SECONDS]
	local mark
	mark=$(cat "$LAB_DIR/agent-$1.mark")
	lab_wait "${2:-20}" lab_logged_or_gone "agent-$1" "$mark" 'culvertd ready'
	lab_logged "agent-$1" "$mark" 'culvertd ready' && return
	warn "agent $1 did not become ready; it said:"
	lab_since "agent-$1" "$mark" | tail -n 20 >&2
	return 1
}

# kill -9. What io_uring held of its sockets the kernel closes a few milliseconds after the process is
# gone: a connection in between is not refused but reset, so that is waited for.
lab_agent_kill() { # a|b
	local pod
	lab_kill "agent-$1" || return 1
	for pod in "${LAB_PODS[@]}"; do
		[ "${pod:4:1}" != "$1" ] || lab_wait 5 lab_has_no_listener "${pod%:*}" 15001 || return 1
	done
}

lab_ctl() { # a|b ARGS...
	local node=$1
	shift
	"$LAB_BUILD/agent/culvertctl" --socket "$LAB_DIR/admin-$node.sock" "$@"
}

# A web server in pod-b1 that keeps an access log with the client's address as the server saw it.
# One process (no master), so that the pid we know is all there is.
lab_nginx() { # [WHERE]
	local where=${1:-pod-b1} dir=$LAB_DATA/nginx-${1:-pod-b1}
	mkdir -p "$dir/www" "$dir/tmp"
	cat >"$dir/nginx.conf" <<-CONF
	daemon off;
	master_process off;
	pid $dir/pid;
	error_log $dir/error.log;
	events { worker_connections 1024; }
	http {
		log_format lab '\$remote_addr "\$request" \$status';
		access_log $dir/access.log lab;
		client_body_temp_path $dir/tmp;
		proxy_temp_path $dir/tmp;
		fastcgi_temp_path $dir/tmp;
		uwsgi_temp_path $dir/tmp;
		scgi_temp_path $dir/tmp;
		default_type text/plain;
		sendfile on;
		server {
			listen 8080;
			listen [::]:8080;
			root $dir/www;
		}
	}
	CONF
	lab_spawn "nginx-$where" "$where" nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf" &&
		lab_wait_port "$where" 8080 || { warn "nginx does not listen in $where"; return 1; }
}

# One request from a pod: its body on stdout, or with -w what curl knows about it.
lab_curl() { # WHERE URL [CURL ARGS...]
	local where=$1 url=$2
	shift 2
	lab_in "$where" curl -sS -g --noproxy '*' --max-time $((20 * ${LAB_PATIENCE:-1})) "$@" "$url"
}

# Both agents, with the settings and the mesh as they are now.
lab_agents_start() {
	lab_agent_launch a && lab_agent_launch b && lab_agent_ready a && lab_agent_ready b
}
lab_agents_stop() { lab_stop agent-a && lab_stop agent-b; }

# The BPF links the agents have pinned, by number. Those of others on this machine are not ours to count.
lab_bpf_links() {
	find "$LAB_DIR"/bpf-* -type f -exec bpftool link show pinned {} \; 2>/dev/null |
		sed -n 's/^\([0-9]*\):.*/\1/p' | sort
}
# None of the links whose numbers are in FILE exists any more.
lab_bpf_links_gone() { # FILE
	[ -s "$1" ] && [ -z "$(bpftool link show | sed -n 's/^\([0-9]*\):.*/\1/p' | sort | comm -12 "$1" -)" ]
}

# Descriptors an agent has open.
lab_fds() { # a|b
	ls "/proc/$(lab_pid "agent-$1")/fd" | wc -l
}

# Captures the link between the nodes into FILE until lab_capture_stop.
lab_capture() { # FILE [SNAPLEN]
	local mark
	mark=$(lab_mark capture)
	say "$1" >"$LAB_DIR/captured"
	lab_spawn capture node-a tcpdump -i link0 -n --immediate-mode -B 32768 -s "${2:-0}" -U -Z root -w "$1" &&
		lab_wait_log 10 capture "$mark" 'listening on' || { warn "tcpdump cannot capture"; return 1; }
}
# tcpdump drops what it has not read when it is told to end, so a last datagram is sent first and
# waited for in the file: all that came before it is in there too.
lab_capture_stop() {
	lab_in node-b bash -c "echo culvert-capture-ends >/dev/udp/10.99.0.1/9" &&
		lab_wait 20 lab_capture_has_end || { warn "the capture lags behind"; return 1; }
	lab_stop capture
}
lab_capture_has_end() { tail -c 4096 "$(cat "$LAB_DIR/captured")" | grep -aq culvert-capture-ends; }

# lib: what every pair file stands on. Run as: bash lib.sh PAIR_FILE FUNCTION [ARGUMENT]...
#
# A pair is two agents, one on each node, that carry TCP between them. Its file defines
#
#   pair_start            starts both; returns when they take connections
#   pair_target KIND      prints the ADDRESS:PORT that the client in pod-a is to dial, for each of
#                         the three ports of the server: sink, echo and source
#
# and, where the defaults below do not fit,
#
#   pair_prepare          once, before all: installs or checks what it needs; exit 77 with one
#                         sentence on stdout when it cannot be had
#   pair_pids             the processes whose time and memory are the agents' (default: spawned)
#   pair_stop             ends all of it, mounts and pins included (default: the spawned)
#   pair_describe         one line: what it is, its version, how it is set
#
# Each call is a shell of its own; what must outlive it goes into $BENCH_DIR (empty at start,
# removed at the end). Everything else is given by the environment:
#
#   BENCH_DIR BENCH_TOOLS (load, relay) BENCH_BUILD (build tree)  BENCH_CONNS_MAX
#   BENCH_CPU_A BENCH_CPU_B
#   BENCH_SINK_PORT BENCH_ECHO_PORT BENCH_SOURCE_PORT (the server's, on BENCH_POD_B)
#   BENCH_NODE_A BENCH_NODE_B (addresses between the nodes)  BENCH_GATE_A (node A as pod-a sees it)
#   BENCH_POD_A BENCH_POD_B (addresses)  BENCH_NETNS (path before node-a, node-b, pod-a, pod-b)
set -euo pipefail

fail() {
  echo "$*" >&2
  exit 1
}

# unavailable WHY: ends pair_prepare.
unavailable() {
  echo "$*"
  exit 77
}

# within PART COMMAND...: in that namespace, on the processor of its side. `ip netns exec` would
# hide /sys/fs/bpf and /sys/fs/cgroup, which agents may need; so nsenter.
within() {
  local part=$1 cpu=$BENCH_CPU_A
  shift
  case $part in *-b) cpu=$BENCH_CPU_B ;; esac
  exec taskset -c "$cpu" nsenter --net="$BENCH_NETNS$part" "$@"
}

# spawn NAME PART COMMAND...: in the background, pid in NAME.pid, output in NAME.log.
spawn() {
  local name=$1 part=$2
  shift 2
  (within "$part" "$@") </dev/null >"$BENCH_DIR/$name.log" 2>&1 &
  echo $! >"$BENCH_DIR/$name.pid"
}

# A process that nobody waited for yet is as good as gone.
is_alive() {
  grep -Eqs '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$1/status"
}

# wait_until NAME SECONDS WHAT COMMAND...: until COMMAND succeeds, or the process NAME is gone.
wait_until() {
  local name=$1 tries=$(($2 * 20)) what=$3
  shift 3
  until "$@"; do
    is_alive "$(cat "$BENCH_DIR/$name.pid")" || fail "$name ended before $what"
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "$name: $what did not come in time"
    sleep 0.05
  done
}

has_line() {
  grep -qF -- "$2" "$BENCH_DIR/$1.log"
}

has_port() {
  [ -n "$(nsenter --net="$BENCH_NETNS$1" ss -Hltn "sport = :$2")" ]
}

# wait_line NAME TEXT SECONDS; wait_port NAME PART PORT
wait_line() {
  wait_until "$1" "$3" "the line '$2'" has_line "$1" "$2"
}

wait_port() {
  wait_until "$1" 10 "listening on port $3" has_port "$2" "$3"
}

# The three ports: of the server, and of an agent that has a port for each (on either node).
KINDS="sink echo source"

server_port() { # KIND
  case $1 in
  sink) echo "$BENCH_SINK_PORT" ;;
  echo) echo "$BENCH_ECHO_PORT" ;;
  source) echo "$BENCH_SOURCE_PORT" ;;
  esac
}

agent_port() { # KIND
  echo $(($(server_port "$1") - 1000))
}

# What pair_target prints: where agents capture the connection, and where they listen on node A.
server_target() { # KIND
  echo "$BENCH_POD_B:$(server_port "$1")"
}

gate_target() { # KIND
  echo "$BENCH_GATE_A:$(agent_port "$1")"
}

# apt_install COMMAND PACKAGE: unless the command is there already.
apt_install() {
  command -v "$1" >/dev/null && return
  echo "installing $2" >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2" >&2 ||
    unavailable "$1 is not installed, and apt-get install $2 failed (apt-get update first?)"
}

# A CA and one leaf per node, ECDSA P-256, as files ca.pem, ca.key and a.pem, b.pem (key and chain).
make_certificates() {
  local side dir=$BENCH_DIR
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
      -keyout "$dir/ca.key" -out "$dir/ca.pem" -subj "/O=cluster.local" \
      -addext "basicConstraints=critical,CA:true" -addext "keyUsage=critical,keyCertSign,cRLSign"
    for side in a b; do
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$dir/$side.key" -out "$dir/$side.csr" -subj "/"
      openssl x509 -req -in "$dir/$side.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 2 \
        -set_serial 0x0$((RANDOM + 1))$((RANDOM + 1)) -out "$dir/$side.crt" -extfile <(
          echo "subjectAltName=critical,URI:spiffe://cluster.local/ns/bench/sa/pod-$side"
          echo "keyUsage=critical,digitalSignature"
          echo "extendedKeyUsage=serverAuth,clientAuth"
        )
      cat "$dir/$side.key" "$dir/$side.crt" >"$dir/$side.pem"
    done
  } >"$dir/openssl.out" 2>&1 || fail "openssl: $(cat "$dir/openssl.out")"
}

# openssl_of BINARY: the version that its libcrypto states of itself.
openssl_of() {
  local crypto found=
  crypto=$(ldd "$1" | sed -n 's/.*libcrypto[^ ]* => \([^ ]*\).*/\1/p')
  [ -z "$crypto" ] ||
    found=$(grep -aoE 'OpenSSL [0-9]+\.[0-9]+\.[0-9]+ [0-9]+ [A-Z][a-z]+ [0-9]+' "$crypto" | sort -u)
  echo "${found:-an unknown TLS library}"
}

pair_prepare() { :; }
pair_describe() { echo "$1"; }

pair_pids() {
  local file
  for file in "$BENCH_DIR"/*.pid; do
    [ ! -e "$file" ] || cat "$file"
  done
}

pair_stop() {
  local signal pid tries
  for signal in TERM KILL; do
    for pid in $(pair_pids); do
      is_alive "$pid" && kill -s $signal "$pid"
      for ((tries = 0; tries < 100; tries++)); do
        is_alive "$pid" || break
        sleep 0.05
      done
    done
  done
}

file=$1 function=$2
shift 2
# shellcheck source=/dev/null
. "$file"
"$function" "$@"

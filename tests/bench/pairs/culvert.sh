# culvert: two culvertd, standalone, with pod-a and pod-b enrolled by their namespaces.
#
# The client dials the server's own address: what carries it is what the kernel captured. The
# binary is $CULVERTD, else the build tree's.

CULVERTD=${CULVERTD:-$BENCH_BUILD/agent/culvertd}

pair_prepare() {
  [ -x "$CULVERTD" ] || unavailable "there is no $CULVERTD (build it, or name one in \$CULVERTD)"
}

workload() { # workload SIDE ADDRESS
  cat <<END
- uid: cluster1//Pod/bench/pod-$1
  name: pod-$1
  namespace: bench
  serviceAccount: pod-$1
  trustDomain: cluster.local
  clusterId: cluster1
  node: node-$1
  protocol: HBONE
  workloadIps: [$2]
  services: {}
END
}

settings() { # settings SIDE
  local dir=$BENCH_DIR/$1
  mkdir -p "$dir/state"
  cat <<END
nodeName: node-$1
meshFile: $BENCH_DIR/mesh.yaml
fakeCa: true
fakeCaCert: $BENCH_DIR/ca.pem
fakeCaKey: $BENCH_DIR/ca.key
stateDir: $dir/state
bpfDir: $dir/bpf
adminSocket: $dir/admin.sock
log: "info,access=off"
workerThreads: 1
END
  # Only where nothing has mounted it yet; the runner unmounts what is below BENCH_DIR.
  if ! grep -q ' cgroup2 ' /proc/mounts; then
    mkdir -p "$BENCH_DIR/cgroup"
    mount -t cgroup2 none "$BENCH_DIR/cgroup"
  fi
  cat <<END
pods:
- name: pod-$1
  namespace: bench
  serviceAccount: pod-$1
  netns: ${BENCH_NETNS}pod-$1
END
}

pair_start() {
  local side
  make_certificates
  {
    echo "workloads:"
    workload a "$BENCH_POD_A"
    workload b "$BENCH_POD_B"
  } >"$BENCH_DIR/mesh.yaml"
  for side in a b; do
    settings $side >"$BENCH_DIR/$side.yaml"
    spawn culvertd-$side node-$side "$CULVERTD" --config "$BENCH_DIR/$side.yaml"
    wait_line culvertd-$side "culvertd ready" 15
  done
}

pair_target() {
  case $1 in
  sink) echo "$BENCH_POD_B:$BENCH_SINK_PORT" ;;
  echo) echo "$BENCH_POD_B:$BENCH_ECHO_PORT" ;;
  esac
}

pair_describe() {
  local crypto
  crypto=$(ldd "$CULVERTD" | sed -n 's/.*libcrypto[^ ]* => \([^ ]*\).*/\1/p')
  echo "$("$CULVERTD" --version 2>/dev/null | head -1 || true) on ${crypto:+$(strings_version "$crypto")}," \
    "HBONE over mutual TLS, ECDSA P-256, captured by eBPF, workers 1, access log off"
}

# The version that a libcrypto states of itself.
strings_version() {
  grep -aoE 'OpenSSL 3\.[0-9]+\.[0-9]+[^[:cntrl:]]{0,20}' "$1" | head -1
}

pair_cipher() { ask_cipher node-a "$BENCH_POD_B:15008" -alpn h2; }

# culvert: two culvertd, standalone, with pod-a and pod-b enrolled by their namespaces.
#
# The client dials the server's own address: what carries it is what the kernel captured. The
# binary is $CULVERTD, else the build tree's; $CULVERT_BACKEND is its loopBackend, and
# $CULVERT_SETTINGS has more lines for its settings.

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

# The cgroup (version 2) at whose root the programs attach. Where nothing has mounted it, we do;
# the runner unmounts what is below BENCH_DIR.
cgroup_root() {
  local found
  found=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  if [ -z "$found" ]; then
    found=$BENCH_DIR/cgroup
    mkdir -p "$found"
    mount -t cgroup2 none "$found"
  fi
  echo "$found"
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
cgroupDir: $(cgroup_root)
workerThreads: 1
loopBackend: ${CULVERT_BACKEND:-auto}
drainTimeout: 1s
log: "info,access=off"
${CULVERT_SETTINGS:-}
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
    # Without the environment, whose variables would win over the file.
    spawn culvertd-$side node-$side env -i "$CULVERTD" --config "$BENCH_DIR/$side.yaml"
    wait_line culvertd-$side "culvertd ready" 15
  done
}

pair_target() { server_target "$1"; }

# What drives it in fact: only io_uring has such a descriptor.
backend() {
  local pid link
  pid=$(cat "$BENCH_DIR/culvertd-a.pid")
  for link in /proc/"$pid"/fd/*; do
    case $(readlink "$link") in *io_uring*) echo io_uring && return ;; esac
  done
  echo epoll
}

pair_describe() {
  echo "$("$CULVERTD" --version) on $(openssl_of "$CULVERTD"), HBONE over mutual TLS, ECDSA P-256," \
    "captured by eBPF, one worker, $(backend) (loopBackend ${CULVERT_BACKEND:-auto}), access log off"
}

# direct: no agents: what the kernel and the applications cost by themselves.

pair_start() { :; }

pair_target() {
  case $1 in
  sink) echo "$BENCH_POD_B:$BENCH_SINK_PORT" ;;
  echo) echo "$BENCH_POD_B:$BENCH_ECHO_PORT" ;;
  esac
}

pair_describe() { echo "no agents, plain TCP"; }

# relay: two plain relays (relay.c): what two hops through user space cost with nothing done.

pair_start() {
  spawn relay-b node-b "$BENCH_TOOLS/relay" \
    "$BENCH_NODE_B:7001" "$BENCH_POD_B:$BENCH_SINK_PORT" \
    "$BENCH_NODE_B:7002" "$BENCH_POD_B:$BENCH_ECHO_PORT"
  spawn relay-a node-a "$BENCH_TOOLS/relay" \
    "$BENCH_GATE_A:7001" "$BENCH_NODE_B:7001" "$BENCH_GATE_A:7002" "$BENCH_NODE_B:7002"
  wait_line relay-b ready 10
  wait_line relay-a ready 10
}

pair_target() {
  case $1 in
  sink) echo "$BENCH_GATE_A:7001" ;;
  echo) echo "$BENCH_GATE_A:7002" ;;
  esac
}

pair_describe() { echo "two plain epoll relays, one thread each, recv and send of 64 KiB, no TLS"; }

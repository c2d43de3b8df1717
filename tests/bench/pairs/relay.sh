# relay: two plain relays (relay.c): what two hops through user space cost with nothing done.

RELAY=${RELAY:-relay}

pair_start() {
  local kind port a=() b=()
  for kind in $KINDS; do
    port=$(agent_port "$kind")
    b+=("$BENCH_NODE_B:$port" "$(server_target "$kind")")
    a+=("$(gate_target "$kind")" "$BENCH_NODE_B:$port")
  done
  spawn relay-b node-b "$BENCH_TOOLS/$RELAY" "${b[@]}"
  spawn relay-a node-a "$BENCH_TOOLS/$RELAY" "${a[@]}"
  wait_line relay-b ready 10
  wait_line relay-a ready 10
}

pair_target() { gate_target "$1"; }
pair_describe() { echo "two plain epoll relays, one thread each, recv and send of 64 KiB, no TLS"; }

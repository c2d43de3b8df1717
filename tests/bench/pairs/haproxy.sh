# haproxy: mutual TLS 1.3 between two haproxy, set to its best for this: 64 KiB buffers.
#
# Session resumption is left as haproxy has it (on), which is in its favour in connections/s.

pair_prepare() { apt_install haproxy haproxy; }

globals() {
  cat <<END
global
  nbthread 1
  maxconn $((BENCH_CONNS_MAX + 200))
  tune.bufsize 65536
defaults
  mode tcp
  timeout connect 10s
  timeout client 10m
  timeout server 10m
END
}

tls() { # tls SIDE
  echo "ssl crt $BENCH_DIR/$1.pem ca-file $BENCH_DIR/ca.pem verify required" \
    "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256"
}

pair_start() {
  make_certificates
  {
    globals
    echo "listen sink"
    echo "  bind $BENCH_NODE_B:7001 $(tls b)"
    echo "  server pod $BENCH_POD_B:$BENCH_SINK_PORT"
    echo "listen echo"
    echo "  bind $BENCH_NODE_B:7002 $(tls b)"
    echo "  server pod $BENCH_POD_B:$BENCH_ECHO_PORT"
  } >"$BENCH_DIR/b.cfg"
  {
    globals
    echo "listen sink"
    echo "  bind $BENCH_GATE_A:7001"
    echo "  server node $BENCH_NODE_B:7001 $(tls a)"
    echo "listen echo"
    echo "  bind $BENCH_GATE_A:7002"
    echo "  server node $BENCH_NODE_B:7002 $(tls a)"
  } >"$BENCH_DIR/a.cfg"
  spawn haproxy-b node-b haproxy -db -f "$BENCH_DIR/b.cfg"
  spawn haproxy-a node-a haproxy -db -f "$BENCH_DIR/a.cfg"
  wait_port haproxy-b node-b 7002
  wait_port haproxy-a node-a 7002
}

pair_target() {
  case $1 in
  sink) echo "$BENCH_GATE_A:7001" ;;
  echo) echo "$BENCH_GATE_A:7002" ;;
  esac
}

pair_describe() {
  local version openssl
  version=$(haproxy -v | sed -n '1s/.*version \([^ ]*\).*/\1/p')
  openssl=$(haproxy -vv | sed -n 's/^Running on OpenSSL version : //p')
  echo "haproxy $version on ${openssl:-an unknown TLS library}, mode tcp, mutual TLS," \
    "ECDSA P-256, verify required on both sides, tune.bufsize 64K, nbthread 1"
}

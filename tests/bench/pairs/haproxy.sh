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
  local kind port
  make_certificates
  globals | tee "$BENCH_DIR/a.cfg" >"$BENCH_DIR/b.cfg"
  for kind in $KINDS; do
    port=$(agent_port "$kind")
    printf '%s\n' "listen $kind" "  bind $BENCH_NODE_B:$port $(tls b)" \
      "  server pod $(server_target "$kind")" >>"$BENCH_DIR/b.cfg"
    printf '%s\n' "listen $kind" "  bind $(gate_target "$kind")" \
      "  server node $BENCH_NODE_B:$port $(tls a)" >>"$BENCH_DIR/a.cfg"
  done
  spawn haproxy-b node-b haproxy -db -f "$BENCH_DIR/b.cfg"
  spawn haproxy-a node-a haproxy -db -f "$BENCH_DIR/a.cfg"
  wait_port haproxy-b node-b "$(agent_port source)"
  wait_port haproxy-a node-a "$(agent_port source)"
}

pair_target() { gate_target "$1"; }

pair_describe() {
  local version openssl
  version=$(haproxy -v | sed -n '1s/.*version \([^ ]*\).*/\1/p')
  openssl=$(haproxy -vv | sed -n 's/^Running on OpenSSL version : //p')
  echo "haproxy $version on ${openssl:-an unknown TLS library}, mode tcp, mutual TLS," \
    "ECDSA P-256, verify required on both sides, tune.bufsize 64K, nbthread 1"
}

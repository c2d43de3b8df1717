# quickstart_waypoint: the part of the quick start that puts a real Envoy between the pods.
#
# Sourced by tests/quickstart.sh, whose words for steps and proofs it uses; the lab and its agents are up.
. tests/support/certs.sh
. tests/support/envoy.sh
. tests/support/waypoint.sh

QW_SA=spiffe://cluster.local/ns/demo/sa
QW_DOMAIN=demo.svc.cluster.local

# The web service has a waypoint now: Envoy in the machine outside. Its two versions are pods b1 and b2.
qw_mesh() {
	local ports="services: {demo/web.$QW_DOMAIN: {80: 8090}}"
	{
		say "workloads:"
		lab_workload pod-a1 client && lab_workload pod-a2 other
		lab_workload pod-b1 server | sed "s,^  services: .*,  $ports,"
		lab_workload pod-b2 vault | sed "s,^  services: .*,  $ports,"
		lab_workload outside waypoint | sed "s,^  services: .*,  services: {demo/waypoint.$QW_DOMAIN: {15008: 15008}},; s/protocol: HBONE/protocol: TCP/"
		cat <<-YAML
		services:
		- {name: web, namespace: demo, hostname: web.$QW_DOMAIN, vips: [/$LAB_VIP4], ports: {80: 8090},
		   waypoint: {destination: demo/waypoint.$QW_DOMAIN, hboneMtlsPort: 15008}}
		- {name: waypoint, namespace: demo, hostname: waypoint.$QW_DOMAIN, vips: [], ports: {15008: 15008}}
		YAML
	} >"$LAB_DIR/mesh.yaml"
}

qw_start() {
	local why name
	why=$(envoy_install) || failed "Envoy is needed: $why"
	certs_init && certs_make envoy "URI:$QW_SA/waypoint" || failed "the waypoint gets no certificate"
	for name in pod-b1:v1 pod-b2:v2; do
		lab_spawn "web-${name%:*}" "${name%:*}" /usr/bin/python3 tests/support/web_app.py serve 8090 "${name#*:}" &&
			lab_wait_port "${name%:*}" 8090 || failed "the app does not start"
	done
	waypoint_start outside "$(waypoint_chain $LAB_VIP4 80 "$(waypoint_rules web $QW_SA/other 90 10)")" \
		"$(lab_ip pod-b1):8090" "$(lab_ip pod-b2):8090" || failed "Envoy does not start"
	lab_agents_stop || failed "an agent did not end"
	LAB_SELECTED=
	qw_mesh
	LAB_SETTINGS="waypointStrict: true" lab_settings b
	lab_agents_start || failed "the agents do not start"
	proved "the service web has a waypoint, Envoy $ENVOY_VERSION at $(lab_ip outside); node b runs with waypointStrict"
}

qw_ask() { # WHERE PATH WANT [MORE...]: what is asked, and a pattern for status, milliseconds, waypoint, answer
	QW_GOT=$(lab_in "$1" /usr/bin/python3 tests/support/web_app.py ask $LAB_VIP4 80 "$2" "${@:4}" 2>&1) || true
	grep -qE -e "$3" <<<"$QW_GOT" || failed "$1 asked for $2 and got: $QW_GOT"
}

# Of a line of the access log what matters here.
qw_parts() { grep -oE 'src\.(addr|identity)=[^ ]*|dst\.(hbone_addr|identity)=[^ ]*|direction=[^ ]*|error="[^"]*"' | paste -sd' ' | shown; }

show_waypoint() {
	local mark
	title "A waypoint: rules of HTTP between the pods, in a real Envoy"
	qw_start
	qw_ask pod-a1 /allowed '^200 [0-9]+ web v[12] .*peer=spiffe'
	proved "GET /allowed is answered 200; Envoy told the app who asked: $(sed 's/.*peer=\([^ ]*\).*/\1/' <<<"$QW_GOT")"
	qw_ask pod-a1 /secret '^403 [0-9]+ web '
	proved "GET /secret is answered 403, by the waypoint"
	qw_ask pod-a1 /admin '^403 '
	qw_ask pod-a2 /admin '^200 '
	proved "GET /admin is for service account \"other\" alone: 403 for pod a1, 200 for pod a2"
	qw_ask pod-a1 /allowed '^v1=[0-9]+ v2=[0-9]+$' --count 250 --connections 4
	proved "1000 requests, 90 percent of them for v1: $QW_GOT"
	qw_ask pod-a1 /slow '^200 (299|[3-9][0-9]{2}) '
	proved "GET /slow is delayed by 300 ms in Envoy: $(cut -d' ' -f2 <<<"$QW_GOT") ms"
	qw_ask pod-a1 /flaky 'try=3 '
	proved "GET /flaky fails twice at the app, and Envoy tries again: the client sees 200"

	mark=$(lab_mark agent-b)
	lab_curl pod-a1 "http://$(lab_ip pod-b1):8090/allowed" -o /dev/null 2>"$LAB_DATA/curl" && failed "the waypoint can be gone around"
	lab_wait_log 5 agent-b "$mark" 'is reached through waypoint' || failed "agent b's log does not say why"
	proved "who goes around the waypoint, to the pod's own address, is reset; the server's agent says:"
	lab_since agent-b "$mark" | grep -m 1 'is reached through waypoint' | qw_parts
	lab_stop waypoint
	lab_wait_log 5 agent-b "$mark" "src.identity=\"$QW_SA/waypoint\"" || failed "agent b does not know the waypoint's identity"
	proved "what came through it has the waypoint's identity there:"
	lab_since agent-b "$mark" | grep -m 1 "src.identity=\"$QW_SA/waypoint\"" | qw_parts
}

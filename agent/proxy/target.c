/*
 * target: by address, by name, and through an application tunnel.
 */
#include "proxy/target.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mesh/route_hop.h"
#include "proxy/pod.h"

static void __attribute__((format(printf, 4, 5)))
refuse(struct target *target, int status, int code, const char *format, ...)
{
	va_list args;

	target->status = status;
	target->code = code;
	va_start(args, format);
	vsnprintf(target->words, sizeof(target->words), format, args);
	va_end(args);
}

/* ---- by address ---- */

static bool has_ip(const struct workload *workload, const struct hb_ip *ip)
{
	for (size_t i = 0; workload && i < workload->ips_count; i++)
		if (hb_ip_equal(&workload->ips[i], ip))
			return true;
	return false;
}

/* Is the pod what @ref names as waypoint? */
static bool is_waypoint(const struct target_query *query, const struct mesh_ref *ref,
                        char missing[ROUTE_MISSING_SIZE])
{
	const struct workload *workload;
	const struct service *service;

	if (ref->kind == REF_NONE)
		return false;
	hop_lookup(query->snapshot, ref, &service, &workload);
	if (!service && !workload)
		hop_text(ref, missing);
	if (service)
		return service_endpoint_of(service, query->workload) != NULL;
	return has_ip(workload, &query->local);
}

/* Whose address is it, and is the pod the waypoint in front of that? */
static bool stands_in_front_of(const struct target_query *query, const struct hb_ip *ip,
                               char missing[ROUTE_MISSING_SIZE])
{
	const struct workload *workload = snapshot_workload_at(query->snapshot, query->network, ip);
	const struct service *service;
	char text[HB_IP_STRLEN];

	if (workload)
		return is_waypoint(query, &workload->waypoint, missing);
	service = snapshot_service_at(query->snapshot, query->network, ip, NULL);
	if (!service)
		snprintf(missing, ROUTE_MISSING_SIZE, "%s/%s", query->network,
		         hb_ip_format(ip, text, sizeof(text)));
	return service && is_waypoint(query, &service->waypoint, missing);
}

static uint16_t port_by_ip(const struct target_query *query, const struct hb_addr *asked,
                           struct target *target)
{
	char ours[HB_IP_STRLEN], theirs[HB_IP_STRLEN];

	if (!hb_ip_equal(&asked->ip, &query->local) && !query->workload->has_app_tunnel &&
	    !stands_in_front_of(query, &asked->ip, target->missing))
		refuse(target, 400, HB_E_BAD_REQUEST, "ip mismatch: %s != %s",
		       hb_ip_format(&query->local, ours, sizeof(ours)),
		       hb_ip_format(&asked->ip, theirs, sizeof(theirs)));
	else if (asked->port == 0)
		refuse(target, 503, HB_E_NO_ROUTE, "port 0 cannot be connected to");
	target->proxy_dst = *asked;
	return asked->port;
}

/* ---- by name ---- */

/* The own network's first, then IPv4 (reference/datapath 1.16). NULL: it has none. */
static const struct hb_ip *vip_of(const struct service *service, const char *network)
{
	const struct mesh_vip *best = NULL;
	int best_rank = -1;

	for (size_t i = 0; i < service->vips_count; i++) {
		const struct mesh_vip *vip = &service->vips[i];
		bool v4 = hb_ip_is_v4(&vip->ip);
		int rank = (strcmp(vip->network, network) == 0 ? 2 : 0) + (v4 ? 1 : 0);

		if (vip->prefix == (v4 ? 32 : 128) && rank > best_rank) {
			best = vip;
			best_rank = rank;
		}
	}
	return best ? &best->ip : NULL;
}

/* 0: none. A waypoint, which an application tunnel makes of a pod, is no endpoint of the services
 * that it stands in front of. */
static uint16_t port_of_service(const struct target_query *query, const struct service *service,
                                uint16_t port)
{
	const struct endpoint *endpoint = service_endpoint_of(service, query->workload);

	if (endpoint)
		return endpoint_target(service, endpoint, port);
	for (size_t i = 0; query->workload->has_app_tunnel && i < service->ports_count; i++)
		if (service->ports[i].port == port)
			return service->ports[i].target;
	return 0;
}

/* ztunnel's words where it refuses, too (reference/operations 4.3). */
static void refuse_name(const struct target_query *query, const struct service *service,
                        const struct hb_tunnel_authority *authority, const char *host,
                        struct target *target)
{
	if (!service)
		refuse(target, 503, HB_E_NO_ROUTE, "no service or workload for hostname: %.200s",
		       host);
	else if (service_endpoint_of(service, query->workload) || query->workload->has_app_tunnel)
		refuse(target, 503, HB_E_NO_ROUTE,
		       "requested service %.200s:%u found, but cannot resolve port", host,
		       authority->port);
	else
		refuse(target, 503, HB_E_NO_ROUTE,
		       "requested service %.200s found, but the pod is no endpoint of it", host);
}

static uint16_t port_by_name(const struct target_query *query,
                             const struct hb_tunnel_authority *authority, struct target *target)
{
	const struct service *service = NULL;
	const struct hb_ip *vip;
	uint16_t port = 0;
	char host[256] = "";

	if (authority->host_len < sizeof(host)) {
		memcpy(host, authority->host, authority->host_len);
		host[authority->host_len] = 0;
		service = snapshot_service_by_host(query->snapshot, host, query->workload->ns);
	}
	if (service)
		port = port_of_service(query, service, authority->port);
	if (port == 0) {
		refuse_name(query, service, authority, host, target);
		return 0;
	}
	target->service = service;
	vip = vip_of(service, query->network);
	if (vip)
		target->proxy_dst = (struct hb_addr){ .ip = *vip, .port = authority->port };
	else if (query->workload->app_tunnel_proxy)
		refuse(target, 503, HB_E_NO_ROUTE,
		       "service %s has no address to name in a PROXY header", host);
	return port;
}

/* ---- both ---- */

static struct hb_ip loopback_like(const struct hb_ip *ip)
{
	struct hb_ip v4 = { { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } };
	struct hb_ip v6 = { { [15] = 1 } };

	return hb_ip_is_v4(ip) ? v4 : v6;
}

void target_find(const struct target_query *query, const struct hb_tunnel_authority *authority,
                 struct target *ret_target)
{
	const struct workload *workload = query->workload;
	struct target target = { .app.ip = query->local, .keep_src = true };

	target.app.port = authority->is_ip ? port_by_ip(query, &authority->addr, &target)
	                                   : port_by_name(query, authority, &target);
	if (target.status == 0 && pod_port_is_ours(target.app.port, query->socks5)) {
		target.status = 503;
		target.code = HB_E_RECURSIVE;
	}
	if (target.status == 0 && workload->has_app_tunnel) {
		target.proxy = workload->app_tunnel_proxy;
		if (workload->app_tunnel_port)
			target.app.port = workload->app_tunnel_port;
	}
	target.dial = target.app;
	if (target.proxy && query->localhost_tunnels) {
		target.dial.ip = loopback_like(&query->local);
		target.keep_src = false;
	}
	*ret_target = target;
}

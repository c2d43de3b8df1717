/*
 * store_check: what may not come in, because keys and identities made of it would say something
 * else, or because it would not fit.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mesh/state.h"

#define LIST_MAX 65535u /* of ports of one service, addresses of one workload ... */

int store_refuse(struct store *store, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(store->why, sizeof(store->why), format, args);
	va_end(args);
	return -EINVAL;
}

struct name { /* a part of keys and identities */
	const char *what, *text;
};

static int check_names(struct store *store, const char *whose, const struct name *names,
                       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (names[i].text && strchr(names[i].text, '/'))
			return store_refuse(store,
			                    "%.64s: the %s \"%.64s\" has a '/', expected none",
			                    whose, names[i].what, names[i].text);
	}
	return 0;
}

static int check_count(struct store *store, const char *whose, const char *what, size_t count)
{
	if (count > LIST_MAX)
		return store_refuse(store, "%.64s: %zu %s, expected at most %u", whose, count, what,
		                    LIST_MAX);
	return 0;
}

/* Its own name is no part of an identity, and istiod calls a gateway to another network by its uid:
 * "NetworkGateway/net2/10.3.0.11/15008". */
int store_check_workload(struct store *store, const struct workload *w)
{
	const struct name names[] = {
		{ "namespace", w->ns },
		{ "service account", w->service_account },
		{ "trust domain", w->trust_domain },
	};
	int err;

	if (!w->uid || !*w->uid)
		return store_refuse(store, "a workload has no uid, expected one");
	err = check_names(store, w->uid, names, HB_ARRAY_LEN(names));
	if (!err)
		err = check_count(store, w->uid, "addresses", w->ips_count);
	if (!err)
		err = check_count(store, w->uid, "policies", w->policies_count);
	if (!err)
		err = check_count(store, w->uid, "services", w->services_count);
	for (size_t i = 0; i < w->services_count && !err; i++) {
		const char *slash = strchr(w->services[i].service, '/');

		if (!slash || strchr(slash + 1, '/'))
			err = store_refuse(store,
			                   "%.64s: the service \"%.64s\", expected "
			                   "\"namespace/hostname\"",
			                   w->uid, w->services[i].service);
	}
	return err;
}

int store_check_service(struct store *store, const struct service *service,
                        const struct endpoint *given, size_t given_count)
{
	const char *whose = service->hostname ? service->hostname : "";
	const struct name names[] = { { "namespace", service->ns }, { "hostname", whose } };
	int err = check_names(store, whose, names, HB_ARRAY_LEN(names));

	if (!err)
		err = check_count(store, whose, "addresses", service->vips_count);
	if (!err)
		err = check_count(store, whose, "ports", service->ports_count);
	if (!err)
		err = check_count(store, whose, "waypoints", service->weighted_waypoints_count);
	for (size_t i = 0; i < service->vips_count && !err; i++) {
		if (service->vips[i].prefix > 128)
			err = store_refuse(store,
			                   "%.64s: an address of %u bits, expected at most 128",
			                   whose, service->vips[i].prefix);
	}
	for (size_t i = 0; i < given_count && !err; i++) {
		if (!given[i].workload_uid || !*given[i].workload_uid)
			err = store_refuse(store, "%.64s: an endpoint has no uid, expected one",
			                   whose);
	}
	return err;
}

int store_check_policy(struct store *store, const struct policy *policy)
{
	const struct name names[] = { { "namespace", policy->ns }, { "name", policy->name } };

	return check_names(store, policy->name ? policy->name : "", names, HB_ARRAY_LEN(names));
}

/*
 * store_model: what a store should say, worked out slowly from plain tables. No maps, no sharing,
 * no memory: each question looks at everything there is.
 */
#pragma once

#include <string.h>

#include "mesh/store.h"

#define MODEL_WORKLOADS 24
#define MODEL_SERVICES  6 /* two hostnames in three namespaces */
#define MODEL_POLICIES  8
#define MODEL_IPS       6
#define MODEL_VIPS      6 /* four addresses, and two ranges around them */

struct model_workload {
	bool in, hbone, host_network, unhealthy;
	unsigned int ips, services, policies; /* bits */
	unsigned int ns, network, node, hostname;
	uint16_t port;
	uint64_t order, policies_changed;
};

struct model_service {
	bool in, canonical, hidden;
	unsigned int vips, given; /* bits; given: of workloads */
	uint64_t order, vip_order[MODEL_VIPS];
};

struct model_policy {
	bool in;
	enum policy_scope scope;
	unsigned int variant;
};

struct model {
	struct model_workload workloads[MODEL_WORKLOADS];
	struct model_service services[MODEL_SERVICES];
	struct model_policy policies[MODEL_POLICIES];
	uint64_t clock, policies_changed;
};

extern const char *const model_namespaces[3], *const model_networks[2];

const char *model_uid(unsigned int workload);
const char *model_key(unsigned int service); /* "ns/hostname" */
struct hb_ip model_ip(unsigned int ip);
struct hb_ip model_vip(unsigned int vip); /* one address in it */

/* Says the same to the store. */
int model_put_workload(const struct model *model, unsigned int i, struct store *store);
int model_put_service(const struct model *model, unsigned int i, struct store *store);
int model_put_policy(const struct model *model, unsigned int i, struct store *store);

/* Every question there is, asked of both. Ends the test at a difference. */
void model_check(const struct model *model, const struct snapshot *s, const char *name);

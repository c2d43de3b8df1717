/*
 * store_model: the slow answers, and the questions.
 */
#include "unit/agent/mesh/store_model.h"

#include <check.h>
#include <stdio.h>

/* Check's own asserts write to a file each time, which is slow where there are millions. */
#define must(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg(__VA_ARGS__);                                                 \
	} while (0)

const char *const model_namespaces[3] = { "n0", "n1", "n2" };
const char *const model_networks[2] = { "", "net1" };
static const char *const hostnames[2] = { "h0.example", "h1.example" };
static const char *const keys[MODEL_SERVICES] = {
	"n0/h0.example", "n1/h0.example", "n2/h0.example",
	"n0/h1.example", "n1/h1.example", "n2/h1.example",
};

const char *model_uid(unsigned int i)
{
	static char uids[MODEL_WORKLOADS][40];

	snprintf(uids[i], sizeof(uids[i]), "c/%s/p%u", i % 2 ? "/Pod/n" : "x/WorkloadEntry/n", i);
	return uids[i];
}

const char *model_key(unsigned int i)
{
	return keys[i];
}

static struct hb_ip ip_made(unsigned int second, unsigned int last)
{
	struct hb_ip ip = { { [10] = 0xff, [11] = 0xff, [12] = 10 } };

	ip.b[13] = (uint8_t)second;
	ip.b[15] = (uint8_t)last;
	return ip;
}

struct hb_ip model_ip(unsigned int i)
{
	return ip_made(1, i);
}

struct hb_ip model_vip(unsigned int i)
{
	return ip_made(9, i % 4);
}

static const char *ns_of(unsigned int service)
{
	return model_namespaces[service % 3];
}

static const char *hostname_of(unsigned int service)
{
	return hostnames[service / 3];
}

int model_put_workload(const struct model *model, unsigned int i, struct store *store)
{
	const struct model_workload *m = &model->workloads[i];
	struct mesh_port ports[1] = { { 80, m->port } };
	struct membership services[MODEL_SERVICES] = { 0 };
	const char *policies[MODEL_POLICIES] = { 0 };
	struct hb_ip ips[MODEL_IPS];
	char names[MODEL_POLICIES][16], name[16];
	struct workload w = {
		.uid = model_uid(i),
		.name = name,
		.ns = model_namespaces[m->ns],
		.network = model_networks[m->network],
		.node = m->node ? "node1" : "node0",
		.hostname = m->hostname ? hostnames[m->hostname - 1] : "",
		.protocol = m->hbone ? PROTOCOL_HBONE : PROTOCOL_TCP,
		.status = m->unhealthy ? HEALTH_UNHEALTHY : HEALTH_HEALTHY,
		.host_network = m->host_network,
		.capacity = 1,
		.ips = ips,
		.services = services,
		.policies = policies,
	};

	snprintf(name, sizeof(name), "p%u", i / 2);
	for (unsigned int j = 0; j < MODEL_IPS; j++) {
		if (m->ips & 1u << j)
			ips[w.ips_count++] = model_ip(j);
	}
	for (unsigned int j = 0; j < MODEL_SERVICES; j++) {
		if (m->services & 1u << j)
			services[w.services_count++] = (struct membership){
				.service = keys[j],
				.endpoint = { .ports = ports, .ports_count = 1 },
			};
	}
	for (unsigned int j = 0; j < MODEL_POLICIES; j++) {
		snprintf(names[j], sizeof(names[j]), "n%u/policy%u", j % 3, j);
		if (m->policies & 1u << j)
			policies[w.policies_count++] = names[j];
	}
	return store_put_workload(store, &w);
}

int model_put_service(const struct model *model, unsigned int i, struct store *store)
{
	const struct model_service *m = &model->services[i];
	static const struct mesh_port given_port = { 80, 7 }, port = { 80, 9 };
	struct endpoint given[MODEL_WORKLOADS] = { 0 };
	struct mesh_vip vips[MODEL_VIPS] = { 0 };
	size_t given_count = 0;
	struct service service = {
		.name = "s",
		.ns = ns_of(i),
		.hostname = hostname_of(i),
		.canonical = m->canonical,
		.namespace_only = m->hidden,
		.vips = vips,
		.ports = &port,
		.ports_count = 1,
	};

	for (unsigned int j = MODEL_VIPS; j-- > 0;) {
		if (m->vips & 1u << j)
			vips[service.vips_count++] = (struct mesh_vip){
				.network = "",
				.ip = ip_made(9, j < 4 ? j : j - 4),
				.prefix = (uint8_t)(j < 4 ? 32 : 35 - j),
			};
	}
	for (unsigned int j = 0; j < MODEL_WORKLOADS; j++) {
		if (m->given & 1u << j)
			given[given_count++] = (struct endpoint){
				.workload_uid = model_uid(j),
				.ports = &given_port,
				.ports_count = 1,
			};
	}
	return store_put_service(store, &service, given, given_count);
}

int model_put_policy(const struct model *model, unsigned int i, struct store *store)
{
	const struct model_policy *m = &model->policies[i];
	uint16_t port = (uint16_t)m->variant;
	struct policy_match match = { .destination_ports = { &port, 1 } };
	struct policy_clause clause = { &match, 1 };
	struct policy_rule rule = { &clause, 1 };
	char name[16];
	struct policy policy = {
		.ns = model_namespaces[i % 3],
		.name = name,
		.scope = m->scope,
		.rules = &rule,
		.rules_count = 1,
	};

	snprintf(name, sizeof(name), "policy%u", i);
	return store_put_policy(store, &policy);
}

/*
 * The answers.
 */
static int rank(unsigned int i, const struct model_workload *m)
{
	return (i % 2 ? 2 : 0) + m->hbone;
}

static const char *workload_at(const struct model *model, unsigned int network, unsigned int ip)
{
	int best = -1;

	for (int i = 0; i < MODEL_WORKLOADS; i++) {
		const struct model_workload *m = &model->workloads[i];

		if (!m->in || m->host_network || m->network != network || !(m->ips & 1u << ip))
			continue;
		if (best < 0 ||
		    rank((unsigned)i, m) > rank((unsigned)best, &model->workloads[best]) ||
		    (rank((unsigned)i, m) == rank((unsigned)best, &model->workloads[best]) &&
		     m->order > model->workloads[best].order))
			best = i;
	}
	return best < 0 ? "" : model_uid((unsigned int)best);
}

struct candidate {
	int service, preference;
	uint64_t order;
};

/* 2: the client's own, 1: canonical, 0: any, -1: hidden. @client 3: nobody's. */
static int preference(const struct model *model, unsigned int i, unsigned int client)
{
	bool own = client == i % 3;

	if (model->services[i].hidden && client < 3 && !own)
		return -1;
	return own ? 2 : model->services[i].canonical;
}

/* The best of those that are told in @order (0: is not one), by 7.4. */
static int best_service(const struct model *model, const uint64_t *order, unsigned int client)
{
	struct candidate first = { -1, -1, 0 }, last = { -1, -1, 0 };

	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < MODEL_SERVICES; i++) {
			struct candidate c = { (int)i, preference(model, i, client), order[i] };

			if (!c.order || c.preference < 0 || !model->services[i].in)
				continue;
			if (round == 0 &&
			    (c.preference > first.preference ||
			     (c.preference == first.preference && c.order < first.order)))
				first = c;
			/* Of the canonical ones the last, and the last of one namespace. */
			if (round == 1 && c.preference == first.preference &&
			    c.order >= last.order &&
			    (c.preference == 1 || c.service % 3 == first.service % 3))
				last = c;
		}
	}
	return last.service;
}

static int service_at(const struct model *model, unsigned int vip, unsigned int client)
{
	uint64_t order[MODEL_SERVICES] = { 0 }, best_order = 0;
	int found, best = -1, best_value = -1;

	for (unsigned int i = 0; i < MODEL_SERVICES; i++)
		order[i] =
		    model->services[i].vips & 1u << vip ? model->services[i].vip_order[vip] : 0;
	found = best_service(model, order, client);
	if (found >= 0)
		return found;
	for (unsigned int i = 0; i < MODEL_SERVICES; i++) {
		for (unsigned int range = 4; range < MODEL_VIPS; range++) {
			const struct model_service *m = &model->services[i];
			/* 4: 10.9.0.0/31, 5: 10.9.0.0/30 as 10.9.0.1/30 */
			bool covers = range == 5 || vip < 2;
			int preferred = preference(model, i, client);
			int value = (preferred == 2) * 100 + (range == 4) * 10 + m->canonical;

			if (!m->in || !covers || preferred < 0 || !(m->vips & 1u << range))
				continue;
			if (value > best_value ||
			    (value == best_value && m->vip_order[range] < best_order)) {
				best = (int)i;
				best_value = value;
				best_order = m->vip_order[range];
			}
		}
	}
	return best;
}

static int service_by_host(const struct model *model, unsigned int hostname, unsigned int client)
{
	uint64_t order[MODEL_SERVICES] = { 0 };

	for (unsigned int i = 0; i < MODEL_SERVICES; i++)
		order[i] = i / 3 == hostname ? model->services[i].order : 0;
	return best_service(model, order, client);
}

/* The target port of @workload as an endpoint of @service; 0: it is none. */
static uint16_t endpoint_port(const struct model *model, unsigned int service,
                              unsigned int workload)
{
	const struct model_workload *w = &model->workloads[workload];
	const struct model_service *m = &model->services[service];

	if (w->in && w->services & 1u << service)
		return w->port;
	return m->in && m->given & 1u << workload ? 7 : 0;
}

/*
 * The questions.
 */
static void check_workloads(const struct model *model, const struct snapshot *s, const char *name)
{
	size_t count = 0;
	const struct workload **sorted;

	for (unsigned int i = 0; i < MODEL_WORKLOADS; i++) {
		const struct model_workload *m = &model->workloads[i];
		const struct workload *w = snapshot_workload_by_uid(s, model_uid(i));

		must(!w == !m->in, "%s: %s", name, model_uid(i));
		if (!w)
			continue;
		count++;
		must(strcmp(w->uid, model_uid(i)) == 0, "%s", w->uid);
		must(strcmp(w->ns, model_namespaces[m->ns]) == 0, "%s", w->ns);
		must(w->policies_changed == m->policies_changed, "%s", name);
		if (m->hostname) {
			w = snapshot_workload_by_host(s, model_namespaces[m->ns],
			                              hostnames[m->hostname - 1]);
			must(w, "%s", name);
			must(strcmp(w->hostname, hostnames[m->hostname - 1]) == 0, "%s",
			     w->hostname);
		}
		w = snapshot_workload_of_pod(s, "", model_namespaces[m->ns], w->name, "");
		must(w, "%s", name);
	}
	for (unsigned int i = 0; i < MODEL_IPS * 2; i++) {
		struct hb_ip ip = model_ip(i / 2);
		const struct workload *w = snapshot_workload_at(s, model_networks[i % 2], &ip);
		const char *want = workload_at(model, i % 2, i / 2);

		must(strcmp(w ? w->uid : "", want) == 0, "%s: %s, not %s", name, w ? w->uid : "",
		     want);
	}
	must(snapshot_workloads(s, &sorted) == count, "%s", name);
	free(sorted);
}

static void check_service(const struct service *got, int want, const char *name, const char *what)
{
	must(!got == (want < 0), "%s: %s: %s", name, what, got ? got->ns : "none");
	if (!got)
		return;
	must(strcmp(got->ns, ns_of((unsigned int)want)) == 0 &&
	         strcmp(got->hostname, hostname_of((unsigned int)want)) == 0,
	     "%s: %s: %s/%s, not %s", name, what, got->ns, got->hostname, keys[want]);
}

static void check_services(const struct model *model, const struct snapshot *s, const char *name)
{
	for (unsigned int client = 0; client < 4; client++) {
		const char *ns = client < 3 ? model_namespaces[client] : NULL;

		for (unsigned int vip = 0; vip < 4; vip++) {
			struct hb_ip ip = model_vip(vip);

			check_service(snapshot_service_at(s, "", &ip, ns),
			              service_at(model, vip, client), name, "at");
			must(!(snapshot_service_at(s, "net1", &ip, ns)), "%s", name);
		}
		for (unsigned int host = 0; host < 2; host++)
			check_service(snapshot_service_by_host(s, hostnames[host], ns),
			              service_by_host(model, host, client), name, "host");
	}
	for (unsigned int i = 0; i < MODEL_SERVICES; i++)
		check_service(snapshot_service_by_name(s, ns_of(i), hostname_of(i)),
		              model->services[i].in ? (int)i : -1, name, "name");
}

static void check_endpoint(const struct model *model, const struct snapshot *s,
                           const struct endpoint *endpoint, unsigned int service, const char *name)
{
	unsigned int i = 0;
	uint16_t port;

	while (strcmp(model_uid(i), endpoint->workload_uid) != 0)
		i++;
	port = endpoint_port(model, service, i);
	must(port && endpoint->ports[0].target == port, "%s: %s of %s: %u, not %u", name,
	     endpoint->workload_uid, keys[service], endpoint->ports[0].target, port);
	must(endpoint->workload == snapshot_workload_by_uid(s, model_uid(i)), "%s", name);
}

static void check_endpoints(const struct model *model, const struct snapshot *s, const char *name)
{
	struct staged_endpoint *staged;
	size_t staged_count = snapshot_staged(s, &staged), staged_want = 0;

	for (unsigned int i = 0; i < MODEL_SERVICES; i++) {
		const struct service *service =
		    snapshot_service_by_name(s, ns_of(i), hostname_of(i));
		const struct endpoint *endpoint;
		size_t count = 0, want = 0;

		for (unsigned int j = 0; j < MODEL_WORKLOADS; j++)
			want += endpoint_port(model, i, j) != 0;
		if (!service) {
			staged_want += want;
			continue;
		}
		service_for_each_endpoint(endpoint, service)
		{
			check_endpoint(model, s, endpoint, i, name);
			count++;
		}
		must(count == want && count == service->endpoints_count,
		     "%s: %s has %zu endpoints, not %zu", name, keys[i], count, want);
	}
	must(staged_count == staged_want, "%s: %zu staged, not %zu", name, staged_count,
	     staged_want);
	for (size_t i = 0; i < staged_count; i++) {
		unsigned int service = 0;

		while (strcmp(keys[service], staged[i].service) != 0)
			service++;
		check_endpoint(model, s, staged[i].endpoint, service, name);
	}
	free(staged);
}

static void check_policies(const struct model *model, const struct snapshot *s, const char *name)
{
	size_t count[4] = { 0 };

	for (unsigned int i = 0; i < MODEL_POLICIES; i++) {
		const struct model_policy *m = &model->policies[i];
		const struct policy_match *match;
		const struct policy *policy;
		char key[24];

		snprintf(key, sizeof(key), "n%u/policy%u", i % 3, i);
		policy = snapshot_policy_by_key(s, key);
		must(!policy == !m->in, "%s: %s", name, key);
		if (!policy)
			continue;
		must(policy->scope == m->scope, "%s", name);
		match = &policy->rules[0].clauses[0].matches[0];
		must(match->destination_ports.items[0] == m->variant, "%s", name);
		if (m->scope != SCOPE_WORKLOAD)
			count[m->scope == SCOPE_GLOBAL ? 3 : i % 3]++;
	}
	for (unsigned int i = 0; i < 4; i++) {
		struct policies_iter iter;
		size_t got = 0;

		snapshot_policies_of(s, i < 3 ? model_namespaces[i] : "", &iter);
		while (policies_next(&iter))
			got++;
		must(got == count[i], "%s: %zu policies, not %zu", name, got, count[i]);
	}
	must(snapshot_policies_changed(s) == model->policies_changed, "%s", name);
}

void model_check(const struct model *model, const struct snapshot *s, const char *name)
{
	check_workloads(model, s, name);
	check_services(model, s, name);
	check_endpoints(model, s, name);
	check_policies(model, s, name);
}

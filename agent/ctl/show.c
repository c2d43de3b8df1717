/*
 * show: the agent's JSON as tables for people.
 */
#include "ctl/show.h"

#include <string.h>

#include "ctl/table.h"

/* A member's text; "" when it is absent or something else. */
static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void add_bytes(struct table *table, long long bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		table_add_format(table, "%lld B", bytes);
		return;
	}
	for (value /= 1024; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1024;
	table_add_format(table, "%.1f %s", value, units[unit]);
}

static void add_duration(struct table *table, long long ms)
{
	long long s = ms / 1000;

	if (ms < 1000)
		table_add_format(table, "%lldms", ms);
	else if (s < 60)
		table_add_format(table, "%lld.%llds", s, ms % 1000 / 100);
	else if (s < 3600)
		table_add_format(table, "%lldm%llds", s / 60, s % 60);
	else if (s < 86400)
		table_add_format(table, "%lldh%lldm", s / 3600, s % 3600 / 60);
	else
		table_add_format(table, "%lldd%lldh", s / 86400, s % 86400 / 3600);
}

/* Nothing where the mesh does not come from an xDS server. */
static void show_xds(const json_t *xds, FILE *out)
{
	const json_t *resources = json_object_get(xds, "resources");
	const json_t *known = json_object_get(xds, "lastKnown");

	if (!json_is_object(xds))
		return;
	fprintf(out, "xds:      %s, %s for %llds%s; %lld addresses, %lld policies",
	        text_of(xds, "server"), text_of(xds, "state"), number_of(xds, "forSeconds"),
	        json_is_true(json_object_get(xds, "ready")) ? "" : ", the mesh is not known yet",
	        number_of(resources, "addresses"), number_of(resources, "policies"));
	if (json_object_get(xds, "lastMessageSecondsAgo"))
		fprintf(out, ", last message %llds ago", number_of(xds, "lastMessageSecondsAgo"));
	fputc('\n', out);
	if (strcmp(text_of(xds, "state"), "connected") != 0 && *text_of(xds, "lastEnd"))
		fprintf(out, "          ended last: %s\n", text_of(xds, "lastEnd"));
	if (json_is_true(json_object_get(known, "serving")))
		fprintf(out, "          serving what was known %llds ago\n",
		        number_of(known, "servingSecondsOld"));
	if (*text_of(xds, "lastNack"))
		fprintf(out, "          refused last: %s\n", text_of(xds, "lastNack"));
}

bool show_status(const json_t *root, FILE *out)
{
	static const char *const headings[] = { "POD", "STATE", "REASON", NULL };
	const json_t *pods = json_object_get(root, "pods"), *pod;
	const char *status = text_of(root, "status");
	struct table table;
	size_t i;

	fprintf(out, "status:   %s\nversion:  %s\nbackend:  %s", status, text_of(root, "version"),
	        text_of(root, "backend"));
	if (*text_of(root, "noIoUring"))
		fprintf(out, " (io_uring: %s)", text_of(root, "noIoUring"));
	fprintf(out, "\nworkers:  %lld\n", number_of(root, "workers"));
	if (*text_of(root, "ca"))
		fprintf(out, "CA:       %s\n", text_of(root, "ca"));
	show_xds(json_object_get(root, "xds"), out);
	table_init(&table, headings);
	json_array_foreach(pods, i, pod)
	{
		table_add(&table, text_of(pod, "pod"));
		table_add(&table, text_of(pod, "state"));
		table_add(&table, text_of(pod, "reason"));
	}
	fputs(i ? "\n" : "no pods\n", out);
	if (i)
		table_print(&table, out);
	table_done(&table);
	return strcmp(status, "ok") == 0;
}

/* Who is at the other end, as its certificate says. */
static const char *peer_of(const json_t *connection)
{
	static const char scheme[] = "spiffe://";
	const char *peer = strcmp(text_of(connection, "direction"), "outbound") == 0
	                       ? text_of(connection, "dstIdentity")
	                       : text_of(connection, "srcIdentity");

	return strncmp(peer, scheme, sizeof(scheme) - 1) == 0 ? peer + sizeof(scheme) - 1 : peer;
}

/* The columns both kinds share: what was reached, and, in a tunnel, by which address. */
static void add_ends(struct table *table, const json_t *connection)
{
	const char *inner = text_of(connection, "hboneAddr"), *outer = text_of(connection, "dst");

	table_add_format(table, "%lld", number_of(connection, "id"));
	table_add(table, text_of(connection, "pod"));
	table_add(table, text_of(connection, "direction"));
	table_add(table, text_of(connection, "src"));
	table_add(table, *inner ? inner : outer);
	table_add(table, *inner ? outer : "");
	table_add(table, text_of(connection, "protocol"));
	table_add(table, peer_of(connection));
}

static void add_amounts(struct table *table, const json_t *connection)
{
	add_bytes(table, number_of(connection, "bytesSent"));
	add_bytes(table, number_of(connection, "bytesRecv"));
	add_duration(table, number_of(connection, "durationMs"));
}

static void show_list(const json_t *root, const char *const *headings, const char *none,
                      void (*add_rest)(struct table *table, const json_t *connection), FILE *out)
{
	const json_t *connections = json_object_get(root, "connections"), *connection;
	struct table table;
	size_t i;

	table_init(&table, headings);
	json_array_foreach(connections, i, connection)
	{
		add_ends(&table, connection);
		add_amounts(&table, connection);
		add_rest(&table, connection);
	}
	if (i)
		table_print(&table, out);
	else
		fputs(none, out);
	if (number_of(root, "notShown") > 0)
		fprintf(out, "and %lld more that are not shown\n", number_of(root, "notShown"));
	table_done(&table);
}

static void add_live(struct table *table, const json_t *connection)
{
	table_add(table, text_of(connection, "state"));
	table_add(table, text_of(connection, "service"));
}

void show_connections(const json_t *root, FILE *out)
{
	static const char *const headings[] = { ">ID",  "POD",      "DIRECTION", "SRC",   "DST",
		                                "VIA",  "PROTOCOL", "PEER",      ">SENT", ">RECV",
		                                ">AGE", "STATE",    "SERVICE",   NULL };

	show_list(root, headings, "no connections\n", add_live, out);
}

static void add_ended(struct table *table, const json_t *connection)
{
	const char *end = text_of(connection, "end");

	if (!*end || strcmp(end, "clean") == 0)
		table_add(table, end);
	else
		table_add_format(table, "%s (%s, %s)", end, text_of(connection, "layer"),
		                 text_of(connection, "side"));
	table_add(table, text_of(connection, "policy"));
	table_add(table, text_of(connection, "error"));
}

void show_recent(const json_t *root, FILE *out)
{
	static const char *const headings[] = { ">ID",    "POD",   "DIRECTION", "SRC",
		                                "DST",    "VIA",   "PROTOCOL",  "PEER",
		                                ">SENT",  ">RECV", ">DURATION", "END",
		                                "POLICY", "ERROR", NULL };

	show_list(root, headings, "no connection has ended yet\n", add_ended, out);
}

/* Texts of a list, joined by commas. */
static void add_joined(struct table *table, const json_t *list)
{
	char text[512] = "";
	const json_t *item;
	size_t i, used = 0;

	json_array_foreach(list, i, item)
	{
		if (json_is_string(item) && used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
			                         i ? "," : "", json_string_value(item));
	}
	table_add(table, text);
}

static void add_workload(struct table *table, const json_t *workload)
{
	table_add(table, text_of(workload, "namespace"));
	table_add(table, text_of(workload, "name"));
	add_joined(table, json_object_get(workload, "workloadIps"));
	table_add(table, text_of(workload, "node"));
	table_add(table, text_of(json_object_get(workload, "waypoint"), "destination"));
	table_add(table, text_of(workload, "protocol"));
	table_add(table, text_of(workload, "status"));
}

static void add_service(struct table *table, const json_t *service)
{
	table_add(table, text_of(service, "namespace"));
	table_add(table, text_of(service, "hostname"));
	add_joined(table, json_object_get(service, "vips"));
	table_add(table, text_of(json_object_get(service, "waypoint"), "destination"));
	table_add_format(table, "%zu", json_object_size(json_object_get(service, "endpoints")));
}

static void add_policy(struct table *table, const json_t *policy)
{
	table_add(table, text_of(policy, "namespace"));
	table_add(table, text_of(policy, "name"));
	table_add(table, text_of(policy, "action"));
	table_add(table, text_of(policy, "scope"));
	table_add_format(table, "%zu", json_array_size(json_object_get(policy, "rules")));
}

static void add_certificate(struct table *table, const json_t *certificate)
{
	const json_t *leaf = json_array_get(json_object_get(certificate, "certChain"), 0);

	table_add(table, text_of(certificate, "identity"));
	table_add(table, text_of(certificate, "state"));
	table_add(table, text_of(leaf, "expirationTime"));
}

static const struct section {
	const char *key, *title;
	const char *headings[8];
	void (*add)(struct table *table, const json_t *item);
} sections[] = {
	{ "workloads",
	  "WORKLOADS",
	  { "NAMESPACE", "NAME", "IPS", "NODE", "WAYPOINT", "PROTOCOL", "STATUS", NULL },
	  add_workload },
	{ "services",
	  "SERVICES",
	  { "NAMESPACE", "HOSTNAME", "VIPS", "WAYPOINT", ">ENDPOINTS", NULL },
	  add_service },
	{ "policies",
	  "POLICIES",
	  { "NAMESPACE", "NAME", "ACTION", "SCOPE", ">RULES", NULL },
	  add_policy },
	{ "certificates",
	  "CERTIFICATES",
	  { "IDENTITY", "STATE", "EXPIRES", NULL },
	  add_certificate },
};

/* A section is a list or a map; of a map the values count, as for istioctl. */
static size_t add_items(struct table *table, const struct section *section, json_t *items)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_object(items)) {
		json_object_foreach(items, key, item) section->add(table, item);
		return json_object_size(items);
	}
	json_array_foreach(items, i, item) section->add(table, item);
	return json_array_size(items);
}

void show_config(const json_t *root, FILE *out)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		const struct section *section = &sections[i];
		struct table table;
		size_t count;

		table_init(&table, section->headings);
		count = add_items(&table, section, json_object_get(root, section->key));
		fprintf(out, "%s%s (%zu)\n", i ? "\n" : "", section->title, count);
		if (count)
			table_print(&table, out);
		table_done(&table);
	}
	fputs("\n-o json shows everything, settings included\n", out);
}

static size_t add_links(struct table *table, const json_t *identity, const char *key,
                        const char *first, const char *others)
{
	const json_t *list = json_object_get(identity, key), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		table_add(table, text_of(identity, "identity"));
		table_add(table, i ? others : first);
		table_add(table, text_of(identity, "state"));
		table_add(table, text_of(one, "serialNumber"));
		table_add(table, text_of(one, "validFrom"));
		table_add(table, text_of(one, "expirationTime"));
	}
	return json_array_size(list);
}

static void add_identity(struct table *table, const json_t *identity)
{
	size_t count = add_links(table, identity, "certChain", "Leaf", "Intermediate");

	count += add_links(table, identity, "rootCerts", "Root", "Root");
	if (count)
		return;
	table_add(table, text_of(identity, "identity"));
	table_add(table, NULL);
	table_add(table, text_of(identity, "state"));
	for (int i = 0; i < 3; i++)
		table_add(table, NULL);
}

void show_certificates(const json_t *root, FILE *out)
{
	static const struct section section = {
		"certificates",
		"CERTIFICATES",
		{ "IDENTITY", "TYPE", "STATE", "SERIAL", "FROM", "UNTIL", NULL },
		add_identity,
	};
	struct table table;

	table_init(&table, section.headings);
	if (add_items(&table, &section, json_object_get(root, section.key)))
		table_print(&table, out);
	else
		fputs("no certificates\n", out);
	table_done(&table);
}

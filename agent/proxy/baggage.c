/*
 * baggage: key=value, joined by commas, empty ones left out, nothing escaped.
 */
#include "proxy/baggage.h"

#include <stdio.h>
#include <string.h>

/* It becomes a header's value: what may not stand there is not said at all. */
static bool is_sayable(const char *value)
{
	for (const unsigned char *p = (const unsigned char *)value; *p; p++)
		if (*p <= 0x20 || *p >= 0x7f || *p == ',' || *p == '=')
			return false;
	return *value != 0;
}

static void add(FILE *out, const char *key, const char *value)
{
	if (is_sayable(value))
		fprintf(out, "%s%s=%s", ftell(out) > 0 ? "," : "", key, value);
}

char *baggage_format(const struct workload *workload, const char *cluster_id)
{
	char *text = NULL, key[64];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (workload) {
		const char *type = *workload->workload_type ? workload->workload_type : "pod";

		snprintf(key, sizeof(key), "k8s.%.32s.name", type);
		for (char *p = key; *p; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 'a' - 'A' : *p);
		add(out, "k8s.cluster.name",
		    *workload->cluster_id ? workload->cluster_id : cluster_id);
		add(out, "k8s.namespace.name", workload->ns);
		add(out, key, workload->workload_name);
		add(out, "service.name", workload->canonical_name);
		add(out, "service.version", workload->canonical_revision);
		add(out, "cloud.region", workload->region);
		add(out, "cloud.availability_zone", workload->zone);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

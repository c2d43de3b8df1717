/*
 * baggage: a workload of the mesh in the words of its header.
 */
#include "proxy/baggage.h"

#include <string.h>
#include <strings.h>

#include <hbone/headers.h>

/* Readers know four types; a workload of another kind, or of none, is known by its pods. */
static enum hb_workload_type type_of(const char *name)
{
	static const char *const names[] = {
		[HB_WORKLOAD_DEPLOYMENT] = "deployment",
		[HB_WORKLOAD_CRONJOB] = "cronjob",
		[HB_WORKLOAD_JOB] = "job",
	};

	for (size_t i = 0; i < HB_ARRAY_LEN(names); i++)
		if (names[i] && strcasecmp(names[i], name) == 0)
			return (enum hb_workload_type)i;
	return HB_WORKLOAD_POD;
}

char *baggage_format(const struct workload *workload, const char *cluster_id)
{
	char text[HB_BAGGAGE_SIZE];
	struct hb_baggage baggage;

	if (!workload)
		return strdup("");
	baggage = (struct hb_baggage){
		.cluster = hb_span(*workload->cluster_id ? workload->cluster_id : cluster_id),
		.ns = hb_span(workload->ns),
		.workload = hb_span(workload->workload_name),
		.service = hb_span(workload->canonical_name),
		.version = hb_span(workload->canonical_revision),
		.region = hb_span(workload->region),
		.zone = hb_span(workload->zone),
		.type = type_of(workload->workload_type),
	};
	return strdup(hb_baggage_format(&baggage, text));
}

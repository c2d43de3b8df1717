/*
 * flow_labels: from parties to texts, and from texts to a line.
 */
#include "proxy/flow_labels.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/hash.h"
#include "metrics.h"

#define UNKNOWN "unknown"

static const char *const names[FLOW_LABELS] = {
	[LABEL_SRC + LABEL_WORKLOAD] = "source_workload",
	[LABEL_SRC + LABEL_CANONICAL_SERVICE] = "source_canonical_service",
	[LABEL_SRC + LABEL_REVISION] = "source_canonical_revision",
	[LABEL_SRC + LABEL_NAMESPACE] = "source_workload_namespace",
	[LABEL_SRC + LABEL_PRINCIPAL] = "source_principal",
	[LABEL_SRC + LABEL_APP] = "source_app",
	[LABEL_SRC + LABEL_VERSION] = "source_version",
	[LABEL_SRC + LABEL_CLUSTER] = "source_cluster",
	[LABEL_SERVICE] = "destination_service",
	[LABEL_SERVICE_NS] = "destination_service_namespace",
	[LABEL_SERVICE_NAME] = "destination_service_name",
	[LABEL_DST + LABEL_WORKLOAD] = "destination_workload",
	[LABEL_DST + LABEL_CANONICAL_SERVICE] = "destination_canonical_service",
	[LABEL_DST + LABEL_REVISION] = "destination_canonical_revision",
	[LABEL_DST + LABEL_NAMESPACE] = "destination_workload_namespace",
	[LABEL_DST + LABEL_PRINCIPAL] = "destination_principal",
	[LABEL_DST + LABEL_APP] = "destination_app",
	[LABEL_DST + LABEL_VERSION] = "destination_version",
	[LABEL_DST + LABEL_CLUSTER] = "destination_cluster",
	[LABEL_SRC_REGION] = "source_region",
	[LABEL_SRC_ZONE] = "source_zone",
	[LABEL_DST_REGION] = "destination_region",
	[LABEL_DST_ZONE] = "destination_zone",
};

const char *response_flag_name(enum response_flag flag)
{
	static const char *const flags[RESPONSE_FLAGS] = {
		[FLAG_NONE] = "-",
		[FLAG_DENY] = "DENY",
		[FLAG_CONNECT] = "CONNECT",
		[FLAG_TLS_FAILURE] = "TLS_FAILURE",
		[FLAG_H2_HANDSHAKE] = "H2_HANDSHAKE_FAILURE",
		[FLAG_NETWORK_POLICY] = "NETWORK_POLICY",
		[FLAG_IDENTITY_ERROR] = "IDENTITY_ERROR",
		[FLAG_CERT_REVOKED] = "CERT_REVOKED",
	};

	return flags[flag];
}

/* ---- from parties to labels ---- */

/* Not in the middle of a character. */
static struct hb_span clip(struct hb_span span)
{
	if (span.len <= FLOW_LABEL_MAX)
		return span;
	span.len = FLOW_LABEL_MAX;
	while (span.len > 0 && ((uint8_t)span.text[span.len] & 0xc0) == 0x80)
		span.len--;
	return span;
}

static struct hb_span text_of(const char *text)
{
	return clip(hb_span(text));
}

/* A name as the mesh has them. Whatever else a peer says it is, is left out. */
static struct hb_span name_of(struct hb_span said)
{
	for (size_t i = 0; i < said.len; i++) {
		char c = said.text[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		             (c >= '0' && c <= '9') || (c && strchr("-_./:~@+", c));

		if (!plain)
			return (struct hb_span){ 0 };
	}
	return clip(said);
}

static void want_workload(struct hb_span *party, struct hb_span *region, const struct workload *w)
{
	party[LABEL_WORKLOAD] = text_of(w->workload_name);
	party[LABEL_CANONICAL_SERVICE] = party[LABEL_APP] = text_of(w->canonical_name);
	party[LABEL_REVISION] = party[LABEL_VERSION] = text_of(w->canonical_revision);
	party[LABEL_NAMESPACE] = text_of(w->ns);
	party[LABEL_CLUSTER] = text_of(w->cluster_id);
	region[0] = text_of(w->region);
	region[1] = text_of(w->zone);
}

/* Its app is what it calls its workload, as with ztunnel (reference/operations 3.3). */
static void want_said(struct hb_span *party, struct hb_span *region, const struct hb_baggage *said)
{
	party[LABEL_WORKLOAD] = party[LABEL_APP] = name_of(said->workload);
	party[LABEL_CANONICAL_SERVICE] = name_of(said->service);
	party[LABEL_REVISION] = party[LABEL_VERSION] = name_of(said->version);
	party[LABEL_NAMESPACE] = name_of(said->ns);
	party[LABEL_CLUSTER] = name_of(said->cluster);
	region[0] = name_of(said->region);
	region[1] = name_of(said->zone);
}

static void want_party(struct flow_labels_wanted *wanted, enum flow_label party,
                       enum flow_label region, const struct workload *workload,
                       const struct hb_baggage *said)
{
	if (workload)
		want_workload(&wanted->texts[party], &wanted->texts[region], workload);
	else if (said)
		want_said(&wanted->texts[party], &wanted->texts[region], said);
	wanted->located |= workload || said;
}

void flow_labels_want(const struct flow_parties *parties, struct flow_labels_wanted *wanted)
{
	const struct workload *dst = parties->dst;
	const struct service *service = parties->service;
	struct hb_span *texts = wanted->texts;

	*wanted =
	    (struct flow_labels_wanted){ .outbound = parties->outbound, .mtls = parties->mtls };
	want_party(wanted, LABEL_SRC, LABEL_SRC_REGION, parties->src, parties->src_said);
	want_party(wanted, LABEL_DST, LABEL_DST_REGION, dst, parties->dst_said);
	texts[LABEL_SRC + LABEL_PRINCIPAL] = text_of(parties->src_principal);
	texts[LABEL_DST + LABEL_PRINCIPAL] = text_of(dst ? dst->identity : parties->dst_principal);
	if (service) {
		texts[LABEL_SERVICE] = text_of(service->hostname);
		texts[LABEL_SERVICE_NS] = text_of(service->ns);
		texts[LABEL_SERVICE_NAME] = text_of(service->name);
	}
	wanted->hash =
	    (wanted->outbound ? 1u : 0u) | (wanted->mtls ? 2u : 0u) | (wanted->located ? 4u : 0u);
	for (int i = 0; i < FLOW_LABELS; i++)
		wanted->hash = hash_mix(wanted->hash, hash_bytes(texts[i].text, texts[i].len));
}

/* ---- labels ---- */

bool flow_labels_are(const struct flow_labels *labels, const struct flow_labels_wanted *wanted)
{
	if (labels->hash != wanted->hash || labels->outbound != wanted->outbound ||
	    labels->mtls != wanted->mtls || labels->located != wanted->located)
		return false;
	for (int i = 0; i < FLOW_LABELS; i++)
		if (labels->len[i] != wanted->texts[i].len ||
		    (labels->len[i] && memcmp(labels->text + labels->at[i], wanted->texts[i].text,
		                              labels->len[i]) != 0))
			return false;
	return true;
}

struct flow_labels *flow_labels_new(const struct flow_labels_wanted *wanted)
{
	size_t size = 0;
	struct flow_labels *labels;

	for (int i = 0; i < FLOW_LABELS; i++)
		size += wanted->texts[i].len + 1;
	labels = malloc(sizeof(*labels) + size);
	if (!labels)
		return NULL;
	*labels = (struct flow_labels){ .outbound = wanted->outbound,
		                        .mtls = wanted->mtls,
		                        .located = wanted->located,
		                        .hash = wanted->hash };
	atomic_init(&labels->refs, 1);
	size = 0;
	for (int i = 0; i < FLOW_LABELS; i++) {
		labels->at[i] = (uint16_t)size;
		labels->len[i] = (uint16_t)wanted->texts[i].len;
		if (labels->len[i])
			memcpy(labels->text + size, wanted->texts[i].text, labels->len[i]);
		labels->text[size + labels->len[i]] = 0;
		size += labels->len[i] + 1u;
	}
	return labels;
}
_Static_assert(FLOW_LABELS *(FLOW_LABEL_MAX + 1) <= UINT16_MAX, "labels.at holds every offset");

void flow_labels_unref(struct flow_labels *labels)
{
	if (atomic_fetch_sub_explicit(&labels->refs, 1, memory_order_acq_rel) == 1)
		free(labels);
}

int flow_labels_compare(const struct flow_labels *a, const struct flow_labels *b)
{
	int order = (int)b->outbound - (int)a->outbound; /* source, then destination */

	for (int i = 0; order == 0 && i < FLOW_LABELS; i++)
		order = strcmp(a->text + a->at[i], b->text + b->at[i]);
	if (order == 0)
		order = (int)a->mtls - (int)b->mtls;
	return order ? order : (int)a->located - (int)b->located;
}

struct flow_labels *flow_labels_ref(struct flow_labels *labels)
{
	atomic_fetch_add_explicit(&labels->refs, 1, memory_order_relaxed);
	return labels;
}

/* ---- shown ---- */

static void write_texts(FILE *out, const struct flow_labels *labels, int from, int to)
{
	for (int i = from; i < to; i++) {
		fprintf(out, ",%s=\"", names[i]);
		metrics_write_label(out, labels->len[i] ? labels->text + labels->at[i] : UNKNOWN);
		fputc('"', out);
	}
}

void flow_labels_write(FILE *out, const struct flow_labels *labels, enum response_flag flag)
{
	fprintf(out, "{reporter=\"%s\"", labels->outbound ? "source" : "destination");
	write_texts(out, labels, LABEL_SRC, LABEL_SRC_REGION);
	fprintf(out,
	        ",request_protocol=\"tcp\",response_flags=\"%s\",connection_security_policy=\"%s\"",
	        response_flag_name(flag), labels->mtls ? "mutual_tls" : UNKNOWN);
	if (labels->located)
		write_texts(out, labels, LABEL_SRC_REGION, FLOW_LABELS);
	fputc('}', out);
}

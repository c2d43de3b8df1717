/*
 * flow: the list of what is carried now, the ring of what was, and the words for how it ended.
 */
#include "proxy/flow.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tls.h>

#include "proxy/accesslog.h"

void flows_init(struct flows *flows, struct hb_loop *loop, uint64_t first_id, uint64_t id_step)
{
	memset(flows, 0, sizeof(*flows));
	hb_list_init(&flows->live);
	flows->loop = loop;
	flows->next_id = first_id;
	flows->id_step = id_step;
}

static size_t kept_bytes(const struct flow_ended *ended)
{
	return sizeof(*ended) + strlen(ended->outcome.error) + facts_bytes(ended->flow.facts);
}

/* Its words are its own, unless there are none. */
static void words_free(const char *words)
{
	if (*words)
		free((void *)(uintptr_t)words);
}

static void forget_oldest(struct flows *flows)
{
	struct flow_ended *ended = &flows->ring[(flows->ended - flows->kept) % FLOWS_RECENT];

	flows->kept--;
	flows->kept_bytes -= kept_bytes(ended);
	facts_put(&flows->facts, ended->flow.facts);
	words_free(ended->outcome.error);
}

void flows_done(struct flows *flows)
{
	while (flows->kept > 0)
		forget_oldest(flows);
}

struct flow *flow_new(struct flows *flows, struct pod *pod, enum flow_direction direction)
{
	struct flow *flow = hb_slab_get(hb_loop_slabs(flows->loop), sizeof(*flow));

	if (!flow)
		return NULL;
	flow->flows = flows;
	flow->pod = pod;
	flow->id = flows->next_id;
	flow->start_ms = hb_loop_now_ms(flows->loop);
	flow->direction = (uint8_t)direction;
	flow->state = FLOW_OPENING;
	flows->next_id += flows->id_step;
	flows->count++;
	flows->counts[direction]++;
	hb_list_add(&flows->live, &flow->node);
	return flow;
}

const char *flow_text(const struct flow *flow, enum flow_text which)
{
	return facts_text(flow->facts, which);
}

int flow_set_texts(struct flow *flow, const char *const *texts)
{
	struct facts_table *table = &flow->flows->facts;
	const struct facts *facts = facts_get(table, texts, flow->facts);

	if (!facts)
		return -ENOMEM;
	facts_put(table, flow->facts);
	flow->facts = facts;
	return 0;
}

uint64_t flow_bytes_sent(const struct flow *flow)
{
	return flow->direction == FLOW_OUTBOUND ? flow->relay.a.bytes : flow->relay.b.bytes;
}

uint64_t flow_bytes_recv(const struct flow *flow)
{
	return flow->direction == FLOW_OUTBOUND ? flow->relay.b.bytes : flow->relay.a.bytes;
}

uint64_t flow_duration_ms(const struct flow *flow, uint64_t now_ms)
{
	return (flow->state == FLOW_CLOSED ? flow->outcome->end_ms : now_ms) - flow->start_ms;
}

const struct flow *flows_recent(const struct flows *flows, size_t index)
{
	if (index >= flows->kept)
		return NULL;
	return &flows->ring[(flows->ended - 1 - index) % FLOWS_RECENT].flow;
}

static bool is_tunnelled(const struct flow *flow)
{
	return flow->direction == FLOW_OUTBOUND && *flow_text(flow, FLOW_AUTHORITY);
}

static void count_end(const struct flow *flow, enum response_flag flag)
{
	if (flow->relay.totals)
		flow_metrics_closed(flow->relay.totals, flag);
	else if (flow->flows->metrics && flow->early)
		flow_metrics_failed_early(flow->flows->metrics, flow->direction == FLOW_OUTBOUND);
}

/* Into the ring; without memory for its words they are forgotten. */
static void remember(const struct flow *flow)
{
	struct flows *flows = flow->flows;
	const char *words = *flow->outcome->error ? strdup(flow->outcome->error) : NULL;
	struct flow_ended *ended;

	if (flows->kept == FLOWS_RECENT)
		forget_oldest(flows);
	ended = &flows->ring[flows->ended++ % FLOWS_RECENT];
	*ended = (struct flow_ended){ *flow, *flow->outcome };
	ended->flow.outcome = &ended->outcome;
	ended->outcome.error = words ? words : "";
	flows->kept++;
	flows->kept_bytes += kept_bytes(ended);
	while (flows->kept_bytes > FLOWS_RECENT_BYTES && flows->kept > 1)
		forget_oldest(flows);
}

/* Out of the list, into the log and the ring. */
static void retire(struct flow *flow, struct hb_end why, const char *error)
{
	struct flows *flows = flow->flows;
	struct flow_outcome outcome = { hb_loop_now_ms(flows->loop), why, error };
	char words[512];
	bool opening = flow->state == FLOW_OPENING;
	enum response_flag flag = flow_response_flag(why, opening, is_tunnelled(flow));

	if (!error) {
		flow_explain(why, opening, flow->direction, words, sizeof(words));
		outcome.error = words;
	}
	flow->outcome = &outcome;
	flow->state = FLOW_CLOSED;
	accesslog_ended(flow, response_flag_name(flag));
	count_end(flow, flag);

	if (flows->cursor == &flow->node)
		flows->cursor = flow->node.next;
	hb_list_remove(&flow->node);
	flows->count--;
	flows->counts[flow->direction]--;
	if (flows->on_end)
		flows->on_end(flows->owner, flow);
	flow->pod = NULL;
	remember(flow);
	hb_slab_put(flow); /* its facts are the copy's */
}

static void on_relay_done(struct hb_relay *relay, struct hb_end why)
{
	struct flow *flow = hb_container_of(relay, struct flow, relay);

	retire(flow, why, NULL);
}

void flow_opened(struct flow *flow, const struct flow_parties *parties)
{
	struct flow_metrics *metrics = flow->flows->metrics;

	assert(!flow->relay.totals);
	if (metrics)
		flow->relay.totals = flow_metrics_opened(metrics, parties);
	accesslog_opened(flow);
}

void flow_join(struct flow *flow, struct hb_stream *a, struct hb_stream *b)
{
	struct hb_relay_totals *totals = flow->relay.totals;

	flow->state = FLOW_OPEN;
	hb_relay_start(&flow->relay, flow->flows->loop, a, b, &flow->flows->limits, on_relay_done);
	flow->relay.totals = totals;
}

void flow_abort(struct flow *flow, struct hb_end why)
{
	if (flow->state == FLOW_OPEN)
		hb_relay_abort(&flow->relay, why);
	else if (flow->state == FLOW_OPENING)
		flow->opening->abort(flow->opening, why);
}

void flow_end(struct flow *flow, struct hb_end why, const char *error)
{
	retire(flow, why, error);
}

const char *flow_error_text(int code, char *out, size_t size)
{
	if (code < 0 && code > HB_E_FIRST)
		snprintf(out, size, "%s (os error %d)", hb_strerror(code), -code);
	else
		snprintf(out, size, "%s", hb_strerror(code));
	return out;
}

void flow_explain(struct hb_end why, bool opening, enum flow_direction direction, char *out,
                  size_t size)
{
	bool outbound = direction == FLOW_OUTBOUND;
	const char *prefix = "io error: ", *words;
	char text[128];

	words = flow_error_text(why.code, text, sizeof(text));
	if (why.code == 0)
		words = prefix = "";
	else if (why.code == HB_E_DRAIN)
		words = "connection closed due to connection drain", prefix = "";
	else if (why.code == HB_E_POLICY_CHANGED)
		prefix = "";
	else if (why.code == HB_TLS_REVOKED && !opening)
		words = "connection closed: peer certificate revoked by CRL", prefix = "";
	else if (why.code == HB_E_RECURSIVE)
		words = "attempted recursive call to ourselves", prefix = "";
	else if (why.code == HB_E_NO_CREDENTIAL)
		prefix = "identity error: ";
	else if (hb_error_number(why.code, HB_E_STATUS(0)) >= 0)
		prefix = ""; /* the code's own words begin with "http status: " */
	else if (why.layer == HB_LAYER_TLS)
		prefix = opening && !outbound ? "tls handshake error: " : "tls error: ";
	else if (why.layer == HB_LAYER_H2)
		prefix = "h2 failed: ";
	else if (opening && why.layer == HB_LAYER_TCP && !outbound)
		prefix = "connection failed: ";
	snprintf(out, size, "%s%s", prefix, words);
}

enum response_flag flow_response_flag(struct hb_end why, bool opening, bool tunnelled)
{
	if (why.code == 0 || why.code == HB_E_DRAIN)
		return FLAG_NONE;
	if (why.code == HB_E_POLICY || why.code == HB_E_POLICY_CHANGED)
		return FLAG_DENY;
	if (why.code == HB_E_NO_CREDENTIAL)
		return FLAG_IDENTITY_ERROR;
	if (why.code == HB_TLS_REVOKED)
		return FLAG_CERT_REVOKED;
	if (why.layer == HB_LAYER_TLS && opening)
		return FLAG_TLS_FAILURE;
	if (why.layer == HB_LAYER_H2 && opening)
		return FLAG_H2_HANDSHAKE;
	if (why.layer == HB_LAYER_TCP && why.code == -ETIMEDOUT && opening && tunnelled)
		return FLAG_NETWORK_POLICY;
	return FLAG_CONNECT;
}

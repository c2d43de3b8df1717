/*
 * flow: the list of what is carried now, the ring of what was, and the words for how it ended.
 */
#include "proxy/flow.h"

#include <stdio.h>
#include <string.h>

#include "proxy/accesslog.h"

void flows_init(struct flows *flows, struct hb_loop *loop, uint64_t first_id, uint64_t id_step)
{
	memset(flows, 0, sizeof(*flows));
	hb_list_init(&flows->live);
	flows->loop = loop;
	flows->next_id = first_id;
	flows->id_step = id_step;
}

static void flow_free(struct flow *flow)
{
	if (!flow)
		return;
	free(flow->texts);
	free(flow->error);
	free(flow);
}

void flows_done(struct flows *flows)
{
	for (size_t i = 0; i < FLOWS_RECENT; i++) {
		flow_free(flows->ring[i]);
		flows->ring[i] = NULL;
	}
}

struct flow *flow_new(struct flows *flows, struct pod *pod, enum flow_direction direction,
                      void (*abort)(struct flow *flow, struct hb_end why))
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return NULL;
	flow->flows = flows;
	flow->pod = pod;
	flow->abort = abort;
	flow->id = flows->next_id;
	flow->start_ms = hb_loop_now_ms(flows->loop);
	flow->direction = (uint8_t)direction;
	flow->state = FLOW_OPENING;
	flows->next_id += flows->id_step;
	flows->count++;
	hb_list_add(&flows->live, &flow->node);
	return flow;
}

const char *flow_text(const struct flow *flow, enum flow_text which)
{
	return flow->texts ? flow->texts + flow->at[which] : "";
}

int flow_set_texts(struct flow *flow, const char *const *texts)
{
	const char *from[FLOW_TEXTS];
	size_t len[FLOW_TEXTS], total = 1;
	char *block;

	for (int i = 0; i < FLOW_TEXTS; i++) {
		from[i] = texts[i] ? texts[i] : flow_text(flow, (enum flow_text)i);
		len[i] = strnlen(from[i], FLOW_TEXT_MAX);
		total += len[i] ? len[i] + 1 : 0;
	}
	block = malloc(total);
	if (!block)
		return -ENOMEM;

	/* All absent texts share the empty one in front. */
	block[0] = 0;
	total = 1;
	for (int i = 0; i < FLOW_TEXTS; i++) {
		if (len[i] == 0) {
			flow->at[i] = 0;
			continue;
		}
		memcpy(block + total, from[i], len[i]);
		block[total + len[i]] = 0;
		flow->at[i] = (uint16_t)total;
		total += len[i] + 1;
	}
	free(flow->texts);
	flow->texts = block;
	return 0;
}

uint64_t flow_bytes_sent(const struct flow *flow)
{
	if (flow->state != FLOW_OPEN)
		return flow->bytes_sent;
	return flow->direction == FLOW_OUTBOUND ? flow->relay.a.bytes : flow->relay.b.bytes;
}

uint64_t flow_bytes_recv(const struct flow *flow)
{
	if (flow->state != FLOW_OPEN)
		return flow->bytes_recv;
	return flow->direction == FLOW_OUTBOUND ? flow->relay.b.bytes : flow->relay.a.bytes;
}

uint64_t flow_duration_ms(const struct flow *flow, uint64_t now_ms)
{
	return (flow->state == FLOW_CLOSED ? flow->end_ms : now_ms) - flow->start_ms;
}

const struct flow *flows_recent(const struct flows *flows, size_t index)
{
	if (index >= FLOWS_RECENT || index >= flows->ended)
		return NULL;
	return flows->ring[(flows->ended - 1 - index) % FLOWS_RECENT];
}

/* Out of the list, into the log and the ring; the pod's owner hears of it last. */
static void retire(struct flow *flow, struct hb_end why, const char *error)
{
	struct flows *flows = flow->flows;
	char words[512];
	bool opening = flow->state == FLOW_OPENING;
	struct flow **place = &flows->ring[flows->ended % FLOWS_RECENT];

	if (!error) {
		flow_explain(why, opening, words, sizeof(words));
		error = words;
	}
	if (*error)
		flow->error = strdup(error);
	flow->bytes_sent = flow_bytes_sent(flow);
	flow->bytes_recv = flow_bytes_recv(flow);
	flow->end_ms = hb_loop_now_ms(flows->loop);
	flow->why = why;
	flow->state = FLOW_CLOSED;
	accesslog_ended(flow, flow_response_flags(why, opening));

	hb_list_remove(&flow->node);
	flows->count--;
	flow_free(*place);
	*place = flow;
	flows->ended++;
	if (flows->on_end)
		flows->on_end(flows->owner, flow);
	flow->pod = NULL;
}

static void on_relay_done(struct hb_relay *relay, struct hb_end why)
{
	struct flow *flow = hb_container_of(relay, struct flow, relay);

	retire(flow, why, NULL);
}

void flow_join(struct flow *flow, struct hb_stream *a, struct hb_stream *b)
{
	flow->state = FLOW_OPEN;
	accesslog_opened(flow);
	hb_relay_start(&flow->relay, flow->flows->loop, a, b, 0, on_relay_done);
}

void flow_abort(struct flow *flow, struct hb_end why)
{
	if (flow->state == FLOW_OPEN)
		hb_relay_abort(&flow->relay, why);
	else if (flow->state == FLOW_OPENING)
		flow->abort(flow, why);
}

void flow_end(struct flow *flow, struct hb_end why, const char *error)
{
	retire(flow, why, error);
}

void flow_explain(struct hb_end why, bool opening, char *out, size_t size)
{
	const char *words = hb_strerror(why.code);
	const char *prefix = "io error: ";

	if (why.code == 0)
		words = prefix = "";
	else if (why.code == HB_E_DRAIN)
		words = "connection closed due to connection drain", prefix = "";
	else if (why.code == HB_E_RECURSIVE)
		words = "attempted recursive call to ourselves", prefix = "";
	else if (why.code == HB_E_NO_CREDENTIAL)
		prefix = "identity error: ";
	else if (hb_error_number(why.code, HB_E_STATUS(0)) >= 0)
		prefix = ""; /* the code's own words begin with "http status: " */
	else if (why.layer == HB_LAYER_TLS)
		prefix = "tls error: ";
	else if (why.layer == HB_LAYER_H2)
		prefix = "h2 failed: ";
	else if (opening && why.layer == HB_LAYER_TCP)
		prefix = "connection failed: ";
	snprintf(out, size, "%s%s", prefix, words);
}

const char *flow_response_flags(struct hb_end why, bool opening)
{
	if (why.code == 0 || why.code == HB_E_DRAIN)
		return "-";
	if (why.code == HB_E_POLICY)
		return "DENY";
	if (why.code == HB_E_NO_CREDENTIAL)
		return "IDENTITY_ERROR";
	if (why.layer == HB_LAYER_H2 && opening)
		return "H2_HANDSHAKE_FAILURE";
	return "CONNECT";
}

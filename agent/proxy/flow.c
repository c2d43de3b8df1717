/*
 * flow: the list of what is carried now, the ring of what was, and the words for how it ended.
 */
#include "proxy/flow.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tls.h>

#include "proxy/accesslog.h"

_Static_assert(offsetof(struct flow, relay.a) == offsetof(struct flow, opening) &&
                   offsetof(struct flow, relay.why) == offsetof(struct flow, outcome),
               "what is over what");

static void on_relay_done(struct hb_relay *relay, struct hb_end why);

void flows_init(struct flows *flows, struct hb_loop *loop, uint64_t first_id, uint64_t id_step)
{
	memset(flows, 0, sizeof(*flows));
	hb_clutches_init(&flows->live, hb_loop_slabs(loop), sizeof(struct flow));
	flow_paths_init(&flows->paths, hb_loop_slabs(loop));
	flows->rest.on_done = on_relay_done;
	flows->loop = loop;
	flows->next_id = first_id;
	flows->id_step = id_step;
}

static size_t kept_bytes(const struct flow_ended *ended)
{
	return sizeof(*ended) + strlen(ended->outcome.error) +
	       facts_bytes(ended->flow.path->facts) + sizeof(*ended->flow.path);
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
	flow_path_put(&flows->paths, ended->flow.path);
	words_free(ended->outcome.error);
}

void flows_done(struct flows *flows)
{
	while (flows->kept > 0)
		forget_oldest(flows);
}

static struct hb_clutch *clutch_of(const struct flow *flow)
{
	return hb_clutch_of(flow, flow->place, sizeof(*flow));
}

/* Of a live one. */
static struct flows *flows_of(const struct flow *flow)
{
	return hb_container_of(hb_clutch_set(clutch_of(flow)), struct flows, live);
}

static void flow_free(struct flow *flow)
{
	hb_clutch_put(clutch_of(flow), flow->place, sizeof(*flow));
}

struct flow *flow_new(struct flows *flows, struct pod *pod, const char *name,
                      enum flow_direction direction)
{
	const char *texts[FLOW_TEXTS] = { [FLOW_POD] = name };
	struct flow_path path = { .pod = pod };
	unsigned place;
	struct flow *flow = hb_clutch_get(&flows->live, &place);

	if (!flow)
		return NULL;
	flow->place = place & 15;
	path.facts = facts_get(&flows->paths.facts, texts, NULL);
	if (path.facts)
		flow->path = flow_path_get(&flows->paths, &path);
	if (!flow->path) {
		flow_free(flow);
		return NULL;
	}
	flow->id = flows->next_id & (((uint64_t)1 << 48) - 1);
	flow->start_ms = hb_loop_now_ms(flows->loop) & (((uint64_t)1 << 38) - 1);
	flow->direction = (unsigned)direction & 3;
	flow->state = FLOW_OPENING;
	flows->next_id += flows->id_step;
	flows->count++;
	flows->counts[direction]++;
	return flow;
}

struct pod *flow_pod(const struct flow *flow)
{
	return flow->state == FLOW_CLOSED ? NULL : flow->path->pod;
}

struct hb_addr flow_src(const struct flow *flow)
{
	return (struct hb_addr){ flow->path->src, (uint16_t)flow->src_port };
}

const struct hb_addr *flow_dst(const struct flow *flow)
{
	return &flow->path->dst;
}

const struct hb_addr *flow_orig_dst(const struct flow *flow)
{
	return &flow->path->orig_dst;
}

/* 0 or -ENOMEM, nothing changed. Takes the facts of @want. */
static int change_path(struct flow *flow, const struct flow_path *want)
{
	struct flow_paths *table = &flows_of(flow)->paths;
	const struct flow_path *path = flow_path_get(table, want);

	if (!path)
		return -ENOMEM;
	flow_path_put(table, flow->path);
	flow->path = path;
	return 0;
}

int flow_set_path(struct flow *flow, const struct hb_addr *src, const struct hb_addr *dst,
                  const struct hb_addr *orig_dst)
{
	struct flow_path want = *flow->path;

	want.src = src ? src->ip : want.src;
	want.dst = dst ? *dst : want.dst;
	want.orig_dst = orig_dst ? *orig_dst : want.orig_dst;
	facts_ref(want.facts);
	if (change_path(flow, &want) < 0)
		return -ENOMEM;
	if (src)
		flow->src_port = src->port;
	return 0;
}

const char *flow_text(const struct flow *flow, enum flow_text which)
{
	return facts_text(flow->path->facts, which);
}

int flow_set_texts(struct flow *flow, const char *const *texts)
{
	struct flow_path want = *flow->path;

	want.facts = facts_get(&flows_of(flow)->paths.facts, texts, want.facts);
	return want.facts ? change_path(flow, &want) : -ENOMEM;
}

static uint64_t bytes_of(const struct flow *flow, const struct hb_relay_side *side)
{
	return flow->state == FLOW_OPENING ? 0 : hb_relay_bytes(side);
}

uint64_t flow_bytes_sent(const struct flow *flow)
{
	return bytes_of(flow, flow->direction == FLOW_OUTBOUND ? &flow->relay.a : &flow->relay.b);
}

uint64_t flow_bytes_recv(const struct flow *flow)
{
	return bytes_of(flow, flow->direction == FLOW_OUTBOUND ? &flow->relay.b : &flow->relay.a);
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
	struct flows *flows = flows_of(flow);
	struct hb_relay_group *group = flow->relay.group;

	if (group && group != &flows->rest)
		flow_metrics_closed(group, flag);
	else if (flows->metrics && flow->early)
		flow_metrics_failed_early(flows->metrics, flow->direction == FLOW_OUTBOUND);
}

/* Into the ring; without memory for its words they are forgotten. */
static void remember(const struct flow *flow)
{
	struct flows *flows = flows_of(flow);
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
	struct flows *flows = flows_of(flow);
	struct flow_outcome outcome = { hb_loop_now_ms(flows->loop), why, error };
	char words[512];
	bool opening = flow->state == FLOW_OPENING;
	enum response_flag flag = flow_response_flag(why, opening, is_tunnelled(flow));

	if (!error) {
		flow_explain(why, opening, flow->direction, words, sizeof(words));
		outcome.error = words;
	}
	if (opening)
		flow->relay.a.at = flow->relay.b.at = 1; /* nothing was carried */
	flow->outcome = &outcome;
	flow->state = FLOW_CLOSED;
	accesslog_ended(flow, response_flag_name(flag));
	count_end(flow, flag);

	flows->count--;
	flows->counts[flow->direction]--;
	if (flows->on_end)
		flows->on_end(flows->owner, flow);
	remember(flow);
	flow_free(flow); /* its path is the copy's */
}

static void on_relay_done(struct hb_relay *relay, struct hb_end why)
{
	struct flow *flow = hb_container_of(relay, struct flow, relay);

	retire(flow, why, NULL);
}

void flow_opened(struct flow *flow, const struct flow_parties *parties)
{
	struct flow_metrics *metrics = flows_of(flow)->metrics;

	assert(!flow->relay.group);
	if (metrics) {
		flow->relay.group = flow_metrics_opened(metrics, parties);
		flow->relay.group->on_done = on_relay_done;
	}
	accesslog_opened(flow);
}

void flow_join(struct flow *flow, struct hb_stream *a, struct hb_stream *b)
{
	struct flows *flows = flows_of(flow);
	struct hb_relay_group *group = flow->relay.group ? flow->relay.group : &flows->rest;

	flow->state = FLOW_OPEN;
	hb_relay_start(&flow->relay, flows->loop, a, b, &flows->limits, group);
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

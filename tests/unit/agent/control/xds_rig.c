/*
 * xds_rig: requests are read back field by field, into "Address node v[a=1 b=] +sub -unsub".
 */
#include "unit/agent/control/xds_rig.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/error.h>

#include "control/backoff.h"
#include "support/any_loop.h"
#include "support/pbtext.h"

#define TURNS_MAX 20000

struct rig_server server;

struct grpc_channel {
	int unused;
};
struct grpc_call {
	int unused;
};

static struct grpc_channel channel;
static struct grpc_call calls[64];

/*
 * backoff.h: no waiting.
 */
void backoff_init(struct backoff *backoff, uint32_t floor_ms, uint32_t first_ms, uint32_t max_ms,
                  uint64_t seed)
{
	ck_assert(floor_ms > 0 && floor_ms <= first_ms && first_ms <= max_ms);
}

uint32_t backoff_next_ms(struct backoff *backoff)
{
	server.waits++;
	return 0;
}

void backoff_reset(struct backoff *backoff)
{
	server.resets++;
}

/*
 * grpc.h.
 */
const char *grpc_channel_target(const struct grpc_channel *of)
{
	return "istiod.istio-system.svc:15012";
}

const char *grpc_kind_name(enum grpc_kind kind)
{
	return "connection lost";
}

const char *grpc_code_name(int code)
{
	return code == GRPC_UNAVAILABLE ? "Unavailable" : NULL;
}

static void sent_clear(void)
{
	while (server.sent_count)
		free(server.sent[--server.sent_count]);
}

struct grpc_call *grpc_call_new(struct grpc_channel *of, const char *path,
                                const struct grpc_call_options *options,
                                const struct grpc_events *events, void *ctx)
{
	ck_assert_ptr_eq(of, &channel);
	ck_assert_str_eq(path, "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
	                       "DeltaAggregatedResources");
	ck_assert_uint_eq(options->max_message, 200u << 20);
	ck_assert_ptr_null(server.call);
	sent_clear();
	server.call = &calls[server.calls++];
	server.events = events;
	server.ctx = ctx;
	server.paused = false;
	return server.call;
}

static const char *short_of(const char *url)
{
	const char *dot = strrchr(url, '.');

	return dot ? dot + 1 : url;
}

/* Of a pair in a map, or of a status. */
static void pair_write(FILE *out, const struct xds_field *pair, const char *between)
{
	struct xds_walk walk = { .bytes = pair->bytes, .size = pair->size };
	struct xds_field field;
	const char *before = "";

	while (xds_walk_next(&walk, &field) == 1) {
		if (field.has_bytes)
			fprintf(out, "%s%.*s", before, (int)field.size, (const char *)field.bytes);
		else
			fprintf(out, "%u", field.bytes[0]);
		before = between;
	}
}

static char *text_of(const uint8_t *bytes, size_t size)
{
	static const char *const heads[] = { [3] = " +", [4] = " -", [6] = " nonce=" };
	struct xds_walk walk = { .bytes = bytes, .size = size };
	struct xds_field field;
	char url[128], *text;
	size_t text_size;
	FILE *out = open_memstream(&text, &text_size);
	int more;

	while ((more = xds_walk_next(&walk, &field)) == 1) {
		const char *value = (const char *)field.bytes;

		if (field.number == 1) {
			fprintf(out, "%.*s ", (int)field.size, value);
		} else if (field.number == 2) {
			snprintf(url, sizeof(url), "%.*s", (int)field.size, value);
			fputs(short_of(url), out);
		} else if (field.number == 5) {
			fputs(" v[", out);
			pair_write(out, &field, "=");
			fputs("]", out);
		} else if (field.number == 7) {
			fputs(" error=", out);
			pair_write(out, &field, " ");
		} else {
			fprintf(out, "%s%.*s", heads[field.number], (int)field.size, value);
		}
	}
	ck_assert_int_eq(more, 0);
	fclose(out);
	return text;
}

bool grpc_call_send(struct grpc_call *call, const void *message, size_t size)
{
	ck_assert_ptr_eq(call, server.call);
	if (server.refuses)
		return false;
	ck_assert_uint_lt(server.sent_count, RIG_SENT_MAX);
	server.sent[server.sent_count++] = text_of(message, size);
	return true;
}

void grpc_call_pause(struct grpc_call *call)
{
	ck_assert_ptr_eq(call, server.call);
	server.paused = true;
}

void grpc_call_resume(struct grpc_call *call)
{
	ck_assert_ptr_eq(call, server.call);
	ck_assert(server.paused);
	server.paused = false;
}

void grpc_call_cancel(struct grpc_call *call)
{
	ck_assert_ptr_eq(call, server.call);
	server.call = NULL;
	server.cancels++;
}

/*
 * The client.
 */
static int on_publish(void *owner, const struct xds_push *push)
{
	struct rig *rig = owner;

	rig->publishes++;
	if (rig->publish_err) {
		store_discard(rig->store);
		return rig->publish_err;
	}
	snapshot_unref(rig->snapshot);
	return store_publish(rig->store, &rig->snapshot, NULL);
}

static void on_ready(void *owner)
{
	((struct rig *)owner)->readies++;
}

static bool has_call(const struct rig *rig)
{
	return server.call;
}

static bool is_idle(const struct rig *rig)
{
	return !xds_is_busy(rig->xds);
}

void rig_init(struct rig *rig, const struct xds_options *options)
{
	*rig = (struct rig){ .loop = test_loop_new(NULL),
		             .store = store_new(NULL),
		             .metrics = metrics_new() };
	sent_clear();
	server = (struct rig_server){ 0 };
	if (options)
		rig->options = *options;
	rig->options.channel = &channel;
	rig->options.store = rig->store;
	rig->options.node = (const uint8_t *)"node";
	rig->options.node_size = 4;
	rig->options.metrics = rig->metrics;
	rig->options.on_publish = on_publish;
	rig->options.on_ready = on_ready;
	rig->options.owner = rig;
	ck_assert_int_eq(store_publish(rig->store, &rig->snapshot, NULL), 0);
	rig->xds = xds_new(rig->loop, &rig->options);
	rig_until(rig, has_call);
}

void rig_done(struct rig *rig)
{
	xds_free(rig->xds);
	sent_clear();
	snapshot_unref(rig->snapshot);
	store_free(rig->store);
	metrics_free(rig->metrics);
	hb_loop_free(rig->loop);
}

void rig_until(struct rig *rig, bool (*done)(const struct rig *rig))
{
	for (int i = 0; i < TURNS_MAX && !done(rig); i++)
		ck_assert_int_eq(hb_loop_turn(rig->loop, 1), 0);
	ck_assert(done(rig));
}

void rig_hand(struct rig *rig, const char *pbtext)
{
	struct pb pb = pb_of(pbtext);

	ck_assert(!server.paused);
	server.events->on_message(server.ctx, pb.bytes, pb.size);
}

void rig_say(struct rig *rig, const char *pbtext)
{
	rig_hand(rig, pbtext);
	ck_assert(xds_is_busy(rig->xds));
	rig_until(rig, is_idle);
}

void rig_end(struct rig *rig, enum grpc_kind kind, int code, const char *message)
{
	struct grpc_status status = { .code = code, .kind = kind, .message = message };

	server.call = NULL;
	server.events->on_end(server.ctx, &status);
	rig_until(rig, has_call);
}

uint64_t rig_metric(struct rig *rig, enum metric metric, const char *value)
{
	return *metrics_at(rig->metrics, metric, value ? &value : NULL);
}

bool rig_has(const struct rig *rig, const char *uid)
{
	return snapshot_workload_by_uid(rig->snapshot, uid);
}

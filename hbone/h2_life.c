/*
 * h2_life: a connection's deadlines. One timer; it looks at every rule, acts on those that are due
 * and sleeps until the next is, but never longer than a ping interval: events only write down when
 * they happened and do not touch the timer.
 */
#include "h2_nghttp2.h"

/* How long a server waits for the answer that says which requests were on their way. */
#define DRAIN_MS 1000u

#define NEVER UINT64_MAX

static void stalled(struct hb_h2 *h2)
{
	h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_STALLED));
}

/* Both begin with their SETTINGS (RFC 9113 3.4); in a pool many wait for a server's. */
static uint64_t settings_due(const struct hb_h2 *h2)
{
	return h2->settings_in ? NEVER : h2->born_ms + h2->options.begin_ms;
}

static uint64_t first_stream_due(const struct hb_h2 *h2)
{
	if (h2->asked || h2->draining || !h2->options.first_stream_ms)
		return NEVER;
	return h2->born_ms + h2->options.first_stream_ms;
}

/* A header block holds up all other streams (RFC 9113 6.10) and counts as one. */
static uint64_t block_due(const struct hb_h2 *h2)
{
	return h2->guard.block_ms ? h2->guard.block_ms + h2->options.begin_ms : NEVER;
}

/* It may write as lively as it likes: who never reads is as good as dead. */
static uint64_t unread_due(const struct hb_h2 *h2)
{
	if (!h2->full_ms)
		return NEVER;
	return h2->full_ms + h2->options.ping_interval_ms + h2->options.ping_timeout_ms;
}

static uint64_t drain_due(const struct hb_h2 *h2)
{
	return h2->drain_ms && !h2->final_goaway ? h2->drain_ms + DRAIN_MS : NEVER;
}

/* reference/datapath 1.11, but any byte that comes in is a sign of life. */
static uint64_t ping_due(const struct hb_h2 *h2)
{
	if (h2->options.ping_streams_only && !h2->streams_count && !h2->ping_sent_ms)
		return NEVER;
	return h2->ping_sent_ms ? h2->ping_sent_ms + h2->options.ping_timeout_ms
	                        : h2->last_in_ms + h2->options.ping_interval_ms;
}

static void ping(struct hb_h2 *h2)
{
	if (h2->ping_sent_ms) {
		h2_fail(h2, hb_end(HB_LAYER_H2, HB_SIDE_PEER, HB_E_PING_TIME));
		return;
	}
	h2->ping_sent_ms = hb_loop_now_ms(h2->loop);
	(void)nghttp2_submit_ping(h2_session(h2), NGHTTP2_FLAG_NONE, NULL);
	h2_wake_flush(h2);
}

void h2_send_final_goaway(struct hb_h2 *h2)
{
	if (h2->final_goaway || !h2->drain_ms)
		return;
	h2->final_goaway = true;
	(void)nghttp2_submit_goaway(h2_session(h2), NGHTTP2_FLAG_NONE,
	                            nghttp2_session_get_last_proc_stream_id(h2_session(h2)),
	                            NGHTTP2_NO_ERROR, NULL, 0);
	h2_wake_flush(h2);
}

static const struct {
	uint64_t (*due)(const struct hb_h2 *h2);
	void (*act)(struct hb_h2 *h2);
} rules[] = {
	{ settings_due, stalled }, { first_stream_due, hb_h2_drain },   { block_due, stalled },
	{ unread_due, stalled },   { drain_due, h2_send_final_goaway }, { ping_due, ping },
};

void h2_life_look(struct hb_h2 *h2)
{
	uint64_t now = hb_loop_now_ms(h2->loop), next = now + h2->options.ping_interval_ms;

	for (size_t i = 0; i < HB_ARRAY_LEN(rules) && !h2->close_asked; i++) {
		uint64_t due = rules[i].due(h2);

		if (due <= now) {
			rules[i].act(h2);
			due = rules[i].due(h2);
		}
		if (due > now && due < next)
			next = due;
	}
	if (!h2->close_asked)
		hb_loop_timer_start(h2->loop, &h2->life, next - now);
}

void h2_life_on_time(struct hb_timer *timer)
{
	h2_life_look(hb_container_of(timer, struct hb_h2, life));
}

/*
 * tls: a stream over a stream: handshake, records, and the end of both.
 *
 *   OPENING --handshake done, peer accepted--> OPEN: on_open
 *      |                                        | finish: close_notify out; peer's: on_finish
 *      |  failure, deadline, close              |  failure, cut, close
 *      +-------------------+--------------------+
 *                          v
 *                       CLOSING --lower.on_closed--> CLOSED: on_closed
 *
 * Only end() leads to CLOSING, and only on_lower_closed() to CLOSED. An end of our own making
 * (a certificate refused, a cut) is kept in why and told instead of the lower stream's.
 *
 * Reading: the lower stream is read while we are OPENING, and while we are OPEN and not paused, but
 * not when behind. What came is opened at most TURN_BYTES a turn; the rest waits for the next one.
 */
#include "tls_ctx.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "tls_name.h"
#include "tls_peer.h"
#include "tls_wire.h"

#define TURN_BYTES    (256u * 1024) /* plaintext given to the owner per turn */
#define BEHIND_BYTES  (256u * 1024) /* ciphertext that waits before lower is paused */
#define HANDSHAKE_MS  10000u
#define STARVED_MS    10u /* until we ask the pool again */
#define LOOSE_BUFS    8   /* of a record that is not whole: more are gathered into one slot */
#define KEY_RECORDS   (1u << 23)
#define DESCRIBE_SIZE 64

enum tls_state { TLS_OPENING, TLS_OPEN, TLS_CLOSING, TLS_CLOSED };

struct tls {
	struct hb_stream stream;
	struct hb_stream *lower;
	struct hb_loop *loop;
	struct hb_tls_ctx *ctx;
	SSL *ssl;
	struct hb_tls_wire wire;
	struct hb_tls_peer peer;
	struct hb_pace *pace;     /* NULL: no turns are waited for */
	struct hb_pace_item turn; /* OPENING: the next step */
	uint32_t pace_group;
	struct hb_task work;   /* to look at what waits, at the end of this turn */
	struct hb_timer timer; /* OPENING: the deadline. OPEN: look again, in a later turn */
	struct hb_end why;     /* CLOSING: code 0: the lower stream will say */
	uint32_t key_records;  /* records to seal under one key */
	uint32_t records;      /* sealed under this key */
	enum tls_state state;
	bool paused;
	bool reading;        /* lower is resumed */
	bool lower_finished; /* lower's last byte has come */
	bool peer_finished;  /* close_notify has come */
	bool told_finish;    /* and the owner knows */
	bool finished;       /* our close_notify is written */
	bool full;           /* the owner was told */
	char describe[DESCRIBE_SIZE];
};

static struct tls *tls_of(const struct hb_stream *stream)
{
	return hb_container_of(stream, struct tls, stream);
}

/* ---- down ---- */

static void flush(struct tls *tls)
{
	struct hb_buf *chain = hb_tls_wire_take(&tls->wire);

	if (chain)
		hb_stream_write(tls->lower, chain);
}

/* The lower stream is told once per change. */
static void steer_reading(struct tls *tls)
{
	bool want = tls->wire.in.bytes < BEHIND_BYTES &&
	            (tls->state == TLS_OPENING || (tls->state == TLS_OPEN && !tls->paused));

	if (tls->state >= TLS_CLOSING || want == tls->reading)
		return;
	tls->reading = want;
	if (want)
		hb_stream_resume(tls->lower);
	else
		hb_stream_pause(tls->lower);
}

/*
 * @why is what the owner will be told (clean: whatever the lower stream says); @lower_why is how
 * the lower stream is to end: cleanly where an alert or a close_notify has to get out first.
 */
static void end(struct tls *tls, struct hb_end why, struct hb_end lower_why)
{
	if (tls->state < TLS_CLOSING) {
		tls->state = TLS_CLOSING;
		tls->why = why;
	} else if (tls->why.code == 0) {
		tls->why =
		    why; /* an abort overtakes a clean close, and nothing overtakes an abort */
	}
	hb_loop_timer_stop(tls->loop, &tls->timer);
	hb_loop_undefer(&tls->work);
	hb_pace_leave(&tls->turn);
	hb_bufq_clear(&tls->wire.in);
	flush(tls);
	hb_stream_close(tls->lower, lower_why);
}

/* After an OpenSSL call has failed for good: says why, once, and lets the alert out. */
static void fail(struct tls *tls)
{
	struct hb_end why = hb_tls_peer_why(&tls->peer);

	if (tls->wire.no_memory)
		why = hb_end(HB_LAYER_TLS, HB_SIDE_US, -ENOMEM);
	end(tls, why, HB_END_CLEAN);
}

static void cut(struct tls *tls)
{
	struct hb_end why = hb_end(HB_LAYER_TLS, HB_SIDE_PEER, HB_E_TRUNCATED);

	end(tls, why, why);
}

/*
 * One record, sealed over its own slot where there is room; else copied, and the buf freed. A key
 * update that is due would come out first and lay itself over a plaintext not yet sealed: then it
 * is copied, too.
 */
static bool seal(struct tls *tls, struct hb_buf *buf)
{
	bool in_place =
	    hb_tls_wire_has_room(buf) && SSL_get_key_update_type(tls->ssl) == SSL_KEY_UPDATE_NONE;
	size_t written;
	bool ok;

	ERR_clear_error();
	tls->wire.target = in_place ? buf : NULL;
	ok = SSL_write_ex(tls->ssl, buf->data, buf->len, &written);
	if (!in_place || tls->wire.target)
		hb_buf_free(buf);
	tls->wire.target = NULL;
	if (ok && ++tls->records >= tls->key_records && SSL_version(tls->ssl) >= TLS1_3_VERSION) {
		/* RFC 8446 5.5. Goes out in front of the next record. TLS 1.2 has no such thing. */
		tls->records = 0;
		ok = SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
	}
	return ok;
}

static void tls_write(struct hb_stream *stream, struct hb_buf *chain)
{
	struct tls *tls = tls_of(stream);
	bool ok = true;

	assert(tls->state != TLS_OPENING);
	if (tls->state != TLS_OPEN || tls->finished) {
		hb_buf_free_all(chain);
		return;
	}
	while (chain && ok) {
		struct hb_buf *buf = chain;

		chain = buf->next;
		buf->next = NULL;
		if (buf->len > 0)
			ok = seal(tls, buf);
		else
			hb_buf_free(buf);
	}
	hb_buf_free_all(chain);
	if (!ok)
		fail(tls);
	else
		flush(tls);
}

/* The lower stream stays open: the peer may have more to say. */
static void say_finish(struct tls *tls)
{
	if (tls->state != TLS_OPEN || tls->finished)
		return;
	tls->finished = true;
	ERR_clear_error();
	if (SSL_shutdown(tls->ssl) < 0)
		fail(tls);
	else
		flush(tls);
}

/* ---- up ---- */

/* The name of the key exchange is OpenSSL's own, so a new one needs no word from us. */
static void describe(struct tls *tls)
{
	const char *group = SSL_group_to_name(tls->ssl, (int)SSL_get_negotiated_group(tls->ssl));

	snprintf(tls->describe, sizeof(tls->describe), "%s %s %s", SSL_get_version(tls->ssl),
	         SSL_get_cipher_name(tls->ssl), group ? group : "?");
}

static void shake(struct tls *tls)
{
	int ret;

	if (hb_tls_wire_refuse_foreign(&tls->wire)) {
		end(tls, hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_NOT_TLS), HB_END_CLEAN);
		return;
	}
	ERR_clear_error();
	ret = SSL_do_handshake(tls->ssl);
	if (ret == 1) {
		hb_loop_timer_stop(tls->loop, &tls->timer);
		describe(tls);
		tls->state = TLS_OPEN;
		flush(tls);
		if (tls->stream.events->on_open)
			tls->stream.events->on_open(&tls->stream);
	} else if (SSL_get_error(tls->ssl, ret) != SSL_ERROR_WANT_READ) {
		fail(tls);
	} else if (tls->lower_finished) {
		cut(tls);
	} else {
		flush(tls);
	}
}

/* Bytes of plaintext that the next SSL_read can give; 0: no record is there as a whole. */
static size_t readable(struct tls *tls)
{
	size_t pending = (size_t)SSL_pending(tls->ssl);

	return pending ? pending : hb_tls_wire_next(&tls->wire);
}

enum opened { ALL_OPENED, MORE_TO_OPEN, STARVED, BROKEN };

/* Opens what has come into as few slots as it needs. */
static enum opened open_records(struct tls *tls, struct hb_bufq *out)
{
	enum opened result = MORE_TO_OPEN;
	struct hb_buf *buf = NULL;
	size_t need, n;

	while (result == MORE_TO_OPEN && out->bytes < TURN_BYTES && !tls->peer_finished) {
		need = readable(tls);
		if (need == 0) {
			result = ALL_OPENED;
			break;
		}
		if (buf && buf->len > 0 && HB_BUF_PAYLOAD - buf->len < need) {
			hb_bufq_push(out, buf);
			buf = NULL;
		}
		if (!buf && !(buf = hb_buf_new(hb_loop_pool(tls->loop)))) {
			result = STARVED;
			break;
		}
		ERR_clear_error();
		int ret =
		    SSL_read_ex(tls->ssl, buf->data + buf->len, HB_BUF_PAYLOAD - buf->len, &n);
		if (ret == 1) {
			buf->len += (uint32_t)n;
			continue;
		}
		switch (SSL_get_error(tls->ssl, ret)) {
		case SSL_ERROR_WANT_READ: /* it was a message to TLS itself */
			break;
		case SSL_ERROR_ZERO_RETURN:
			tls->peer_finished = true;
			break;
		default:
			result = BROKEN;
		}
	}
	if (buf && buf->len > 0)
		hb_bufq_push(out, buf);
	else
		hb_buf_free(buf);
	return tls->peer_finished ? ALL_OPENED : result;
}

static bool may_tell(const struct tls *tls)
{
	return tls->state == TLS_OPEN && !tls->paused;
}

/* Everything that the peer has said and that the owner wants to hear now, in its order. */
static void receive(struct tls *tls)
{
	struct hb_bufq got = { 0 };
	enum opened result = open_records(tls, &got);
	size_t bytes = got.bytes;

	if (result != BROKEN)
		flush(tls); /* answers to key updates */
	if (bytes > 0) {
		tls->stream.bytes_in += bytes;
		tls->stream.events->on_data(&tls->stream, hb_bufq_take(&got));
	}
	if (tls->state != TLS_OPEN)
		return;

	if (tls->peer_finished) {
		hb_bufq_clear(&tls->wire.in); /* nothing counts after close_notify */
		if (!tls->told_finish && may_tell(tls)) {
			tls->told_finish = true;
			tls->stream.events->on_finish(&tls->stream);
		}
	} else if (result == BROKEN) {
		fail(tls);
	} else if (result == ALL_OPENED && tls->lower_finished) {
		cut(tls);
	} else if (result == ALL_OPENED) {
		/* A record that dribbles in must not hold a slot per byte. */
		if (tls->wire.in.bufs > LOOSE_BUFS)
			hb_bufq_compact(&tls->wire.in);
	} else if (may_tell(tls)) {
		hb_loop_timer_start(tls->loop, &tls->timer, result == STARVED ? STARVED_MS : 0);
	}
}

static void step(struct tls *tls)
{
	if (tls->state == TLS_OPENING)
		shake(tls);
	if (may_tell(tls))
		receive(tls);
	steer_reading(tls);
}

static void on_turn(struct hb_pace_item *item)
{
	step(hb_container_of(item, struct tls, turn));
}

static void look(struct tls *tls)
{
	if (tls->state != TLS_OPENING || !tls->pace) {
		step(tls);
		return;
	}
	if (tls->peer.role == HB_TLS_CLIENT || tls->wire.in.bytes > 0 || tls->lower_finished)
		hb_pace_ask(tls->pace, &tls->turn, tls->pace_group);
	steer_reading(tls);
}

static void on_work(struct hb_task *task)
{
	look(hb_container_of(task, struct tls, work));
}

static void on_time(struct hb_timer *timer)
{
	struct tls *tls = hb_container_of(timer, struct tls, timer);
	struct hb_end late = hb_end(HB_LAYER_TLS, HB_SIDE_US, HB_E_HANDSHAKE_TIME);

	if (tls->state == TLS_OPENING)
		end(tls, late, late);
	else
		look(tls);
}

/* ---- told by the lower stream ---- */

/* A timer that runs while we are OPEN is our promise to let others go first. */
static void wake(struct tls *tls)
{
	if (tls->state == TLS_OPENING || !hb_timer_is_running(&tls->timer))
		look(tls);
	else
		steer_reading(tls);
}

static void on_lower_data(struct hb_stream *lower, struct hb_buf *chain)
{
	struct tls *tls = lower->owner;

	if (tls->state >= TLS_CLOSING || tls->peer_finished) {
		hb_buf_free_all(chain);
		return;
	}
	hb_bufq_push(&tls->wire.in, chain);
	wake(tls);
}

static void on_lower_finish(struct hb_stream *lower)
{
	struct tls *tls = lower->owner;

	tls->lower_finished = true;
	wake(tls);
}

static void on_lower_full(struct hb_stream *lower)
{
	struct tls *tls = lower->owner;

	if (tls->state != TLS_OPEN)
		return;
	tls->full = true;
	tls->stream.events->on_full(&tls->stream);
}

static void on_lower_drained(struct hb_stream *lower)
{
	struct tls *tls = lower->owner;

	if (tls->state != TLS_OPEN || !tls->full)
		return;
	tls->full = false;
	tls->stream.events->on_drained(&tls->stream);
}

static void on_lower_closed(struct hb_stream *lower, struct hb_end why)
{
	struct tls *tls = lower->owner;

	if (tls->state == TLS_CLOSING && tls->why.code != 0)
		why = tls->why;
	tls->state = TLS_CLOSED;
	hb_loop_timer_stop(tls->loop, &tls->timer);
	hb_loop_undefer(&tls->work);
	hb_pace_leave(&tls->turn);
	hb_tls_wire_clear(&tls->wire);
	tls->stream.events->on_closed(&tls->stream, why); /* last: the owner may free us in here */
}

static const struct hb_stream_events lower_events = {
	.on_data = on_lower_data,
	.on_finish = on_lower_finish,
	.on_full = on_lower_full,
	.on_drained = on_lower_drained,
	.on_closed = on_lower_closed,
};

/* ---- asked by the owner ---- */

static void tls_finish(struct hb_stream *stream)
{
	say_finish(tls_of(stream));
}

static void tls_pause(struct hb_stream *stream)
{
	struct tls *tls = tls_of(stream);

	tls->paused = true;
	steer_reading(tls);
}

static void tls_resume(struct hb_stream *stream)
{
	struct tls *tls = tls_of(stream);

	if (!tls->paused)
		return;
	tls->paused = false;
	if (tls->state == TLS_OPEN)
		hb_loop_defer(tls->loop, &tls->work); /* something may wait already */
	steer_reading(tls);
}

static void tls_close(struct hb_stream *stream, struct hb_end why)
{
	struct tls *tls = tls_of(stream);

	if (why.code == 0)
		say_finish(tls);
	/* The first clean close stands. */
	if (tls->state == TLS_CLOSED || (tls->state == TLS_CLOSING && why.code == 0))
		return;
	end(tls, why, why);
}

static void destroy(struct tls *tls)
{
	SSL_free(tls->ssl);
	hb_tls_wire_clear(&tls->wire);
	hb_tls_ctx_unref(tls->ctx);
	hb_tls_peer_done(&tls->peer);
	free(tls);
}

static void tls_free(struct hb_stream *stream)
{
	struct tls *tls = tls_of(stream);

	assert(tls->state == TLS_CLOSED);
	hb_stream_free(tls->lower);
	destroy(tls);
}

static const struct hb_stream_ops tls_ops = {
	.write = tls_write,
	.finish = tls_finish,
	.pause = tls_pause,
	.resume = tls_resume,
	.close = tls_close,
	.free = tls_free,
};

/* ---- birth ---- */

static bool make_ssl(struct tls *tls)
{
	BIO *bio;

	tls->ssl = SSL_new(tls->ctx->roles[tls->peer.role]);
	bio = hb_tls_wire_bio_new(tls->ctx->wire, &tls->wire);
	if (!tls->ssl || !bio) {
		BIO_free(bio);
		return false;
	}
	SSL_set_bio(tls->ssl, bio, bio);
	if (tls->peer.role == HB_TLS_SERVER)
		SSL_set_accept_state(tls->ssl);
	else
		SSL_set_connect_state(tls->ssl);
	return SSL_set_app_data(tls->ssl, &tls->peer) == 1 &&
	       hb_tls_name_tell(&tls->peer, tls->ssl);
}

static struct tls *create(struct hb_loop *loop, const struct hb_tls_options *options)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->loop = loop;
	tls->ctx = hb_tls_ctx_ref(options->ctx);
	tls->wire.pool = hb_loop_pool(loop);
	tls->key_records = options->key_records ? options->key_records : KEY_RECORDS;
	tls->paused = true;
	tls->pace = options->pace;
	tls->pace_group = options->pace_group;
	hb_pace_item_init(&tls->turn, on_turn);
	hb_task_init(&tls->work, on_work);
	hb_timer_init(&tls->timer, on_time);
	if (!hb_tls_peer_init(&tls->peer, options) || !make_ssl(tls)) {
		destroy(tls);
		return NULL;
	}
	return tls;
}

struct hb_stream *hb_tls_new(struct hb_loop *loop, struct hb_stream *lower,
                             const struct hb_tls_options *options)
{
	struct tls *tls = create(loop, options);

	if (!tls) {
		lower->events = &hb_stream_orphan_events;
		hb_stream_close(lower, hb_end(HB_LAYER_TLS, HB_SIDE_US, -ENOMEM));
		return NULL;
	}
	tls->stream.ops = &tls_ops;
	tls->lower = lower;
	lower->events = &lower_events;
	lower->owner = tls;
	steer_reading(tls);
	hb_loop_timer_start(loop, &tls->timer,
	                    options->handshake_ms ? options->handshake_ms : HANDSHAKE_MS);
	hb_loop_defer(loop, &tls->work); /* the client's first flight */
	return &tls->stream;
}

const char *hb_tls_peer_identity(const struct hb_stream *stream)
{
	const struct tls *tls = tls_of(stream);

	return tls->state != TLS_OPENING && tls->peer.identity ? tls->peer.identity : "";
}

const char *hb_tls_peer_shown(const struct hb_stream *stream)
{
	const struct tls *tls = tls_of(stream);

	return tls->peer.shown ? tls->peer.shown : "";
}

int hb_tls_recheck(struct hb_stream *stream, struct hb_tls_crls *crls, int64_t now_s)
{
	struct tls *tls = tls_of(stream);

	return hb_tls_peer_recheck(&tls->peer, tls->ssl, crls, now_s);
}

const char *hb_tls_describe(const struct hb_stream *stream)
{
	return tls_of(stream)->describe;
}

/*
 * tls_rig: two TLS ends and a wire that the test plays.
 */
#include "support/tls_rig.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hbone/tcp.h>

struct hb_tls_ctx *rig_ctx_with(const struct testca *ca, const struct testca_leaf *leaf,
                                const char *roots, const struct hb_tls_profile *profile)
{
	struct testca_pem pem = testca_leaf(ca, leaf);
	struct hb_tls_material material = {
		.chain = pem.chain, .key = pem.key, .roots = roots, .profile = profile
	};
	struct hb_tls_ctx *ctx = NULL;
	const char *why = NULL;
	int err = hb_tls_ctx_new(&material, &ctx, &why);

	testca_pem_done(&pem);
	ck_assert_msg(err == 0, "no context: %s", why);
	return ctx;
}

struct hb_tls_ctx *rig_ctx(const struct testca *ca, const struct testca_leaf *leaf,
                           const char *roots)
{
	return rig_ctx_with(ca, leaf, roots, NULL);
}

const char *rig_group(void)
{
	const char *why;

	return hb_tls_profile_check(&(struct hb_tls_profile){ .pqc = true }, &why) == 0
	           ? "X25519MLKEM768"
	           : "x25519";
}

void rig_up(struct tls_rig *rig, struct hb_loop *loop)
{
	memset(rig, 0, sizeof(*rig));
	rig->loop = loop;
	rig->piece = RIG_PIECE;
	for (int i = 0; i < 2; i++) {
		rig->cut_after[i] = SIZE_MAX;
		rig->wire[i] = -1;
	}
}

void rig_end(struct tls_rig *rig, const struct hb_tls_options *options)
{
	struct hb_tcp_options tcp = { .read_max = HB_BUF_PAYLOAD, .linger_ms = 200 };
	enum hb_tls_role role = options->role;
	struct hb_stream *tls;
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	                 0);
	rig->wire[role] = fds[1];
	rig->tcps[role] = hb_tcp_new(rig->loop, fds[0], &tcp);
	ck_assert_ptr_nonnull(rig->tcps[role]);
	tls = hb_tls_new(rig->loop, rig->tcps[role], options);
	ck_assert_ptr_nonnull(tls);
	probe_init(&rig->ends[role], tls);
	hb_stream_resume(tls);
}

static void cut(struct tls_rig *rig)
{
	rig->is_cut = true;
	for (int i = 0; i < 2; i++)
		(void)shutdown(rig->wire[i], SHUT_WR); /* fails where the end is gone already */
}

/* What comes from end @from goes to the other; nowhere once the wire is cut. */
static void pass(struct tls_rig *rig, int from)
{
	struct tls_rig_held *held = &rig->held[from];
	int out = rig->wire[!from];
	ssize_t n;

	if (held->at == held->len) {
		size_t left = rig->is_cut ? SIZE_MAX : rig->cut_after[from] - rig->passed[from];

		n = read(rig->wire[from], held->bytes, hb_min_size(rig->piece, left));
		if (n == 0)
			(void)shutdown(out, SHUT_WR); /* again does no harm */
		held->at = 0;
		held->len = n > 0 ? (size_t)n : 0;
	}
	if (rig->is_cut) {
		rig->lost[from] += held->len - held->at;
		held->at = held->len;
		return;
	}
	n = send(out, held->bytes + held->at, held->len - held->at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0) {
		held->at += (size_t)n;
		rig->passed[from] += (size_t)n;
	}
	if (rig->passed[from] >= rig->cut_after[from])
		cut(rig);
}

void rig_turn(struct tls_rig *rig, uint64_t wait_ms)
{
	ck_assert_int_ge(hb_loop_turn(rig->loop, wait_ms), 0);
	for (int from = 0; from < 2 && rig->wire[0] >= 0 && rig->wire[1] >= 0; from++)
		pass(rig, from);
}

bool rig_until(struct tls_rig *rig, const unsigned *what, unsigned want, unsigned turns)
{
	for (unsigned i = 0; i < turns && *what < want; i++)
		rig_turn(rig, i % 8 == 7);
	return *what >= want;
}

bool rig_until_size(struct tls_rig *rig, const size_t *what, size_t want, unsigned turns)
{
	for (unsigned i = 0; i < turns && *what < want; i++)
		rig_turn(rig, i % 8 == 7);
	return *what >= want;
}

void rig_down(struct tls_rig *rig)
{
	for (int i = 0; i < 2; i++) {
		if (rig->ends[i].stream)
			hb_stream_close(rig->ends[i].stream,
			                hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_CANCELLED));
	}
	for (int i = 0; i < 2; i++) {
		struct probe *end = &rig->ends[i];

		ck_assert(!end->stream || rig_until(rig, &end->closes, 1, 2000));
		ck_assert_msg(!end->broken, "end %d: %s", i, end->broken);
		probe_done(end);
	}
	for (int i = 0; i < 2; i++)
		if (rig->wire[i] >= 0)
			close(rig->wire[i]);
}

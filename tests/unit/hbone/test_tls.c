/*
 * tls: who is let in and who is not, what each side is told, and how connections end.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define CLIENT "spiffe://td/ns/a/sa/client"
#define SERVER "spiffe://td/ns/a/sa/server"
#define OTHER  "spiffe://td/ns/a/sa/other"
#define FAR    "spiffe://far/ns/a/sa/far"

#define OPEN 1 /* no code is positive */

enum alert {
	BAD_CERTIFICATE = 42,
	UNSUPPORTED_CERTIFICATE = 43,
	CERTIFICATE_EXPIRED = 45,
	UNKNOWN_CA = 48,
};

/* X509_V_ERR_* of openssl/x509_vfy.h. */
#define NOT_YET_VALID  9
#define EXPIRED        10
#define UNKNOWN_ISSUER 20
#define WRONG_PURPOSE  26

enum issuer { ROOT, MIDDLE, STRANGER };

static struct testca *cas[3];
static struct hb_loop *loop;

static void setup(void)
{
	cas[ROOT] = testca_new("root");
	cas[MIDDLE] = testca_intermediate(cas[ROOT], "middle");
	cas[STRANGER] = testca_new("stranger");
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	for (size_t i = 0; i < HB_ARRAY_LEN(cas); i++)
		testca_free(cas[i]);
}

struct party {
	const char *san;
	enum issuer issuer;
	int not_before_s, not_after_s;
	enum testca_eku eku;
};

#define GOOD_CLIENT                                                                                \
	{                                                                                          \
		.san = "URI:" CLIENT                                                               \
	}
#define GOOD_SERVER                                                                                \
	{                                                                                          \
		.san = "URI:" SERVER                                                               \
	}

/* clang-format off */
static const struct {
	const char *name;
	struct party client, server;
	int client_end, server_end;
	const char *client_seen, *server_seen; /* identities; NULL: not asked */
} rows[] = {
	{ "ok", GOOD_CLIENT, GOOD_SERVER, OPEN, OPEN, CLIENT, SERVER },
	{ "an intermediate on either side", { .san = "URI:" CLIENT, .issuer = MIDDLE }, { .san = "URI:" SERVER, .issuer = MIDDLE }, OPEN, OPEN, CLIENT, SERVER },
	{ "server of another CA", GOOD_CLIENT, { .san = "URI:" SERVER, .issuer = STRANGER },
	  HB_E_CERT(UNKNOWN_ISSUER), HB_E_ALERT(UNKNOWN_CA), NULL, NULL },
	{ "server expired", GOOD_CLIENT, { .san = "URI:" SERVER, .not_before_s = -20, .not_after_s = -10 },
	  HB_E_CERT(EXPIRED), HB_E_ALERT(CERTIFICATE_EXPIRED), NULL, NULL },
	{ "server not yet valid", GOOD_CLIENT, { .san = "URI:" SERVER, .not_before_s = 3600, .not_after_s = 7200 },
	  HB_E_CERT(NOT_YET_VALID), HB_E_ALERT(CERTIFICATE_EXPIRED), NULL, NULL },
	{ "server of another name", GOOD_CLIENT, { .san = "URI:" OTHER },
	  HB_E_PEER_IDENTITY, HB_E_ALERT(BAD_CERTIFICATE), NULL, NULL },
	{ "server whose name goes on", GOOD_CLIENT, { .san = "URI:" SERVER "x" },
	  HB_E_PEER_IDENTITY, HB_E_ALERT(BAD_CERTIFICATE), NULL, NULL },
	{ "server without names", GOOD_CLIENT, { .san = NULL },
	  HB_E_PEER_IDENTITY, HB_E_ALERT(BAD_CERTIFICATE), NULL, NULL },
	{ "server with its name as DNS", GOOD_CLIENT, { .san = "DNS:" SERVER },
	  HB_E_PEER_IDENTITY, HB_E_ALERT(BAD_CERTIFICATE), NULL, NULL },
	{ "server's second name is the one", GOOD_CLIENT, { .san = "DNS:x,URI:https://x,URI:" OTHER ",URI:" SERVER },
	  OPEN, OPEN, CLIENT, OTHER },
	{ "server may only be a client", GOOD_CLIENT, { .san = "URI:" SERVER, .eku = TESTCA_EKU_CLIENT },
	  HB_E_CERT(WRONG_PURPOSE), HB_E_ALERT(UNSUPPORTED_CERTIFICATE), NULL, NULL },
	{ "server for server use", GOOD_CLIENT, { .san = "URI:" SERVER, .eku = TESTCA_EKU_SERVER }, OPEN, OPEN, NULL, NULL },
	{ "no purposes said", { .san = "URI:" CLIENT, .eku = TESTCA_EKU_NONE }, { .san = "URI:" SERVER, .eku = TESTCA_EKU_NONE },
	  OPEN, OPEN, NULL, NULL },
	{ "client of another CA", { .san = "URI:" CLIENT, .issuer = STRANGER }, GOOD_SERVER,
	  HB_E_ALERT(UNKNOWN_CA), HB_E_CERT(UNKNOWN_ISSUER), NULL, NULL },
	{ "client expired", { .san = "URI:" CLIENT, .not_before_s = -20, .not_after_s = -10 }, GOOD_SERVER,
	  HB_E_ALERT(CERTIFICATE_EXPIRED), HB_E_CERT(EXPIRED), NULL, NULL },
	{ "client not yet valid", { .san = "URI:" CLIENT, .not_before_s = 3600, .not_after_s = 7200 }, GOOD_SERVER,
	  HB_E_ALERT(CERTIFICATE_EXPIRED), HB_E_CERT(NOT_YET_VALID), NULL, NULL },
	{ "client of another trust domain", { .san = "URI:" FAR }, GOOD_SERVER,
	  HB_E_ALERT(BAD_CERTIFICATE), HB_E_TRUST_DOMAIN, NULL, NULL },
	{ "client's second name is of the trust domain", { .san = "URI:" FAR ",URI:" CLIENT }, GOOD_SERVER, OPEN, OPEN, FAR, SERVER },
	{ "client without a SPIFFE name", { .san = "DNS:x" }, GOOD_SERVER,
	  HB_E_ALERT(BAD_CERTIFICATE), HB_E_PEER_IDENTITY, NULL, NULL },
	{ "client may only be a server", { .san = "URI:" CLIENT, .eku = TESTCA_EKU_SERVER }, GOOD_SERVER,
	  HB_E_ALERT(UNSUPPORTED_CERTIFICATE), HB_E_CERT(WRONG_PURPOSE), NULL, NULL },
};
/* clang-format on */

static const struct party good_client = GOOD_CLIENT, good_server = GOOD_SERVER;

static struct hb_tls_ctx *ctx_of(const struct party *party)
{
	struct testca_leaf leaf = {
		.san = party->san,
		.not_before_s = party->not_before_s,
		.not_after_s = party->not_after_s,
		.eku = party->eku,
	};

	return rig_ctx(cas[party->issuer], &leaf, testca_pem(cas[ROOT]));
}

static void put_end(struct tls_rig *rig, enum hb_tls_role role, const struct party *party,
                    uint32_t handshake_ms)
{
	static const char *const wanted[] = { "spiffe://td/ns/a/sa/nobody", SERVER };
	struct hb_tls_ctx *ctx = ctx_of(party);
	struct hb_tls_options options = {
		.role = role,
		.ctx = ctx,
		.identities = wanted,
		.identities_count = HB_ARRAY_LEN(wanted),
		.handshake_ms = handshake_ms,
	};

	rig_end(rig, &options);
	hb_tls_ctx_unref(ctx); /* the stream has its own */
}

static void check_end(const char *name, const struct probe *end, int want, const char *seen)
{
	char describe[96];

	if (want == OPEN) {
		ck_assert_msg(end->opens == 1 && end->closes == 0, "%s: ended with %s", name,
		              hb_strerror(end->end.code));
		snprintf(describe, sizeof(describe), "TLSv1.3 TLS_AES_128_GCM_SHA256 %s",
		         rig_group());
		ck_assert_str_eq(hb_tls_describe(end->stream), describe);
		if (seen)
			ck_assert_str_eq(hb_tls_peer_identity(end->stream), seen);
		return;
	}
	ck_assert_msg(end->closes == 1 && end->end.code == want, "%s: got %s", name,
	              hb_strerror(end->end.code));
	ck_assert_int_eq(end->end.layer, HB_LAYER_TLS);
	ck_assert_int_eq(end->end.side,
	                 hb_error_number(want, HB_E_ALERT(0)) >= 0 ? HB_SIDE_PEER : HB_SIDE_US);
}

START_TEST(handshake)
{
	static struct tls_rig rig;
	bool opens = rows[_i].client_end == OPEN;

	rig_up(&rig, loop);
	put_end(&rig, HB_TLS_SERVER, &rows[_i].server, 0);
	put_end(&rig, HB_TLS_CLIENT, &rows[_i].client, 0);
	for (int i = 0; i < 2; i++)
		ck_assert_msg(
		    rig_until(&rig, opens ? &rig.ends[i].opens : &rig.ends[i].closes, 1, 5000),
		    "%s: nothing came of it", rows[_i].name);
	check_end(rows[_i].name, &rig.ends[HB_TLS_CLIENT], rows[_i].client_end,
	          rows[_i].server_seen);
	check_end(rows[_i].name, &rig.ends[HB_TLS_SERVER], rows[_i].server_end,
	          rows[_i].client_seen);
	rig_down(&rig);
}
END_TEST

START_TEST(nobody_is_accepted)
{
	static struct tls_rig rig;
	struct hb_tls_ctx *ctx = ctx_of(&good_client);
	struct hb_tls_options nobody = { .role = HB_TLS_CLIENT, .ctx = ctx };

	rig_up(&rig, loop);
	put_end(&rig, HB_TLS_SERVER, &good_server, 0);
	rig_end(&rig, &nobody);
	hb_tls_ctx_unref(ctx);
	ck_assert(rig_until(&rig, &rig.ends[HB_TLS_CLIENT].closes, 1, 5000));
	check_end("no identities", &rig.ends[HB_TLS_CLIENT], HB_E_PEER_IDENTITY, NULL);
	rig_down(&rig);
}
END_TEST

/* ---- ends ---- */

static void both_open(struct tls_rig *rig)
{
	rig_up(rig, loop);
	put_end(rig, HB_TLS_SERVER, &good_server, 0);
	put_end(rig, HB_TLS_CLIENT, &good_client, 0);
	ck_assert(rig_until(rig, &rig->ends[HB_TLS_SERVER].opens, 1, 5000));
	ck_assert(rig_until(rig, &rig->ends[HB_TLS_CLIENT].opens, 1, 5000));
}

START_TEST(stalled_handshake)
{
	static struct tls_rig rig;
	struct probe *end = &rig.ends[_i];

	rig_up(&rig, loop);
	put_end(&rig, (enum hb_tls_role)_i, _i == HB_TLS_CLIENT ? &good_client : &good_server, 30);
	/* Half a record's header, then nothing. */
	ck_assert_int_eq(write(rig.wire[_i], "\x16\x03\x01", 3), 3);
	ck_assert(turn_until(loop, &end->closes, 1, 100));
	check_end("stalled", end, HB_E_HANDSHAKE_TIME, NULL);
	ck_assert_uint_eq(end->opens, 0);
	rig_down(&rig);
}
END_TEST

/* From the first byte on, and it is told in the one way that a TLS peer would understand. */
static const struct {
	const char *name, *says;
	enum hb_tls_role role;
} foreigners[] = {
	{ "plain HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", HB_TLS_SERVER },
	{ "HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HB_TLS_SERVER },
	{ "a word", "hi\n", HB_TLS_SERVER },
	{ "a byte", "x", HB_TLS_SERVER },
	{ "a server's banner", "220 ready\r\n", HB_TLS_CLIENT },
};

START_TEST(no_tls_at_all)
{
	static struct tls_rig rig;
	enum hb_tls_role role = foreigners[_i].role;
	struct probe *end = &rig.ends[role];
	ssize_t len = (ssize_t)strlen(foreigners[_i].says), got;
	char answer[4096];

	rig_up(&rig, loop);
	put_end(&rig, role, role == HB_TLS_SERVER ? &good_server : &good_client, 0);
	ck_assert_int_eq(write(rig.wire[role], foreigners[_i].says, (size_t)len), len);
	ck_assert(turn_until(loop, &end->closes, 1, 100));
	check_end(foreigners[_i].name, end, HB_E_NOT_TLS, NULL);
	got = read(rig.wire[role], answer, sizeof(answer));
	ck_assert_msg(got >= 7 && memcmp(answer + got - 7, "\x15\x03\x03\x00\x02\x02\x32", 7) == 0,
	              "%s: %zd bytes", foreigners[_i].name, got);
	rig_down(&rig);
}
END_TEST

START_TEST(half_close)
{
	static struct tls_rig rig;
	struct probe *client = &rig.ends[HB_TLS_CLIENT], *server = &rig.ends[HB_TLS_SERVER];

	both_open(&rig);
	probe_write(client, loop, "request", 7, 7);
	hb_stream_finish(client->stream);
	ck_assert(rig_until(&rig, &server->finishes, 1, 1000));
	ck_assert_uint_eq(server->len, 7);
	ck_assert_uint_eq(client->finishes, 0);

	/* The other direction goes on for as long as it likes. */
	for (size_t i = 1; i <= 3; i++) {
		probe_write(server, loop, "answer", 6, 6);
		ck_assert(rig_until_size(&rig, &client->len, i * 6, 1000));
	}
	hb_stream_finish(server->stream);
	ck_assert(rig_until(&rig, &client->finishes, 1, 1000));
	hb_stream_close(client->stream, HB_END_CLEAN);
	hb_stream_close(server->stream, HB_END_CLEAN);
	ck_assert(rig_until(&rig, &client->closes, 1, 1000));
	ck_assert(rig_until(&rig, &server->closes, 1, 1000));
	ck_assert_int_eq(client->end.code, 0);
	ck_assert_int_eq(server->end.code, 0);
	rig_down(&rig);
}
END_TEST

START_TEST(close_flushes_and_finishes)
{
	static struct tls_rig rig;
	static const uint8_t data[100000];
	struct probe *client = &rig.ends[HB_TLS_CLIENT], *server = &rig.ends[HB_TLS_SERVER];

	both_open(&rig);
	probe_write(client, loop, data, sizeof(data), HB_BUF_READ_MAX);
	hb_stream_close(client->stream, HB_END_CLEAN);
	hb_stream_close(client->stream, HB_END_CLEAN); /* the first one stands */
	ck_assert(rig_until(&rig, &server->finishes, 1, 1000));
	ck_assert_uint_eq(server->len, sizeof(data));
	hb_stream_close(server->stream, HB_END_CLEAN);
	ck_assert(rig_until(&rig, &client->closes, 1, 1000));
	ck_assert(rig_until(&rig, &server->closes, 1, 1000));
	ck_assert_int_eq(client->end.code, 0);
	ck_assert_int_eq(server->end.code, 0);
	rig_down(&rig);
}
END_TEST

START_TEST(abort_keeps_its_reason)
{
	static struct tls_rig rig;
	struct hb_end why = hb_end(HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN);
	struct probe *client = &rig.ends[HB_TLS_CLIENT], *server = &rig.ends[HB_TLS_SERVER];

	both_open(&rig);
	if (_i)
		hb_stream_close(client->stream, HB_END_CLEAN);
	hb_stream_close(client->stream, why);
	hb_stream_close(client->stream, HB_END_CLEAN);
	ck_assert(rig_until(&rig, &client->closes, 1, 1000));
	ck_assert_int_eq(client->end.layer, HB_LAYER_AGENT);
	ck_assert_int_eq(client->end.code, HB_E_DRAIN);
	/* The goodbye of the clean close was dropped with the rest of the backlog. */
	ck_assert(rig_until(&rig, &server->closes, 1, 1000));
	ck_assert_int_ne(server->end.code, 0);
	rig_down(&rig);
}
END_TEST

START_TEST(cut_is_not_finish)
{
	static struct tls_rig rig;
	struct probe *server = &rig.ends[HB_TLS_SERVER];

	both_open(&rig);
	probe_write(&rig.ends[HB_TLS_CLIENT], loop, "request", 7, 7);
	ck_assert(rig_until_size(&rig, &server->len, 7, 1000));
	rig.cut_after[HB_TLS_CLIENT] = rig.passed[HB_TLS_CLIENT];
	ck_assert(rig_until(&rig, &server->closes, 1, 1000));
	ck_assert_uint_eq(server->finishes, 0);
	ck_assert_int_eq(server->end.code, HB_E_TRUNCATED);
	ck_assert_int_eq(server->end.side, HB_SIDE_PEER);
	rig_down(&rig);
}
END_TEST

/* A paused stream says nothing; what came meanwhile is there afterwards, in order. */
START_TEST(paused)
{
	static struct tls_rig rig;
	struct probe *client = &rig.ends[HB_TLS_CLIENT], *server = &rig.ends[HB_TLS_SERVER];

	both_open(&rig);
	hb_stream_pause(server->stream);
	probe_write(client, loop, "request", 7, 7);
	hb_stream_finish(client->stream);
	for (int i = 0; i < 50; i++)
		rig_turn(&rig, 0);
	ck_assert_uint_eq(server->len + server->finishes, 0);
	hb_stream_resume(server->stream);
	ck_assert_uint_eq(server->len + server->finishes, 0); /* not inside the operation */
	ck_assert(rig_until(&rig, &server->finishes, 1, 1000));
	ck_assert_uint_eq(server->len, 7);
	rig_down(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, handshake, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, nobody_is_accepted);
	tcase_add_loop_test(tc, stalled_handshake, 0, 2);
	tcase_add_loop_test(tc, no_tls_at_all, 0, HB_ARRAY_LEN(foreigners));
	tcase_add_test(tc, half_close);
	tcase_add_test(tc, close_flushes_and_finishes);
	tcase_add_loop_test(tc, abort_keeps_its_reason, 0, 2);
	tcase_add_test(tc, cut_is_not_finish);
	tcase_add_test(tc, paused);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

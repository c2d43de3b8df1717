/*
 * tls: what a profile adds and takes away: TLS 1.2, post-quantum key exchange, trust domains.
 * Against OpenSSL peers that speak one thing only, and against each other.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define CLIENT "spiffe://td/ns/a/sa/client"
#define SERVER "spiffe://td/ns/a/sa/server"
#define FAR    "spiffe://far/ns/a/sa/client"

static const char *const anybody[] = { CLIENT, SERVER, FAR };

static struct testca *ca;
static struct hb_loop *loop;
static struct tls_rig rig;

static void setup(void)
{
	ca = testca_new("root");
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	rig_up(&rig, loop);
}

static void teardown(void)
{
	rig_down(&rig);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	testca_free(ca);
}

static bool has_pqc(void)
{
	return strcmp(rig_group(), "x25519") != 0;
}

static void put(enum hb_tls_role role, const char *san, const struct hb_tls_profile *profile)
{
	struct hb_tls_ctx *ctx =
	    rig_ctx_with(ca, &(struct testca_leaf){ .san = san }, testca_pem(ca), profile);
	struct hb_tls_options options = {
		.role = role,
		.ctx = ctx,
		.identities = anybody,
		.identities_count = HB_ARRAY_LEN(anybody),
		.key_records = 2,
	};

	rig_end(&rig, &options);
	hb_tls_ctx_unref(ctx);
}

/* Until each end has opened or ended. */
static void go_on(void)
{
	for (int i = 0; i < 5000; i++) {
		rig_turn(&rig, i % 8 == 7);
		if (rig.ends[0].opens + rig.ends[0].closes &&
		    rig.ends[1].opens + rig.ends[1].closes)
			return;
	}
	ck_abort_msg("the handshake goes on for ever");
}

/* ---- two of ours ---- */

/* clang-format off */
static const struct {
	const char *name;
	struct hb_tls_profile client, server;
	const char *client_san;
	const char *describe; /* NULL: "TLSv1.3 TLS_AES_128_GCM_SHA256" and rig_group() */
	int server_end;       /* 0: it opens */
	bool is_pqc;
} pairs[] = {
	{ "standard", { 0 }, { 0 }, CLIENT, NULL, 0, false },
	{ "1.2 is offered by both, 1.3 is agreed", { .tls12 = true }, { .tls12 = true }, CLIENT, NULL, 0, false },
	{ "1.2 is offered by one", { .tls12 = true }, { 0 }, CLIENT, NULL, 0, false },
	{ "another trust domain", { 0 }, { 0 }, FAR, NULL, HB_E_TRUST_DOMAIN, false },
	{ "an alias", { 0 }, { .trust_domains = "far" }, FAR, NULL, 0, false },
	{ "the last of three aliases", { 0 }, { .trust_domains = "a,fa,far" }, FAR, NULL, 0, false },
	{ "the first of two aliases", { 0 }, { .trust_domains = "far,farther" }, FAR, NULL, 0, false },
	{ "the own trust domain beside an alias", { 0 }, { .trust_domains = "far" }, CLIENT, NULL, 0, false },
	{ "aliases that begin alike", { 0 }, { .trust_domains = "fa,farther,,xfar" }, FAR, NULL, HB_E_TRUST_DOMAIN, false },
	{ "no alias", { 0 }, { .trust_domains = "" }, FAR, NULL, HB_E_TRUST_DOMAIN, false },
	{ "an empty alias lets in no empty trust domain", { 0 }, { .trust_domains = ",," }, "spiffe:///ns/a/sa/client",
	  NULL, HB_E_TRUST_DOMAIN, false },
	{ "post-quantum both", { .pqc = true }, { .pqc = true }, CLIENT, NULL, 0, true },
	{ "post-quantum client", { .pqc = true }, { 0 }, CLIENT, NULL, 0, true },
	{ "post-quantum server", { 0 }, { .pqc = true }, CLIENT, NULL, 0, true },
	{ "post-quantum and 1.2 is 1.3", { .pqc = true, .tls12 = true }, { .pqc = true, .tls12 = true }, CLIENT, NULL, 0, true },
};
/* clang-format on */

START_TEST(ours)
{
	struct probe *client = &rig.ends[HB_TLS_CLIENT], *server = &rig.ends[HB_TLS_SERVER];
	char describe[96], san[96];

	if (pairs[_i].is_pqc && !has_pqc())
		return; /* said by without_the_library */
	snprintf(san, sizeof(san), "URI:%s", pairs[_i].client_san);
	put(HB_TLS_SERVER, "URI:" SERVER, &pairs[_i].server);
	put(HB_TLS_CLIENT, san, &pairs[_i].client);
	go_on();
	if (pairs[_i].server_end) {
		ck_assert_msg(server->opens == 0 && server->end.code == pairs[_i].server_end,
		              "%s: %s", pairs[_i].name, hb_strerror(server->end.code));
		return;
	}
	ck_assert_msg(server->opens == 1, "%s: %s", pairs[_i].name, hb_strerror(server->end.code));
	ck_assert_str_eq(hb_tls_peer_identity(server->stream), pairs[_i].client_san);
	snprintf(describe, sizeof(describe), "TLSv1.3 TLS_AES_128_GCM_SHA256 %s", rig_group());
	ck_assert_str_eq(hb_tls_describe(server->stream), describe);
	ck_assert_str_eq(hb_tls_describe(client->stream), describe);
}
END_TEST

/* A library that has no such key exchange makes no context, and says why in one sentence. */
START_TEST(without_the_library)
{
	struct testca_pem pem = testca_leaf(ca, &(struct testca_leaf){ .san = "URI:" CLIENT });
	struct hb_tls_profile pqc = { .pqc = true }, standard = { 0 };
	struct hb_tls_material material = {
		.chain = pem.chain, .key = pem.key, .roots = testca_pem(ca), .profile = &pqc
	};
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";
	int err = hb_tls_ctx_new(&material, &ctx, &why);

	testca_pem_done(&pem);
	ck_assert_int_eq(hb_tls_profile_check(&standard, &why), 0);
	/* What this library can do is asked of OpenSSL itself. */
	ck_assert_int_eq(has_pqc(), OPENSSL_VERSION_NUMBER >= 0x30500000L);
	if (has_pqc()) {
		ck_assert_int_eq(err, 0);
		hb_tls_ctx_unref(ctx);
		return;
	}
	ck_assert_int_eq(err, -ENOTSUP);
	ck_assert_ptr_null(ctx);
	ck_assert_int_eq(hb_tls_profile_check(&pqc, &why), -ENOTSUP);
	ck_assert_ptr_nonnull(
	    strstr(why, " has no key exchange X25519MLKEM768, which takes OpenSSL 3.5"));
	ck_assert_ptr_eq(strstr(why, "OpenSSL 3."), why);
}
END_TEST

/* ---- others ---- */

/* clang-format off */
static const struct {
	const char *name;
	struct hb_tls_profile ours;
	int oldest, newest;  /* versions of the peer; 0: its own default */
	const char *suites;  /* of TLS 1.2 */
	const char *groups;
	const char *describe; /* NULL: there is no connection */
	bool is_pqc;
} peers[] = {
	{ "1.2 alone", { .tls12 = true }, 0, TLS1_2_VERSION, NULL, NULL, "TLSv1.2 ECDHE-ECDSA-AES", false },
	{ "1.2, without the option", { 0 }, 0, TLS1_2_VERSION, NULL, NULL, NULL, false },
	{ "1.2 with AES-256", { .tls12 = true }, 0, TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", NULL,
	  "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384", false },
	{ "1.2 with ChaCha20", { .tls12 = true }, 0, TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", NULL, NULL, false },
	{ "1.2 with CBC", { .tls12 = true }, 0, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL, NULL, false },
	{ "1.1", { .tls12 = true }, TLS1_1_VERSION, TLS1_1_VERSION, "DEFAULT@SECLEVEL=0", NULL, NULL, false },
	{ "1.3 of those that could do 1.2", { .tls12 = true }, 0, 0, NULL, NULL, "TLSv1.3 ", false },
	{ "P-256 alone", { 0 }, 0, 0, NULL, "P-256", "secp256r1", false },
	{ "P-384 alone", { 0 }, 0, 0, NULL, "P-384", "secp384r1", false },
	{ "P-521 alone", { 0 }, 0, 0, NULL, "P-521", NULL, false },
	{ "X25519 alone", { 0 }, 0, 0, NULL, "X25519", "x25519", false },
	{ "post-quantum asked, X25519 alone", { .pqc = true }, 0, 0, NULL, "X25519", NULL, true },
	{ "post-quantum asked, 1.2 alone", { .pqc = true, .tls12 = true }, 0, TLS1_2_VERSION, NULL, NULL, NULL, true },
	{ "post-quantum asked and had", { .pqc = true }, 0, 0, NULL, "X25519MLKEM768", "X25519MLKEM768", true },
	{ "post-quantum alone", { 0 }, 0, 0, NULL, "X25519MLKEM768", "X25519MLKEM768", true },
};
/* clang-format on */

static SSL_CTX *peer_ctx_new(size_t row)
{
	struct testca_pem pem = testca_leaf(ca, &(struct testca_leaf){ .san = "URI:" CLIENT });
	BIO *chain = BIO_new_mem_buf(pem.chain, -1), *text = BIO_new_mem_buf(pem.key, -1);
	X509 *cert = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	ck_assert_int_eq(SSL_CTX_use_certificate(ctx, cert), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
	SSL_CTX_set_min_proto_version(ctx, peers[row].oldest);
	SSL_CTX_set_max_proto_version(ctx, peers[row].newest);
	if (peers[row].suites)
		ck_assert_int_eq(SSL_CTX_set_cipher_list(ctx, peers[row].suites), 1);
	if (peers[row].groups)
		ck_assert_int_eq(SSL_CTX_set1_groups_list(ctx, peers[row].groups), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(chain);
	BIO_free(text);
	testca_pem_done(&pem);
	return ctx;
}

/* The peer echoes what it gets, and so tries the records of this version. */
static void peer_turn(SSL *peer, int turn)
{
	char bytes[4096];
	int n;

	ERR_clear_error();
	n = SSL_read(peer, bytes, sizeof(bytes));
	if (n > 0)
		ck_assert_int_eq(SSL_write(peer, bytes, n), n);
	ERR_clear_error();
	rig_turn(&rig, turn % 8 == 7);
}

START_TEST(others)
{
	size_t row = (size_t)_i / 2;
	enum hb_tls_role role = (enum hb_tls_role)(_i % 2);
	struct probe *end = &rig.ends[role];
	SSL_CTX *ctx;
	SSL *peer;

	if (peers[row].is_pqc && !has_pqc())
		return;
	ctx = peer_ctx_new(row);
	peer = SSL_new(ctx);
	put(role, "URI:" SERVER, &peers[row].ours);
	ck_assert_int_eq(SSL_set_fd(peer, rig.wire[role]), 1);
	if (role == HB_TLS_SERVER)
		SSL_set_connect_state(peer);
	else
		SSL_set_accept_state(peer);
	for (int i = 0; i < 5000 && end->opens + end->closes == 0; i++)
		peer_turn(peer, i);
	if (!peers[row].describe) {
		ck_assert_msg(end->opens == 0 && end->closes == 1, "%s: it was let in as %s",
		              peers[row].name, end->opens ? hb_tls_describe(end->stream) : "?");
	} else {
		ck_assert_msg(end->opens == 1, "%s: %s", peers[row].name,
		              hb_strerror(end->end.code));
		ck_assert_msg(strstr(hb_tls_describe(end->stream), peers[row].describe), "%s: %s",
		              peers[row].name, hb_tls_describe(end->stream));
		ck_assert_int_eq(SSL_session_reused(peer), 0);
		for (size_t len = 100; len <= 1000; len += 100) {
			probe_write(end, loop, "0123456789abcdefghijklmnopqrstuvwxyz", 20, 7);
			probe_write(end, loop,
			            "---------1---------2---------3---------4---------5---------6"
			            "---------7---------8",
			            80, 80);
			for (int i = 0; i < 1000 && end->len < len; i++)
				peer_turn(peer, i);
			ck_assert_msg(end->len == len, "%s: %zu of %zu", peers[row].name, end->len,
			              len);
		}
	}
	SSL_free(peer);
	SSL_CTX_free(ctx);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_profile");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, ours, 0, HB_ARRAY_LEN(pairs));
	tcase_add_test(tc, without_the_library);
	tcase_add_loop_test(tc, others, 0, 2 * HB_ARRAY_LEN(peers));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

/*
 * tls_name: servers that are known by a host name: which certificates have it, what the server is
 * told, and that nothing of the mesh's own rules is asked of them.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define OPEN 1

static struct testca *ca, *other;
static struct hb_loop *loop;
static SSL_CTX *server_ctx;
static SSL *server;
static struct tls_rig rig;

static void setup(void)
{
	ca = testca_new("root");
	other = testca_new("other");
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	server_ctx = SSL_CTX_new(TLS_server_method());
	ck_assert_ptr_nonnull(server_ctx);
}

static void teardown(void)
{
	SSL_free(server);
	SSL_CTX_free(server_ctx);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	testca_free(ca);
	testca_free(other);
}

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *in, unsigned int in_len, void *arg)
{
	*out = (const unsigned char *)"h2";
	*out_len = 2;
	return SSL_TLSEXT_ERR_OK;
}

static void give_certificate(const struct testca_leaf *leaf)
{
	struct testca_pem pem = testca_leaf(ca, leaf);
	BIO *chain = BIO_new_mem_buf(pem.chain, -1), *text = BIO_new_mem_buf(pem.key, -1);
	X509 *cert = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);

	ck_assert_int_eq(SSL_CTX_use_certificate(server_ctx, cert), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(server_ctx, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(chain);
	BIO_free(text);
	testca_pem_done(&pem);
}

/* Until ours has opened or ended. */
static void meet(struct hb_tls_ctx *ctx, const char *host, const char *alt_host)
{
	struct hb_tls_options options = {
		.role = HB_TLS_CLIENT,
		.ctx = ctx,
		.host = host,
		.alt_host = alt_host,
	};
	struct probe *end = &rig.ends[HB_TLS_CLIENT];

	rig_up(&rig, loop);
	rig_end(&rig, &options);
	/* istiod asks for a certificate, and does not need one. */
	SSL_CTX_set_verify(server_ctx, SSL_VERIFY_PEER, NULL);
	server = SSL_new(server_ctx);
	ck_assert_int_eq(SSL_set_fd(server, rig.wire[HB_TLS_CLIENT]), 1);
	SSL_set_accept_state(server);
	for (int i = 0; i < 5000 && end->opens + end->closes == 0; i++) {
		char byte;

		(void)SSL_read(server, &byte, 1);
		ERR_clear_error();
		rig_turn(&rig, i % 8 == 7);
	}
	ck_assert_uint_eq(end->opens + end->closes, 1);
}

#define ISTIOD "istiod.istio-system.svc"

/* clang-format off */
static const struct {
	const char *name;
	const char *san, *host, *alt;
	enum testca_eku eku;
	int want; /* OPEN, or the end's code */
	const char *sni; /* that the server heard; NULL: none */
} rows[] = {
	{ "the name", "DNS:" ISTIOD, ISTIOD, NULL, TESTCA_EKU_BOTH, OPEN, ISTIOD },
	{ "one of several", "DNS:a,DNS:" ISTIOD ",URI:spiffe://td/ns/a/sa/b", ISTIOD, NULL, TESTCA_EKU_SERVER, OPEN, ISTIOD },
	{ "a critical extension", "critical,DNS:" ISTIOD, ISTIOD, NULL, TESTCA_EKU_SERVER, OPEN, ISTIOD },
	{ "in capitals", "DNS:ISTIOD.istio-system.SVC", ISTIOD, NULL, TESTCA_EKU_BOTH, OPEN, ISTIOD },
	{ "another name", "DNS:istiod.other.svc", ISTIOD, NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "a longer name", "DNS:" ISTIOD ".cluster.local", ISTIOD, NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "a shorter name", "DNS:" ISTIOD, ISTIOD ".cluster.local", NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD ".cluster.local" },
	{ "no names", NULL, ISTIOD, NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "an identity of the mesh is no name", "URI:spiffe://td/ns/a/sa/b", ISTIOD, NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "the other name", "DNS:alt.example", ISTIOD, "alt.example", TESTCA_EKU_BOTH, OPEN, ISTIOD },
	{ "neither", "DNS:x.example", ISTIOD, "alt.example", TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "a wildcard", "DNS:*.istio-system.svc", ISTIOD, NULL, TESTCA_EKU_BOTH, OPEN, ISTIOD },
	{ "a wildcard for one label", "DNS:*.svc", ISTIOD, NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "part of a label", "DNS:ist*.istio-system.svc", ISTIOD, NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, ISTIOD },
	{ "an address", "IP:127.0.0.1", "127.0.0.1", NULL, TESTCA_EKU_BOTH, OPEN, NULL },
	{ "an address of IPv6", "IP:fd00::1", "fd00::1", NULL, TESTCA_EKU_BOTH, OPEN, NULL },
	{ "another address", "IP:127.0.0.2", "127.0.0.1", NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, NULL },
	{ "an address as a name", "DNS:127.0.0.1", "127.0.0.1", NULL, TESTCA_EKU_BOTH, HB_E_PEER_IDENTITY, NULL },
	{ "dialled by address, known by name", "DNS:" ISTIOD, "127.0.0.1", ISTIOD, TESTCA_EKU_BOTH, OPEN, NULL },
	{ "for clients alone", "DNS:" ISTIOD, ISTIOD, NULL, TESTCA_EKU_CLIENT, HB_E_CERT(26) /* X509_V_ERR_INVALID_PURPOSE */, ISTIOD },
};
/* clang-format on */

static void check_end(const char *name, int want)
{
	const struct probe *end = &rig.ends[HB_TLS_CLIENT];

	ck_assert_msg((want == OPEN) == (end->opens == 1), "%s: ended with %d, %s", name,
	              end->end.code, hb_strerror(end->end.code));
	if (want != OPEN)
		ck_assert_msg(end->end.code == want, "%s: %d, %s", name, end->end.code,
		              hb_strerror(end->end.code));
}

START_TEST(names)
{
	struct hb_tls_ctx *ctx;
	const char *why, *sni;

	ck_assert_int_eq(hb_tls_ctx_new_client(testca_pem(ca), NULL, &ctx, &why), 0);
	give_certificate(&(struct testca_leaf){ .san = rows[_i].san, .eku = rows[_i].eku });
	SSL_CTX_set_alpn_select_cb(server_ctx, choose_h2, NULL);
	meet(ctx, rows[_i].host, rows[_i].alt);
	check_end(rows[_i].name, rows[_i].want);
	sni = SSL_get_servername(server, TLSEXT_NAMETYPE_host_name);
	ck_assert_pstr_eq(sni, rows[_i].sni);
	ck_assert_ptr_null(SSL_get0_peer_certificate(server));
	rig_down(&rig);
	hb_tls_ctx_unref(ctx);
}
END_TEST

/* What a server has to be beside having the name. */
static const struct {
	const char *name;
	bool has_alpn, wrong_root, tls12_only, tls12_too;
	int want;
} servers[] = {
	{ "another root", true, true, false, false, HB_E_CERT(20) },
	{ "no ALPN", false, false, false, false, HB_E_TLS_NO_ALPN },
	{ "TLS 1.2 alone", true, false, true, false, HB_E_ALERT(70) },
	{ "TLS 1.2 where it is let", true, false, true, true, OPEN },
	{ "no ALPN with TLS 1.2", false, false, true, true, HB_E_TLS_NO_ALPN },
};

START_TEST(servers_of_all_kinds)
{
	struct hb_tls_profile profile = { .tls12 = servers[_i].tls12_too };
	const struct testca *root = servers[_i].wrong_root ? other : ca;
	struct hb_tls_ctx *ctx;
	const char *why;

	ck_assert_int_eq(hb_tls_ctx_new_client(testca_pem(root), &profile, &ctx, &why), 0);
	give_certificate(&(struct testca_leaf){ .san = "DNS:" ISTIOD });
	if (servers[_i].has_alpn)
		SSL_CTX_set_alpn_select_cb(server_ctx, choose_h2, NULL);
	if (servers[_i].tls12_only)
		SSL_CTX_set_max_proto_version(server_ctx, TLS1_2_VERSION);
	meet(ctx, ISTIOD, NULL);
	check_end(servers[_i].name, servers[_i].want);
	rig_down(&rig);
	hb_tls_ctx_unref(ctx);
}
END_TEST

START_TEST(the_machines_roots)
{
	char path[] = "/tmp/test_tls_name.XXXXXX";
	int fd = mkstemp(path);
	struct hb_tls_ctx *ctx;
	const char *why;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(write(fd, testca_pem(ca), strlen(testca_pem(ca))), 0);
	close(fd);
	ck_assert_int_eq(setenv("SSL_CERT_FILE", path, 1), 0);
	ck_assert_int_eq(hb_tls_ctx_new_client(NULL, NULL, &ctx, &why), 0);
	(void)unlink(path);
	ck_assert_str_eq(hb_tls_ctx_identity(ctx), "");
	give_certificate(&(struct testca_leaf){ .san = "DNS:" ISTIOD });
	SSL_CTX_set_alpn_select_cb(server_ctx, choose_h2, NULL);
	meet(ctx, ISTIOD, NULL);
	check_end("the machine's roots", OPEN);
	rig_down(&rig);
	hb_tls_ctx_unref(ctx);
}
END_TEST

START_TEST(no_roots_at_all)
{
	static const char *const texts[] = { "", "nothing", "./var/run/root-cert.pem" };
	struct hb_tls_ctx *ctx;
	const char *why;

	for (size_t i = 0; i < HB_ARRAY_LEN(texts); i++) {
		ck_assert_int_eq(hb_tls_ctx_new_client(texts[i], NULL, &ctx, &why), -EINVAL);
		ck_assert_str_eq(why, "none of the root certificates can be used");
	}
}
END_TEST

START_TEST(pqc)
{
	struct hb_tls_profile profile = { .pqc = true };
	struct hb_tls_ctx *ctx = NULL;
	const char *why = "";
	int can = hb_tls_profile_check(&profile, &why);

	ck_assert_int_eq(hb_tls_ctx_new_client(testca_pem(ca), &profile, &ctx, &why), can);
	ck_assert(can == 0 || (can == -ENOTSUP && strstr(why, "X25519MLKEM768")));
	hb_tls_ctx_unref(ctx);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_name");
	TCase *tc = tcase_create("names");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, names, 0, HB_ARRAY_LEN(rows));
	tcase_add_loop_test(tc, servers_of_all_kinds, 0, HB_ARRAY_LEN(servers));
	tcase_add_test(tc, the_machines_roots);
	tcase_add_test(tc, no_roots_at_all);
	tcase_add_test(tc, pqc);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

/*
 * tls against OpenSSL peers of other minds: old versions, other ALPNs, no certificate; and what our
 * own hello says.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "support/any_loop.h"
#include "support/tls_rig.h"

#define US "spiffe://td/ns/a/sa/us"

static struct testca *ca;
static struct hb_loop *loop;
static SSL_CTX *peer_ctx;
static SSL *peer;
static struct tls_rig rig;
static int heard;

static void setup(void)
{
	ca = testca_new("root");
	loop = test_loop_new(&(struct hb_loop_options){ 0 });
	ck_assert_ptr_nonnull(loop);
	peer_ctx = SSL_CTX_new(TLS_method());
	ck_assert_ptr_nonnull(peer_ctx);
}

static void teardown(void)
{
	SSL_free(peer);
	SSL_CTX_free(peer_ctx);
	ck_assert_uint_eq(hb_buf_pool_slots_out(hb_loop_pool(loop)), 0);
	hb_loop_free(loop);
	testca_free(ca);
}

static void give_certificate(const char *san)
{
	struct testca_pem pem = testca_leaf(ca, &(struct testca_leaf){ .san = san });
	BIO *chain = BIO_new_mem_buf(pem.chain, -1), *text = BIO_new_mem_buf(pem.key, -1);
	X509 *cert = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);

	ck_assert_int_eq(SSL_CTX_use_certificate(peer_ctx, cert), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(peer_ctx, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(chain);
	BIO_free(text);
	testca_pem_done(&pem);
}

/* Our end of the given role on one side of the wire, the raw peer on the other. */
static void meet(enum hb_tls_role role, const char *own_san)
{
	static const char *const wanted[] = { "spiffe://td/ns/a/sa/peer" };
	struct hb_tls_ctx *ctx =
	    rig_ctx(ca, &(struct testca_leaf){ .san = own_san }, testca_pem(ca));
	struct hb_tls_options options = {
		.role = role,
		.ctx = ctx,
		.identities = wanted,
		.identities_count = 1,
	};

	rig_up(&rig, loop);
	rig_end(&rig, &options);
	hb_tls_ctx_unref(ctx);
	peer = SSL_new(peer_ctx);
	ck_assert_int_eq(SSL_set_fd(peer, rig.wire[role]), 1);
	if (role == HB_TLS_SERVER)
		SSL_set_connect_state(peer);
	else
		SSL_set_accept_state(peer);
}

/* The peer reads, which does its handshake first; notes the alert that it hears. */
static void peer_reads(void)
{
	char byte;

	ERR_clear_error();
	if (SSL_read(peer, &byte, 1) <= 0 &&
	    ERR_GET_REASON(ERR_peek_error()) > SSL_AD_REASON_OFFSET)
		heard = ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET;
	ERR_clear_error();
}

/* Both go on until ours has opened or ended. */
static void go_on(enum hb_tls_role role)
{
	struct probe *end = &rig.ends[role];

	for (int i = 0; i < 5000 && end->opens + end->closes == 0; i++) {
		peer_reads();
		rig_turn(&rig, i % 8 == 7);
	}
	ck_assert_uint_eq(end->opens + end->closes, 1);
	peer_reads();
}

#define OPEN 1
#define NONE 0

/* clang-format off */
static const struct {
	const char *name;
	int version; /* the newest the client speaks */
	const char *suites;
	const char *alpn;
	size_t alpn_len;
	bool has_certificate;
	int want;   /* our end; OPEN */
	int alert;  /* that the peer hears */
	const char *describe;
} clients[] = {
	{ "like us", TLS1_3_VERSION, NULL, "\2h2", 3, true, OPEN, NONE, NULL },
	{ "TLS 1.2", TLS1_2_VERSION, NULL, "\2h2", 3, true,
	  HB_E_TLS_VERSION, SSL_AD_PROTOCOL_VERSION, NULL },
	{ "no ALPN", TLS1_3_VERSION, NULL, NULL, 0, true, OPEN, NONE, NULL },
	{ "ALPN without h2", TLS1_3_VERSION, NULL, "\x08http/1.1\2h3", 12, true,
	  HB_E_TLS_NO_ALPN, SSL_AD_NO_APPLICATION_PROTOCOL, NULL },
	{ "h2 is one of several", TLS1_3_VERSION, NULL, "\x08http/1.1\2h2", 12, true, OPEN, NONE, NULL },
	{ "no certificate", TLS1_3_VERSION, NULL, "\2h2", 3, false,
	  HB_E_NO_CERT, SSL_AD_CERTIFICATE_REQUIRED, NULL },
	{ "AES-256 first: the client's order rules", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
	  "\2h2", 3, true, OPEN, NONE, "TLSv1.3 TLS_AES_256_GCM_SHA384" },
	{ "only ChaCha20", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "\2h2", 3, true,
	  HB_E_TLS_SUITE, SSL_AD_HANDSHAKE_FAILURE, NULL },
};
/* clang-format on */

START_TEST(clients_of_all_kinds)
{
	struct probe *end = &rig.ends[HB_TLS_SERVER];
	const char *name = clients[_i].name;

	SSL_CTX_set_max_proto_version(peer_ctx, clients[_i].version);
	if (clients[_i].suites)
		ck_assert_int_eq(SSL_CTX_set_ciphersuites(peer_ctx, clients[_i].suites), 1);
	if (clients[_i].alpn)
		SSL_CTX_set_alpn_protos(peer_ctx, (const unsigned char *)clients[_i].alpn,
		                        (unsigned)clients[_i].alpn_len);
	if (clients[_i].has_certificate)
		give_certificate("URI:spiffe://td/ns/a/sa/peer");
	meet(HB_TLS_SERVER, "URI:" US);
	go_on(HB_TLS_SERVER);

	if (clients[_i].want == OPEN) {
		ck_assert_msg(end->opens == 1, "%s: %s", name, hb_strerror(end->end.code));
		ck_assert_str_eq(hb_tls_peer_identity(end->stream), "spiffe://td/ns/a/sa/peer");
		if (clients[_i].describe)
			ck_assert_ptr_nonnull(
			    strstr(hb_tls_describe(end->stream), clients[_i].describe));
		/* No ticket was sent: nothing is ever resumed. */
		ck_assert_int_eq(SSL_SESSION_has_ticket(SSL_get0_session(peer)), 0);
	} else {
		ck_assert_msg(end->end.code == clients[_i].want, "%s: %s", name,
		              hb_strerror(end->end.code));
		ck_assert_msg(heard == clients[_i].alert, "%s: the peer heard %d", name, heard);
	}
	rig_down(&rig);
}
END_TEST

/* A server whose own leaf names no trust domain asks for none (reference/datapath 1.4). */
START_TEST(server_without_identity)
{
	struct probe *end = &rig.ends[HB_TLS_SERVER];

	give_certificate(_i ? "URI:spiffe://far/ns/a/sa/b" : "DNS:y");
	meet(HB_TLS_SERVER, "DNS:x");
	go_on(HB_TLS_SERVER);
	ck_assert_uint_eq(end->opens, 1);
	ck_assert_str_eq(hb_tls_peer_identity(end->stream), _i ? "spiffe://far/ns/a/sa/b" : "");
	rig_down(&rig);
}
END_TEST

/* What our hello says, as the peer's server sees it. */
static struct {
	char suites[64], groups[64];
	unsigned shares; /* keys that came along */
	bool has_sni, has_alpn, has_ticket;
} hello;

static void hex(char *out, size_t size, const unsigned char *bytes, size_t len)
{
	out[0] = '\0';
	for (size_t i = 0; i + 1 < len; i += 2)
		snprintf(out + strlen(out), size - strlen(out), "%02x%02x ", bytes[i],
		         bytes[i + 1]);
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
	const unsigned char *bytes;
	size_t len = SSL_client_hello_get0_ciphers(ssl, &bytes);

	hex(hello.suites, sizeof(hello.suites), bytes, len);
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_groups, &bytes, &len))
		hex(hello.groups, sizeof(hello.groups), bytes + 2, len - 2);
	/* RFC 8446 4.2.8: a length, then of each a group, a length and the share. */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_key_share, &bytes, &len))
		for (size_t at = 2; at + 4 <= len; at += 4 + (bytes[at + 2] << 8 | bytes[at + 3]))
			hello.shares++;
	hello.has_sni = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &len);
	hello.has_ticket = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &bytes, &len);
	hello.has_alpn =
	    SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
	                              &bytes, &len) &&
	    len == 5 && memcmp(bytes, "\0\3\2h2", 5) == 0;
	return SSL_CLIENT_HELLO_SUCCESS;
}

static bool has_pqc(void)
{
	return strcmp(rig_group(), "x25519") != 0;
}

/* The server asks for no certificate, chooses no ALPN and sends tickets: all of it is borne. */
START_TEST(our_hello)
{
	struct probe *end = &rig.ends[HB_TLS_CLIENT];

	give_certificate("URI:spiffe://td/ns/a/sa/peer");
	SSL_CTX_set_client_hello_cb(peer_ctx, on_hello, NULL);
	meet(HB_TLS_CLIENT, "URI:" US);
	go_on(HB_TLS_CLIENT);
	ck_assert_uint_eq(end->opens, 1);
	/* 00ff is no suite: it says that we know secure renegotiation (RFC 5746 3.3). */
	if (strstr(hello.suites, "00ff "))
		*strstr(hello.suites, "00ff ") = '\0';
	ck_assert_str_eq(hello.suites, "1301 1302 ");
	ck_assert_str_eq(hello.groups, has_pqc() ? "11ec 001d 0017 0018 " : "001d 0017 0018 ");
	ck_assert_uint_eq(hello.shares, has_pqc() ? 2 : 1);
	ck_assert(!hello.has_sni);
	ck_assert(!hello.has_ticket);
	ck_assert(hello.has_alpn);

	ck_assert_int_eq(SSL_write(peer, "after the tickets", 17), 17);
	ck_assert(rig_until_size(&rig, &end->len, 17, 1000));
	rig_down(&rig);
}
END_TEST

/* The wish for new keys is granted, in both directions, with data around it. */
START_TEST(peer_renews_its_keys)
{
	struct probe *end = &rig.ends[HB_TLS_CLIENT];
	char got[16];

	give_certificate("URI:spiffe://td/ns/a/sa/peer");
	meet(HB_TLS_CLIENT, "URI:" US);
	go_on(HB_TLS_CLIENT);
	ck_assert_uint_eq(end->opens, 1);
	for (size_t i = 1; i <= 3; i++) {
		ck_assert_int_eq(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED), 1);
		ck_assert_int_eq(SSL_write(peer, "ping", 4), 4);
		ck_assert(rig_until_size(&rig, &end->len, 4 * i, 1000));
		/* Five bytes make a record of a key update's size: it must not take their place. */
		probe_write(end, loop, "pong!", 5, 5);
		rig_turn(&rig, 0);
		ck_assert_int_eq(SSL_read(peer, got, sizeof(got)), 5);
		ck_assert_mem_eq(got, "pong!", 5);
	}
	ck_assert_mem_eq(end->data, "pingpingping", 12);
	rig_down(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tls_peers");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, clients_of_all_kinds, 0, HB_ARRAY_LEN(clients));
	tcase_add_loop_test(tc, server_without_identity, 0, 2);
	tcase_add_test(tc, our_hello);
	tcase_add_test(tc, peer_renews_its_keys);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

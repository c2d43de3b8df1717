/*
 * ca: one call for each certificate, what is refused of its answer, and nothing secret in any log.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "control/ca.h"
#include "control/ca_codec.h"
#include "control/certmanager.h"
#include "log.h"
#include "support/grpc_played.h"
#include "support/testca.h"

#define ONE   "spiffe://td/ns/a/sa/one"
#define OTHER "spiffe://td/ns/a/sa/other"

static struct grpc_channel channel;
static struct testca *ca;
static struct cert_source *source;
static char why[512];

static struct asked {
	struct cert_request request;
	struct issued *issued;
	char why[512];
	unsigned answers;
} asked;

static void on_issued(struct cert_request *request, struct issued *issued)
{
	asked.answers++;
	asked.issued = issued;
}

static void on_failed(struct cert_request *request, const char *text)
{
	asked.answers++;
	snprintf(asked.why, sizeof(asked.why), "%s", text);
}

static void make_source(bool impersonate)
{
	source = ca_source_new(
	    &(struct ca_options){ .channel = &channel, .impersonate = impersonate, .ttl_s = 3600 });
	ck_assert_ptr_nonnull(source);
}

static void setup(void)
{
	ca = testca_new("root");
	make_source(true);
	asked = (struct asked){
		.request = { .identity = ONE, .on_issued = on_issued, .on_failed = on_failed }
	};
}

static void teardown(void)
{
	if (source)
		source->ops->free(source);
	source = NULL;
	issued_free(asked.issued);
	testca_free(ca);
	grpc_played_done(&channel);
}

static struct grpc_call *ask(void)
{
	ck_assert_msg(source->ops->start(source, &asked.request, why, sizeof(why)) == 0, "%s", why);
	ck_assert_uint_eq(asked.answers, 0);
	return &channel.calls[channel.count - 1];
}

/* The request's CSR, to be freed. */
static char *csr_of(const struct grpc_call *call)
{
	const char *text = (const char *)call->sent, *end = "-----END CERTIFICATE REQUEST-----\n";
	const char *begin = memmem(text, call->sent_size, "-----BEGIN CERTIFICATE REQUEST", 30);

	ck_assert_ptr_nonnull(begin);
	return strndup(begin, (size_t)(strstr(begin, end) - begin) + strlen(end));
}

static size_t add_element(uint8_t *out, const char *text)
{
	size_t len = strlen(text);

	ck_assert_uint_lt(len, 1u << 14);
	out[0] = 0x0a;
	out[1] = (uint8_t)(len & 0x7f) | 0x80;
	out[2] = (uint8_t)(len >> 7);
	memcpy(out + 3, text, len);
	return len + 3;
}

/* As a CA would answer @call, but for another name perhaps; @roots NULL: without that element. */
static void answer(struct grpc_call *call, const char *identity, const char *roots)
{
	static uint8_t bytes[1 << 15];
	char san[80], *csr = csr_of(call), *chain;
	size_t size;

	snprintf(san, sizeof(san), "URI:%s", identity);
	chain = testca_sign(ca, csr, &(struct testca_leaf){ .san = san });
	size = add_element(bytes, chain);
	if (roots)
		size += add_element(bytes + size, roots);
	grpc_played_message(call, bytes, size);
	free(chain);
	free(csr);
}

static void end_well(struct grpc_call *call)
{
	grpc_played_end(call, GRPC_OK, GRPC_END_SERVER, "");
}

START_TEST(a_certificate)
{
	struct grpc_call *call = ask();
	char *csr = csr_of(call);
	uint8_t *want;
	size_t size;

	ck_assert_str_eq(call->path, "/istio.v1.auth.IstioCertificateService/CreateCertificate");
	ck_assert_uint_eq(call->options.deadline_ms, CA_DEADLINE_MS);
	ck_assert_uint_eq(call->options.max_message, CA_RESPONSE_MAX);
	ck_assert(call->messages == 1 && call->finished);
	ck_assert_int_eq(ca_encode_request(csr, 3600, ONE, &want, &size), 0);
	ck_assert(size == call->sent_size && memcmp(want, call->sent, size) == 0);
	free(want);
	free(csr);

	answer(call, ONE, testca_pem(ca));
	ck_assert_uint_eq(asked.answers, 0); /* the status is to come */
	end_well(call);
	ck_assert_uint_eq(asked.answers, 1);
	ck_assert_msg(asked.issued != NULL, "%s", asked.why);
	ck_assert_str_eq(asked.issued->note, "");
}
END_TEST

/* In dedicated mode the token says who it is for, and what comes is what it is for. */
START_TEST(for_itself)
{
	struct grpc_call *call;
	char *csr;
	uint8_t *want;
	size_t size;

	source->ops->free(source);
	make_source(false);
	call = ask();
	csr = csr_of(call);
	ck_assert_int_eq(ca_encode_request(csr, 3600, NULL, &want, &size), 0);
	ck_assert(size == call->sent_size && memcmp(want, call->sent, size) == 0);
	free(want);
	free(csr);
	answer(call, OTHER, testca_pem(ca));
	end_well(call);
	ck_assert_msg(asked.issued != NULL, "%s", asked.why);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	int code;
	enum grpc_kind kind;
	const char *message, *want;
} ends[] = {
	{ "refused", GRPC_UNAUTHENTICATED, GRPC_END_SERVER, "request impersonation authentication failure",
	  "signing gRPC error (Unauthenticated): request impersonation authentication failure" },
	{ "a code of its own", 77, GRPC_END_SERVER, "hm", "signing gRPC error (code 77): hm" },
	{ "without words", GRPC_UNAVAILABLE, GRPC_END_LOST, "", "signing gRPC error (Unavailable): connection lost" },
	{ "too slow", GRPC_DEADLINE_EXCEEDED, GRPC_END_DEADLINE, "no answer in 10000 ms",
	  "signing gRPC error (DeadlineExceeded): no answer in 10000 ms" },
	{ "nothing", GRPC_OK, GRPC_END_SERVER, "", "the CA sent no answer" },
};
/* clang-format on */

START_TEST(failed_calls)
{
	grpc_played_end(ask(), ends[_i].code, ends[_i].kind, ends[_i].message);
	ck_assert_uint_eq(asked.answers, 1);
	ck_assert_ptr_null(asked.issued);
	ck_assert_msg(strcmp(asked.why, ends[_i].want) == 0, "%s: %s", ends[_i].name, asked.why);
}
END_TEST

START_TEST(answers_that_are_refused)
{
	static uint8_t many[2 * (CA_ELEMENTS_MAX + 1)];
	struct grpc_call *call = ask();
	const char *want = "";

	for (size_t i = 0; i < sizeof(many); i += 2)
		many[i] = 0x0a;
	switch (_i) {
	case 0:
		answer(call, OTHER, testca_pem(ca));
		want = "did not find expected SAN: " ONE ", the certificate has " OTHER;
		break;
	case 1:
		answer(call, ONE, NULL);
		want = "no root certificate present: one element came, and two are needed";
		break;
	case 2:
		answer(call, ONE, "nothing");
		want = "none of the root certificates can be used";
		break;
	case 3:
		grpc_played_message(call, "\x0a\x7f", 2);
		want = "the CA's answer cannot be decoded";
		break;
	case 4:
		grpc_played_message(call, "", 0);
		want = "chain returned from CA is empty";
		break;
	case 5:
		answer(call, ONE, testca_pem(ca));
		answer(call, ONE, testca_pem(ca));
		want = "the CA sent more than one answer";
		break;
	case 6:
		grpc_played_message(call, many, sizeof(many));
		want = "the CA's answer has more than 64 elements";
		break;
	}
	end_well(call);
	ck_assert_ptr_null(asked.issued);
	ck_assert_str_eq(asked.why, want);
}
END_TEST

/* The answer to another request: its key is not ours any more. */
START_TEST(another_key)
{
	struct grpc_call *first = ask(), *second;

	source->ops->cancel(source, &asked.request);
	ck_assert(first->cancelled);
	second = ask();
	free(second->sent);
	second->sent = (uint8_t *)strndup((char *)first->sent, first->sent_size);
	second->sent_size = first->sent_size;
	answer(second, ONE, testca_pem(ca));
	end_well(second);
	ck_assert_str_eq(asked.why,
	                 "the certificate is for another key than the one it was asked for");
}
END_TEST

START_TEST(cannot_be_asked)
{
	asked.request.identity = "spiffe://td";
	ck_assert_int_eq(source->ops->start(source, &asked.request, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "failed to create CSR: spiffe://td is not a SPIFFE identity");
	asked.request.identity = ONE;
	channel.no_memory = true;
	ck_assert_int_eq(source->ops->start(source, &asked.request, why, sizeof(why)), -ENOMEM);
	channel.no_memory = false;
	channel.no_room = true;
	ck_assert_int_eq(source->ops->start(source, &asked.request, why, sizeof(why)), -ENOMEM);
	ck_assert_str_eq(why, "no memory for asking the CA");
	ck_assert(channel.calls[0].cancelled);
	ck_assert_uint_eq(asked.answers, 0);
}
END_TEST

/* ---- nothing secret in any log ---- */

static char keys[4][1024];
static unsigned keys_count;

static void on_news(void *owner, const struct certmanager_news *news)
{
	hb_tls_ctx_unref(news->ctx);
}

static void keep_key(const struct certmanager_row *row, void *arg)
{
	if (row->issued && keys_count < HB_ARRAY_LEN(keys))
		snprintf(keys[keys_count++], sizeof(keys[0]), "%s", row->issued->key_pem);
}

/* No line of @secret's base64 is in @text. */
static void check_not_in(const char *text, const char *secret)
{
	char line[128];
	unsigned lines = 0;

	for (const char *at = secret; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		if (*line == '-' || strlen(line) < 16)
			continue;
		lines++;
		ck_assert_msg(!strstr(text, line), "a log has %s", line);
	}
	ck_assert_uint_gt(lines, 0);
}

static void turn(struct hb_loop *loop)
{
	for (int i = 0; i < 10; i++)
		ck_assert_int_ge(hb_loop_turn(loop, 0), 0);
}

/* Issued, refused, failed and renewed, all at the level that says most. */
START_TEST(no_secret_in_logs)
{
	static char text[1 << 20];
	struct hb_loop *loop = hb_loop_new(NULL);
	struct certmanager *manager;
	char path[] = "/tmp/test_ca.XXXXXX", *csrs[3];
	int fd = mkstemp(path);
	ssize_t len;

	fflush(stdout);
	ck_assert_int_ge(dup2(fd, STDOUT_FILENO), 0);
	ck_assert_int_eq(log_init("trace", false, why, sizeof(why)), 0);
	manager = certmanager_new(
	    loop, &(struct certmanager_options){ .source = source, .on_news = on_news });
	source = NULL; /* the manager's */
	ck_assert_int_eq(certmanager_hold(manager, ONE, CERT_WARMUP), 0);
	ck_assert_int_eq(certmanager_hold(manager, OTHER, CERT_WARMUP), 0);
	ck_assert_int_eq(certmanager_hold(manager, "spiffe://td/ns/a/sa/c", CERT_WARMUP), 0);
	turn(loop);
	for (int i = 0; i < 3; i++)
		csrs[i] = csr_of(&channel.calls[i]);
	answer(&channel.calls[0], ONE, testca_pem(ca));
	end_well(&channel.calls[0]);
	answer(&channel.calls[1], ONE, testca_pem(ca)); /* for another */
	end_well(&channel.calls[1]);
	grpc_played_end(&channel.calls[2], GRPC_UNAUTHENTICATED, GRPC_END_SERVER, "no");
	certmanager_each(manager, keep_key, NULL);
	turn(loop);
	certmanager_free(manager);
	log_done();

	len = pread(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(len, 0);
	text[len] = '\0';
	ck_assert_ptr_nonnull(strstr(text, "certificate issued"));
	ck_assert_ptr_nonnull(strstr(text, "did not find expected SAN"));
	ck_assert_ptr_null(strstr(text, "-----BEGIN"));
	ck_assert_uint_eq(keys_count, 1);
	check_not_in(text, keys[0]);
	for (int i = 0; i < 3; i++) {
		check_not_in(text, csrs[i]);
		free(csrs[i]);
	}
	unlink(path);
	close(fd);
	hb_loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ca");
	TCase *tc = tcase_create("calls");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_certificate);
	tcase_add_test(tc, for_itself);
	tcase_add_loop_test(tc, failed_calls, 0, HB_ARRAY_LEN(ends));
	tcase_add_loop_test(tc, answers_that_are_refused, 0, 7);
	tcase_add_test(tc, another_key);
	tcase_add_test(tc, cannot_be_asked);
	tcase_add_test(tc, no_secret_in_logs);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

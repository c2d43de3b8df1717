/*
 * outbound_failover: which ends are worth another endpoint.
 */
#include "proxy/outbound_failover.h"

#include <check.h>
#include <errno.h>

/* clang-format off */
static const struct {
	const char *name;
	enum hb_layer layer;
	int code;
	bool want;
} rows[] = {
	{ "refused", HB_LAYER_TCP, -ECONNREFUSED, true },
	{ "silence", HB_LAYER_TCP, -ETIMEDOUT, true },
	{ "no way there", HB_LAYER_TCP, -EHOSTUNREACH, true },
	{ "reset while it was dialled", HB_LAYER_TCP, -ECONNRESET, true },
	{ "we have no port left", HB_LAYER_TCP, -EADDRNOTAVAIL, false },
	{ "we have no descriptor left", HB_LAYER_TCP, -EMFILE, false },
	{ "no memory", HB_LAYER_TLS, -ENOMEM, false },
	{ "another's certificate", HB_LAYER_TLS, HB_E_PEER_IDENTITY, true },
	{ "a certificate that is not good", HB_LAYER_TLS, HB_E_CERT(10), true },
	{ "silence in the handshake", HB_LAYER_TLS, HB_E_HANDSHAKE_TIME, true },
	{ "no HTTP/2 there", HB_LAYER_TLS, HB_E_TLS_NO_ALPN, true },
	{ "it breaks HTTP/2", HB_LAYER_H2, HB_E_H2, true },
	{ "it is going away", HB_LAYER_TUNNEL, HB_E_GOAWAY, true },
	{ "refused stream", HB_LAYER_TUNNEL, HB_E_REFUSED, true },
	{ "stream reset", HB_LAYER_TUNNEL, HB_E_RST(2), true },
	{ "no answer to the CONNECT", HB_LAYER_TUNNEL, HB_E_CONNECT_TIME, true },
	{ "204", HB_LAYER_TUNNEL, HB_E_STATUS(204), false },
	{ "400", HB_LAYER_TUNNEL, HB_E_STATUS(400), false },
	{ "401, denied by policy", HB_LAYER_TUNNEL, HB_E_STATUS(401), false },
	{ "403, denied by a waypoint", HB_LAYER_TUNNEL, HB_E_STATUS(403), false },
	{ "500", HB_LAYER_TUNNEL, HB_E_STATUS(500), false },
	{ "502", HB_LAYER_TUNNEL, HB_E_STATUS(502), true },
	{ "503, nothing listens", HB_LAYER_TUNNEL, HB_E_STATUS(503), true },
	{ "504", HB_LAYER_TUNNEL, HB_E_STATUS(504), true },
	{ "505", HB_LAYER_TUNNEL, HB_E_STATUS(505), false },
	{ "the pool is full", HB_LAYER_TUNNEL, HB_E_POOL_WAITERS, false },
	{ "we drain", HB_LAYER_TUNNEL, HB_E_DRAIN, false },
	{ "the app has gone", HB_LAYER_TCP, HB_E_CANCELLED, false },
	{ "we have no certificate", HB_LAYER_AGENT, HB_E_NO_CREDENTIAL, false },
	{ "the pod has gone", HB_LAYER_AGENT, HB_E_CANCELLED, false },
	{ "a clean end", HB_LAYER_NONE, 0, false },
};
/* clang-format on */

START_TEST(worth_it)
{
	struct hb_end why = hb_end(rows[_i].layer, HB_SIDE_PEER, rows[_i].code);

	ck_assert_msg(outbound_may_try_elsewhere(why) == rows[_i].want, "%s", rows[_i].name);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("outbound_failover");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, worth_it, 0, HB_ARRAY_LEN(rows));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

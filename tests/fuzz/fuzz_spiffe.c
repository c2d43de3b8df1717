/*
 * fuzz_spiffe: the two readers of SPIFFE names agree: what TLS lets in, policy can take apart, and
 * with the same trust domain.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hbone/tls.h>

#include "mesh/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static char *copy_of(const char *text, size_t len)
{
	char *copy = strndup(text, len);

	assert(copy);
	return copy;
}

static void check_parts(const char *uri, const struct identity_view *view)
{
	const char *start;
	size_t td_len = hb_spiffe_trust_domain(uri, &start);
	char *td, *ns, *sa, *again;

	assert(view->trust_domain == start && view->trust_domain_len == td_len);
	if (td_len == 0)
		return; /* is written as the default */
	td = copy_of(start, td_len);
	ns = copy_of(view->ns, view->ns_len);
	sa = copy_of(view->sa, view->sa_len);
	again = identity_format(td, ns, sa);
	assert(again && strcmp(again, uri) == 0);
	free(again);
	free(sa);
	free(ns);
	free(td);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	bool valid = hb_spiffe_is_valid((const char *)bytes, len), visible = true;
	char *uri = copy_of((const char *)bytes, len);
	struct identity_view view;
	int err;

	for (size_t i = 0; i < len; i++)
		visible = visible && bytes[i] > ' ' && bytes[i] < 0x7f;
	assert(!valid || visible);
	err = identity_parse(uri, &view);
	if (visible)
		assert((err == 0) == valid);
	if (valid)
		check_parts(uri, &view);
	free(uri);
	return 0;
}

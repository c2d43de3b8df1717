/*
 * identity: SPIFFE names, taken apart and put together.
 */
#include "mesh/identity.h"

#include <stdio.h>
#include <string.h>

static const char scheme[] = "spiffe://";

int identity_parse(const char *uri, struct identity_view *ret_view)
{
	const char *part[5];
	size_t len[5], count = 0;

	if (strncmp(uri, scheme, sizeof(scheme) - 1) != 0)
		return -EINVAL;
	for (const char *at = uri + sizeof(scheme) - 1;; at += len[count - 1] + 1) {
		if (count == HB_ARRAY_LEN(part))
			return -EINVAL;
		part[count] = at;
		len[count] = strcspn(at, "/");
		if (!at[len[count++]])
			break;
	}
	if (count != HB_ARRAY_LEN(part) || len[1] != 2 || memcmp(part[1], "ns", 2) != 0 ||
	    len[3] != 2 || memcmp(part[3], "sa", 2) != 0)
		return -EINVAL;
	*ret_view = (struct identity_view){
		.trust_domain = part[0],
		.trust_domain_len = len[0],
		.ns = part[2],
		.ns_len = len[2],
		.sa = part[4],
		.sa_len = len[4],
	};
	return 0;
}

char *identity_format(const char *trust_domain, const char *ns, const char *sa)
{
	char *text;

	if (!*trust_domain)
		trust_domain = "cluster.local";
	return asprintf(&text, "%s%s/ns/%s/sa/%s", scheme, trust_domain, ns, sa) < 0 ? NULL : text;
}

/*
 * identity: SPIFFE names of workloads, spiffe://<trust domain>/ns/<namespace>/sa/<account>
 * (reference/datapath 1.4). Pure.
 */
#pragma once

#include <hbone/base.h>

struct identity_view { /* parts of a text that is kept elsewhere; not ended by NUL */
	const char *trust_domain, *ns, *sa;
	size_t trust_domain_len, ns_len, sa_len;
};

/* 0, or -EINVAL unless there are exactly five segments after "spiffe://". Segments may be empty. */
int identity_parse(const char *uri, struct identity_view *ret_view);
/* Formats into a new string, the caller's to free(). An empty trust domain becomes cluster.local.
 */
char *identity_format(const char *trust_domain, const char *ns, const char *sa);

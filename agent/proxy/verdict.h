/*
 * verdict: what policy says of one connection to a pod, and strict where it is on, counted and put
 * into words.
 *
 * Denials are counted by the policy that decided, and what dry-run policies would have decided by
 * policy and peer, so that one can be tried before it is enforced. Thread: the worker's own.
 */
#pragma once

#include "mesh/policy.h"

struct pod;

struct verdict_words {
	char by[320];    /* policy and rule that decided; "": none had a part in it */
	char error[256]; /* a denial's, as ztunnel has it */
};

/* @pod->workload is known. 0, or HB_E_POLICY. */
int verdict_first(struct pod *pod, const struct policy_query *query,
                  struct verdict_words *ret_words);
/* The same for one that was allowed before: it is not counted as a denial or a dry run again; a
 * policy that is not known (policy_query.stands) does not end it, and strict mode is milder with it
 * (strict_query.stands). */
int verdict_again(struct pod *pod, const struct policy_query *query,
                  struct verdict_words *ret_words);

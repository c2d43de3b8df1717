/*
 * state: what store and snapshot know of each other's inside; nobody else looks in here.
 */
#pragma once

#include <stdatomic.h>

#include "mesh/hash.h"
#include "mesh/objects.h"
#include "mesh/store.h"
#include "mesh/texts.h"

enum state_map {
	/* These have a reference to each item; what the others point to is in one of them. */
	BY_UID,     /* workloads; hash_text(uid) */
	BY_SERVICE, /* services; hash_pair(ns, hostname) */
	GHOSTS,     /* services without a body, for endpoints of unknown ones; as above */
	GIVEN,      /* given endpoints; hash_text(workload uid) */
	BY_POLICY,  /* policies; hash_text(key) */

	BY_POD,       /* workloads that have a name; hash_pair(ns, name) */
	BY_IP,        /* workloads, once for each address; hash_ip(network, ip) */
	BY_HOSTNAME,  /* workloads that have one; hash_pair(ns, hostname) */
	BY_HOST,      /* services; hash_text(hostname) */
	BY_VIP,       /* services, once for each of body->vips */
	BY_NODE,      /* workloads of store_options.node; hash_text(uid) */
	BY_POLICY_NS, /* policies that apply by themselves; policy_ns_hash() */
	STATE_MAPS,
};

#define CIDR_LENGTHS (32 + 128) /* 0 to 31 of IPv4, then 0 to 127 of IPv6 */

struct state { /* a version of all there is */
	struct hamt maps[STATE_MAPS];
	uint32_t cidrs[CIDR_LENGTHS]; /* CIDR VIPs of each prefix length */
	uint64_t policies_changed;    /* generation */
};

struct snapshot {
	atomic_uint refs;
	struct store *store;
	struct snapshot *next_dead;
	uint64_t generation;
	struct state state;
};

struct store {
	struct heap heap;
	struct texts texts;
	struct state state;         /* with what came in since the last publish */
	struct snapshot *published; /* what is undone goes back to it */
	uint64_t generation;        /* of published */
	struct store_changes changes;
	struct origin origin; /* of what is put now */
	char *node;           /* "": none of its own */
	bool syncing;
	uint32_t first_line;
	char why[256];

	/*
	 * Snapshots that nobody holds any more wait here for the store's thread. Whoever is the
	 * last of all, be it the owner or the holder of a snapshot, frees the store.
	 */
	_Atomic(struct snapshot *) dead;
	atomic_uint users; /* the owner, and each snapshot that is held */
};

/* Where it applies by itself: "" everywhere, a namespace, or NULL: only where it is listed. */
static inline const char *policy_index_ns(const struct policy *policy)
{
	if (policy->scope == SCOPE_WORKLOAD)
		return NULL;
	return policy->scope == SCOPE_GLOBAL ? "" : policy->ns;
}

/* All of a namespace begin alike: hamt_iter_prefix(). */
static inline uint64_t policy_ns_hash(const char *ns, const char *key)
{
	return hash_text(ns) >> 32 << 32 | hash_text(key) >> 32;
}

/* Readings of a state, for both. NULL: not there. */
struct workload_object *state_workload(const struct state *state, uint64_t hash, const char *uid);
struct service_object *state_service(const struct state *state, enum state_map map, uint64_t hash,
                                     const char *key);
struct policy_object *state_policy(const struct state *state, uint64_t hash, const char *key);

int service_order(const struct service *a, const struct service *b); /* by name, hostname, ns */

/* Of store.c, for store_*.c. */
int store_refuse(struct store *store, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* store_join: all that names @uid or is named by it as an endpoint of the service @key. -ENOMEM. */
int store_join(struct store *store, const char *key, const char *uid);
/* The givens of @uid point to @workload, or to none, and are joined. */
int store_given_follow(struct store *store, const char *uid, const struct workload *workload);
/* @body's given endpoints come into force, or leave. */
int store_given_add(struct store *store, const char *key, const struct body *body);
int store_given_remove(struct store *store, const char *key, const struct body *body);
/* The version of @object that this batch may change, in its place in all maps. NULL: no memory. */
struct service_object *store_service_own(struct store *store, struct service_object *object);

/* store_check: 0, or -EINVAL with a sentence. */
int store_check_workload(struct store *store, const struct workload *workload);
int store_check_service(struct store *store, const struct service *service,
                        const struct endpoint *given, size_t given_count);
int store_check_policy(struct store *store, const struct policy *policy);

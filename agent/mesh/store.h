/*
 * store: takes in workloads, services and policies, and publishes them as immutable snapshots.
 *
 * Changes gather in a batch until store_publish(); a snapshot shares all that did not change with
 * the one before, so a publish costs what the batch changed. What endpoints a service has follows
 * from what is there, in whatever order it came: the workloads that name the service, and those
 * that the service names itself; where both do, the workload's word counts. Endpoints of a service
 * that is not known (yet, or any more) are staged.
 *
 * All that is put is copied. Errors: -EINVAL refuses that object alone, store_why() says why in one
 * sentence; -ENOMEM undoes the whole batch, back to what was published last.
 * Thread: one writes; snapshots may be read and let go on any (mesh/snapshot.h).
 * Pure: no files, no clock, no threads of its own.
 */
#pragma once

#include "mesh/model.h"
#include "mesh/snapshot.h"

struct store;

struct store_options {
	size_t bytes_max; /* of all versions together; 0: no bound */
	const char *node; /* copied: whose workloads snapshot_locals() lists; NULL or "": none's */
};

enum store_source { STORE_FILE, STORE_XDS }; /* who speaks; see store_sync_begin() */

struct store_changes { /* objects that came, went or differ since the publish before */
	size_t workloads, services, policies;
	size_t policy_lists; /* workloads whose namespace or list of policies differs */
};

struct store *store_new(const struct store_options *options); /* NULL: all 0. NULL: no memory */
/* Snapshots that are still held stay good; the last to go takes the rest with it. Takes NULL. */
void store_free(struct store *store);

/* uid is the key; ->endpoint of its services needs only ports. 0, -EINVAL, -ENOMEM. */
int store_put_workload(struct store *store, const struct workload *workload);
/* ns and hostname are the key. @given: endpoints that the service names. 0, -EINVAL, -ENOMEM. */
int store_put_service(struct store *store, const struct service *service,
                      const struct endpoint *given, size_t given_count);
/* ns and name are the key ("ns/name"), or key if it is set. 0, -EINVAL, -ENOMEM. */
int store_put_policy(struct store *store, const struct policy *policy);
/* 0, -ENOENT, -ENOMEM. */
int store_remove_workload(struct store *store, const char *uid);
int store_remove_service(struct store *store, const char *ns, const char *hostname);
int store_remove_policy(struct store *store, const char *key);
/* By the name of an Address resource: a workload's uid, or else a service's "ns/hostname"
 * (reference/controlplane 3.3). 0, -ENOENT, -ENOMEM. */
int store_remove_address(struct store *store, const char *name);

/* Who speaks from here on, outside of a sync; at first it is STORE_FILE. */
void store_speak_as(struct store *store, enum store_source source);

/*
 * A whole state of one source: between begin and end each object is put once (again: -EEXIST, and
 * store_first_line() tells the line of the first), and at the end what of this source was not put
 * is removed. What another source put stays, unless it is put again here. store_at_line() before
 * each put. A sync may be left with store_discard().
 */
int store_sync_begin(struct store *store, enum store_source source);
void store_at_line(struct store *store, uint32_t line); /* from 1 */
uint32_t store_first_line(const struct store *store);
int store_sync_end(struct store *store); /* 0 or -ENOMEM */

/* One reference for the caller; the one before, when nothing changed. @ret_changes may be NULL.
 * 0, or -ENOMEM with the batch undone. */
int store_publish(struct store *store, struct snapshot **ret_snapshot,
                  struct store_changes *ret_changes);
void store_discard(struct store *store); /* the batch */

/* Frees what only snapshots used that were let go. Puts and publishes do it too. */
void store_reap(struct store *store);

const char *store_why(const struct store *store); /* the last refusal */
size_t store_bytes(const struct store *store);    /* of all versions that are still there */

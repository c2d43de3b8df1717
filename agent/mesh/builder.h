/*
 * builder: collects workloads, services, policies and endpoints in any order and publishes them as
 * one snapshot. What it is given points into its own memory (builder_text, builder_array), which
 * becomes the snapshot's; a builder that is freed instead leaves nothing behind.
 * Thread: one at a time.
 */
#pragma once

#include "mesh/store.h"

struct builder;

struct builder *builder_new(void);          /* NULL: no memory */
void builder_free(struct builder *builder); /* takes NULL */
/* @count zeroed items; NULL: no memory. */
void *builder_array(struct builder *builder, size_t count, size_t size);
/* Ended by NUL; equal texts are stored once. NULL: no memory. */
const char *builder_text(struct builder *builder, const char *text, size_t len);

/*
 * Each copies the struct; members left NULL become "". Filled in when NULL or empty: the identity
 * of a workload, the key of a policy. A service's endpoints are not taken: see builder_endpoint().
 * 0; -EEXIST when uid, ns/hostname or ns/name was added before; -ENOMEM.
 */
int builder_workload(struct builder *builder, const struct workload *workload);
int builder_service(struct builder *builder, const struct service *service);
int builder_policy(struct builder *builder, const struct policy *policy);

enum endpoint_source {
	ENDPOINT_OF_SERVICE,  /* the service names the workload */
	ENDPOINT_OF_WORKLOAD, /* the workload names the service; wins over the above */
};
/* Joins at publish: service and workload may come before, after, or never (snapshot_staged). */
int builder_endpoint(struct builder *builder, const char *ns_host, const struct endpoint *endpoint,
                     enum endpoint_source source);

/* Gives the snapshot and frees the builder; on -ENOMEM the builder is freed too. */
int builder_publish(struct builder *builder, struct snapshot **ret_snapshot);

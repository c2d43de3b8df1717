/*
 * objects: what a store keeps, each in one allocation: the model's struct, and behind it all that
 * it points to and no other object shares. Words in common are texts. Immutable once made, but for
 * struct origin, which only the store's thread reads and writes.
 */
#pragma once

#include "mesh/heap.h"
#include "mesh/model.h"

struct origin { /* where the latest word on it came from */
	uint32_t line;
	uint8_t source;
};

struct workload_object {
	struct counted counted;
	struct origin origin;
	struct workload workload;
};

struct body { /* what the versions of a service share while only its endpoints change */
	struct counted counted;
	const uint64_t *vips; /* their hashes in BY_VIP, sorted, each once */
	size_t vips_count;
	const struct endpoint *given; /* endpoints that the service itself names; workload NULL */
	size_t given_count;
};

struct service_object {
	struct counted counted;
	uint32_t batch; /* made in it: may be changed in it */
	struct origin origin;
	const char *key;        /* "ns/hostname" */
	struct body *body;      /* NULL: a ghost, which holds the endpoints of an unknown service */
	struct service service; /* of a ghost only endpoints */
};

struct given_object { /* one of body->given, with its workload as it is now */
	struct counted counted;
	const char *service; /* its key */
	struct endpoint endpoint;
};

struct policy_object {
	struct counted counted;
	struct origin origin;
	struct policy policy;
};

void objects_init_heap(struct heap *heap); /* tells it how objects end */

/* Copies all that @workload points to. Absent texts become "", a missing identity is made. */
struct workload_object *workload_object_new(struct heap *heap, const struct workload *workload);
/* Without endpoints. @given: those that the service names itself. */
struct service_object *service_object_new(struct heap *heap, const struct service *service,
                                          const struct endpoint *given, size_t given_count);
struct service_object *ghost_object_new(struct heap *heap, const char *key);
/* The same service in this batch, to be changed: endpoints are shared. */
struct service_object *service_object_copy(struct heap *heap, const struct service_object *old);
struct given_object *given_object_new(struct heap *heap, const char *service,
                                      const struct endpoint *endpoint,
                                      const struct workload *workload);
struct policy_object *policy_object_new(struct heap *heap, const struct policy *policy);

/* Do they say the same? */
bool workload_object_equal(const struct workload_object *a, const struct workload_object *b);
bool service_object_equal(const struct service_object *a, const struct service_object *b);
bool policy_object_equal(const struct policy_object *a, const struct policy_object *b);

/* "ns/hostname" in two; a key without '/' has no hostname. */
uint64_t service_key_hash(const char *key);
/* Under which hash a VIP is found; for a CIDR its host bits do not matter. */
uint64_t vip_hash(const char *network, const struct hb_ip *ip, uint8_t prefix);
bool vip_is_exact(const struct mesh_vip *vip);

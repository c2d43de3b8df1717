/*
 * xds_codec: resources of xDS, from bytes into a store (reference/controlplane 2.7, 3.1 to 3.5).
 *
 * A resource is taken whole or refused whole, with one sentence that names the field. Text must be
 * UTF-8 without control characters; numbers of enums must be known, but for those that the
 * reference lists; unknown fields are passed over.
 * Pure but for the store that they write to. Thread: the store's.
 */
#pragma once

#include <hbone/arena.h>

#include "mesh/store.h"

#define XDS_RESOURCE_MAX (2u << 20) /* bytes of one resource, all around its value included */

struct xds_reader {
	struct store *store;
	struct hb_arena *arena; /* for what one resource takes; the caller clears it after each */
	const char *name;       /* of the resource, ended by NUL */
	char *why;              /* written with -EINVAL */
	size_t why_size;
	size_t skipped; /* counts what is left out of resources that are taken (SANs, matches) */
	bool no_memory; /* the codec's own */
};

struct xds_resource { /* all texts of the reader's arena, ended by NUL, never NULL */
	const char *name, *version;
	const char *const *aliases; /* on-demand: "network/ip" */
	size_t aliases_count;
	const uint8_t *value; /* Any.value; NULL: the resource has none */
	size_t value_size;
};

/* Resource of envoy.service.discovery.v3. 0, -EINVAL with a sentence, -ENOMEM. */
int xds_decode_resource(struct xds_reader *r, const uint8_t *bytes, size_t size,
                        struct xds_resource *ret_resource);

/* The value of a resource into the store. 0, -EINVAL with a sentence, -ENOMEM. */
int xds_put_address(struct xds_reader *r, const uint8_t *bytes, size_t size);
/* Its key is the resource's name. */
int xds_put_authorization(struct xds_reader *r, const uint8_t *bytes, size_t size);

struct xds_request { /* DeltaDiscoveryRequest without its versions; "" and NULL: absent */
	const uint8_t *node;
	size_t node_size;
	const char *type_url, *nonce;
	const char *subscribe, *unsubscribe; /* one name each */
	const char *error; /* NACK: why; its code is INVALID_ARGUMENT, as istiod counts by it */
};

/* @room: bytes to leave free behind it, for versions. malloc'd; NULL: no memory. */
uint8_t *xds_encode_request(const struct xds_request *request, size_t room, size_t *ret_size);

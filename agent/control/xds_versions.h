/*
 * xds_versions: which resources of a type the server knows that we have, and in which version
 * (reference/controlplane 2.8), in as few bytes as will do: there may be 100,000.
 *
 * A push sets marks; they come into force when all of it has been published, and are taken back
 * when it was undone. A name's bytes are counted as they stand in a request, so that it is known
 * before it is made how large one would be.
 * Pure. Thread: the owner's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xds_versions {
	struct xds_version **slots; /* open addressing; NULL: empty */
	size_t room;                /* a power of 2, or 0 */
	size_t count;               /* names */
	size_t wire_bytes;          /* of all as initial_resource_versions */
	uint8_t round;              /* of seeing; see xds_versions_unsee() */
	size_t unseen;              /* names that were not seen in this round */
	uint32_t *marks;            /* hashes of names that were marked gone */
	size_t marks_count, marks_room;
};

void xds_versions_done(struct xds_versions *versions); /* may run twice; empty again */
/* Sets it, or the version anew (at most 255 bytes; longer is as good as none), and marks it seen.
 * "" : the server shall send it again. 0 or -ENOMEM. */
int xds_versions_put(struct xds_versions *versions, const char *name, const char *version);
/* Marks a name seen, whatever its version. */
void xds_versions_see(struct xds_versions *versions, const char *name);
bool xds_versions_has(const struct xds_versions *versions, const char *name);
/* NULL: the name is not known. Valid until it is set anew. */
const char *xds_versions_get(const struct xds_versions *versions, const char *name);
void xds_versions_remove(struct xds_versions *versions, const char *name);
/* Removed, as soon as the push is published. 0 or -ENOMEM. */
int xds_versions_mark_gone(struct xds_versions *versions, const char *name);
void xds_versions_unsee(struct xds_versions *versions); /* all: a new round begins */
/* Going through the table: @at from 0, advanced by at most @steps slots. The next name that was not
 * seen and is not gone; NULL: none in these steps, look whether *at == room. */
const char *xds_versions_next_unseen(const struct xds_versions *versions, size_t *at, size_t steps);
/* Marks of a push come into force: what is gone is forgotten. */
void xds_versions_commit(struct xds_versions *versions);
/* The push was undone, and nobody knows what of it is there: all names stay, none has a version. */
void xds_versions_distrust(struct xds_versions *versions);
/* All as initial_resource_versions, wire_bytes in all. */
void xds_versions_encode(const struct xds_versions *versions, uint8_t *out);
/* Bytes that one takes in a request. */
size_t xds_versions_wire_size(size_t name_len, size_t version_len);

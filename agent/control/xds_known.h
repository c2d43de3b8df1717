/*
 * xds_known: the resources of xDS as an agent before this one knew them: kept by laststate as they
 * came, and brought back into the store and the versions. Private to xds*.c.
 *
 * What cannot be kept, or brought back, is left as it is and said once: the server's word is worth
 * more than the disk's.
 * Thread: the store's.
 */
#pragma once

#include <hbone/arena.h>

#include "control/laststate.h"
#include "control/xds_versions.h"

struct store;

/* As it has just been taken. @known: NULL: nothing is kept. */
void xds_known_put(struct laststate *known, const char *type_url, const char *name,
                   const char *version, const uint8_t *value, size_t size);
void xds_known_remove(struct laststate *known, const char *type_url, const char *name);

struct xds_restore { /* all 0 at first, but for known */
	struct laststate *known;
	struct laststate_cursor at;
	struct hb_arena arena;
	size_t taken, refused;
};

/*
 * A slice of what is kept goes into @store (nothing is published) and @versions, by enum xds_type.
 * What this agent cannot read is named without a version, so that the server sends it anew, or
 * says that it is gone. 1: call again; 0: that was all; -ENOMEM: nothing of it is to be used.
 */
int xds_restore_step(struct xds_restore *restore, struct store *store,
                     struct xds_versions *versions);
void xds_restore_done(struct xds_restore *restore); /* may run twice */

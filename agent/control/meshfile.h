/*
 * meshfile: the mesh from one YAML file, in ztunnel's local format (reference/controlplane 10), or
 * not at all: a bad file changes nothing and gives one sentence with file:line.
 *
 * The file is read in a stream, item by item, so that a large mesh needs memory for its text and
 * for the store, and for nothing between.
 */
#pragma once

#include "mesh/store.h"

/*
 * The file becomes all that STORE_FILE says (store_sync_begin): what is not in it any more goes,
 * what did not change costs nothing. Publishing is the caller's; on failure the store's batch is
 * discarded. 0; or -EINVAL, -ENOENT, -EFBIG ... with "<file>:<line>: <what>, <what was expected>"
 * in @why.
 */
int meshfile_sync(struct store *store, const char *path, char *why, size_t why_size);
/* The same from memory; @name stands for the file in messages. */
int meshfile_sync_text(struct store *store, const char *name, const char *text, size_t len,
                       char *why, size_t why_size);

/* A snapshot of the file alone, of a store of its own. */
int meshfile_load(const char *path, struct snapshot **ret_snapshot, char *why, size_t why_size);
int meshfile_parse(const char *name, const char *text, size_t len, struct snapshot **ret_snapshot,
                   char *why, size_t why_size);

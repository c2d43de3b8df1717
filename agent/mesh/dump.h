/*
 * dump: a snapshot as JSON, in the shape of ztunnel's /config_dump (reference/operations 6).
 */
#pragma once

#include "mesh/store.h"

enum dump_section {
	DUMP_WORKLOADS, /* list */
	DUMP_SERVICES,  /* list */
	DUMP_POLICIES,  /* list */
	DUMP_STAGED,    /* "stagedServices": map of maps */
};

/* The section's value, to stand after its key. Ended by NUL, the caller's to free(); NULL: no
 * memory. */
char *mesh_dump(const struct snapshot *s, enum dump_section section);

/*
 * meshfile: the mesh from one YAML file, in ztunnel's local format (reference/controlplane 10), or
 * not at all: a bad file changes nothing and gives one sentence with file:line.
 */
#pragma once

#include "mesh/store.h"

/* 0; or -EINVAL, -ENOENT, -EFBIG ... with "<file>:<line>: <what>, <what was expected>" in @why. */
int meshfile_load(const char *path, struct snapshot **ret_snapshot, char *why, size_t why_size);
/* The same from memory; @name stands for the file in messages. */
int meshfile_parse(const char *name, const char *text, size_t len, struct snapshot **ret_snapshot,
                   char *why, size_t why_size);

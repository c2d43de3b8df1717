/*
 * xds_walk: the outermost fields of a protobuf message, one by one, where they lie: a response of
 * xDS may have 100 MB and 100,000 resources, which nobody should decode in one go, nor twice hold.
 * Pure; no allocation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xds_walk {
	const uint8_t *bytes;
	size_t size, at;
};

struct xds_field {
	uint32_t number;
	bool has_bytes;       /* length-delimited; others have been passed over */
	const uint8_t *bytes; /* of the message */
	size_t size;
};

/* 1: @ret_field is the next one; 0: there are no more; -EBADMSG: it is no protobuf from here on. */
int xds_walk_next(struct xds_walk *walk, struct xds_field *ret_field);

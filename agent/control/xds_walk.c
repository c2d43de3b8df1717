/*
 * xds_walk: tags and lengths of the protobuf encoding; groups are not taken, as no xDS has them.
 */
#include "control/xds_walk.h"

#include <errno.h>

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static int varint_read(struct xds_walk *walk, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 64 && walk->at < walk->size; shift += 7) {
		uint8_t byte = walk->bytes[walk->at++];

		number |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_number = number;
			return 0;
		}
	}
	return -EBADMSG;
}

/* How many bytes a value of this kind has from here on; its length has been read. */
static int value_size(struct xds_walk *walk, uint64_t kind, uint64_t *ret_size)
{
	size_t before;
	uint64_t number;

	switch (kind) {
	case WIRE_VARINT:
		before = walk->at;
		if (varint_read(walk, &number) < 0)
			return -EBADMSG;
		*ret_size = walk->at - before;
		walk->at = before;
		return 0;
	case WIRE_64:
		*ret_size = 8;
		return 0;
	case WIRE_BYTES:
		return varint_read(walk, ret_size);
	case WIRE_32:
		*ret_size = 4;
		return 0;
	default:
		return -EBADMSG;
	}
}

int xds_walk_next(struct xds_walk *walk, struct xds_field *ret_field)
{
	uint64_t tag, size;

	if (walk->at == walk->size)
		return 0;
	if (varint_read(walk, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > 0x1fffffff ||
	    value_size(walk, tag & 7, &size) < 0 || size > walk->size - walk->at)
		return -EBADMSG;
	*ret_field = (struct xds_field){
		.number = (uint32_t)(tag >> 3),
		.has_bytes = (tag & 7) == WIRE_BYTES,
		.bytes = walk->bytes + walk->at,
		.size = (size_t)size,
	};
	walk->at += (size_t)size;
	return 1;
}

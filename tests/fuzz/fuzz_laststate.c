/*
 * fuzz_laststate: a file as it is; then its body with sums that are right, as nobody could guess
 * them: what is believed says the same when it is written again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "control/crc64.h"
#include "control/laststate_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct seen {
	const uint8_t *bytes;
	size_t len, at;
	uint64_t records;
};

static int on_record(void *owner, const struct laststate_record *record, size_t offset,
                     size_t bytes, uint64_t sum)
{
	struct seen *seen = owner;
	uint8_t *again = malloc(bytes);

	assert(again && offset == seen->at && offset + bytes <= seen->len);
	assert(laststate_record_bytes(record) == bytes);
	assert(laststate_record_encode(record, again) == sum);
	assert(memcmp(again, seen->bytes + offset, bytes) == 0);
	free(again);
	seen->at += bytes;
	seen->records++;
	return 0;
}

static int parse(const uint8_t *bytes, size_t len)
{
	struct seen seen = { bytes, len, LASTSTATE_HEAD_BYTES, 0 };
	struct laststate_head head;
	char why[200] = "";
	int err = laststate_parse(bytes, len, &head, on_record, &seen, why, sizeof(why));

	assert(err == 0 || why[0]);
	assert(err < 0 || (seen.at == len && seen.records == head.records));
	return err;
}

/* The sum of a record of whatever lengths it says, if there is room for it. */
static size_t put_sum(uint8_t *at, size_t left)
{
	size_t size;

	if (left < 12)
		return left;
	size = 23 + (size_t)(at[0] | at[1] << 8) + (size_t)(at[2] | at[3] << 8) +
	       (size_t)(at[4] | at[5] << 8) +
	       (at[8] | (size_t)at[9] << 8 | (size_t)at[10] << 16 | (size_t)at[11] << 24);
	if (size > left)
		return left;
	for (unsigned i = 0; i < 8; i++)
		at[size - 8 + i] = (uint8_t)(crc64(0, at, size - 8) >> 8 * i);
	return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct laststate_head head = { .body_bytes = len };
	struct laststate_certificate certificate;
	uint8_t *file = malloc(LASTSTATE_HEAD_BYTES + len);

	(void)parse(bytes, len);
	if (laststate_certificate_decode(bytes, len, &certificate) == 0)
		assert(laststate_certificate_bytes(&certificate) == len);
	assert(file);
	if (len > 0)
		memcpy(file + LASTSTATE_HEAD_BYTES, bytes, len);
	for (size_t at = 0, size; at < len; at += size, head.records++) {
		uint8_t *record = file + LASTSTATE_HEAD_BYTES + at;

		size = put_sum(record, len - at);
		if (size >= 23)
			head.sum = crc64(head.sum, record + size - 8, 8);
	}
	laststate_head_encode(&head, file);
	(void)parse(file, LASTSTATE_HEAD_BYTES + len);
	free(file);
	return 0;
}

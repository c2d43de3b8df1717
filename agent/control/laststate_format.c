/*
 * laststate_format: heads and records, to bytes and back.
 */
#include "control/laststate_format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/crc64.h"

#define FIXED_BYTES 12u /* of a record: the lengths */
#define SUM_BYTES   8u
#define SOURCE_AT   48u
#define SUM_AT      (LASTSTATE_HEAD_BYTES - SUM_BYTES) /* of the head */

_Static_assert(SOURCE_AT + LASTSTATE_SOURCE_MAX + 1 == SUM_AT, "the head has no holes");

static const char magic[8] = "culvert\n";

static void put(uint8_t *out, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

/* ---- the head ---- */

void laststate_head_encode(const struct laststate_head *head, uint8_t out[LASTSTATE_HEAD_BYTES])
{
	memcpy(out, magic, sizeof(magic));
	put(out + 8, LASTSTATE_VERSION, 4);
	put(out + 12, LASTSTATE_HEAD_BYTES, 4);
	put(out + 16, head->as_of_ms, 8);
	put(out + 24, head->records, 8);
	put(out + 32, head->body_bytes, 8);
	put(out + 40, head->sum, 8);
	memcpy(out + SOURCE_AT, head->source, sizeof(head->source));
	put(out + SUM_AT, crc64(0, out, SUM_AT), 8);
}

int laststate_head_decode(const uint8_t *bytes, size_t len, struct laststate_head *ret_head,
                          char *why, size_t why_size)
{
	uint64_t version;

	if (len < 12 || memcmp(bytes, magic, sizeof(magic)) != 0) {
		snprintf(why, why_size, "it is no such file");
		return -EBADMSG;
	}
	/* Before the sum: another version may have another head. */
	version = get(bytes + 8, 4);
	if (version != LASTSTATE_VERSION) {
		snprintf(why, why_size, "it is of version %llu, and only version %u is read",
		         (unsigned long long)version, LASTSTATE_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (len < LASTSTATE_HEAD_BYTES || get(bytes + SUM_AT, 8) != crc64(0, bytes, SUM_AT) ||
	    get(bytes + 12, 4) != LASTSTATE_HEAD_BYTES || bytes[SUM_AT - 1] != '\0') {
		snprintf(why, why_size, "its head is damaged");
		return -EBADMSG;
	}
	*ret_head = (struct laststate_head){
		.as_of_ms = get(bytes + 16, 8),
		.records = get(bytes + 24, 8),
		.body_bytes = get(bytes + 32, 8),
		.sum = get(bytes + 40, 8),
	};
	memcpy(ret_head->source, bytes + SOURCE_AT, sizeof(ret_head->source));
	return 0;
}

/* ---- a record ---- */

size_t laststate_record_bytes(const struct laststate_record *record)
{
	size_t type = strlen(record->type), name = strlen(record->name),
	       version = strlen(record->version);

	if (type > LASTSTATE_TEXT_MAX || name > LASTSTATE_TEXT_MAX ||
	    version > LASTSTATE_TEXT_MAX || record->size > LASTSTATE_VALUE_MAX)
		return 0;
	return FIXED_BYTES + type + name + version + 3 + record->size + SUM_BYTES;
}

static uint8_t *put_text(uint8_t *at, const char *text, size_t len)
{
	memcpy(at, text, len + 1);
	return at + len + 1;
}

uint64_t laststate_record_encode(const struct laststate_record *record, uint8_t *out)
{
	size_t type = strlen(record->type), name = strlen(record->name),
	       version = strlen(record->version);
	uint8_t *at = out + FIXED_BYTES;
	uint64_t sum;

	put(out, type, 2);
	put(out + 2, name, 2);
	put(out + 4, version, 2);
	put(out + 6, 0, 2);
	put(out + 8, record->size, 4);
	at = put_text(at, record->type, type);
	at = put_text(at, record->name, name);
	at = put_text(at, record->version, version);
	if (record->size > 0)
		memcpy(at, record->value, record->size);
	at += record->size;
	sum = crc64(0, out, (size_t)(at - out));
	put(at, sum, SUM_BYTES);
	return sum;
}

/* The text of @len bytes at @at, and past it; NULL: it has another length. */
static const char *get_text(const uint8_t **at, size_t len)
{
	const char *text = (const char *)*at;

	if (memchr(text, '\0', len + 1) != text + len)
		return NULL;
	*at += len + 1;
	return text;
}

/* The record at the front of @bytes, by its lengths alone. */
static int layout(const uint8_t *bytes, size_t len, struct laststate_record *ret_record,
                  size_t *ret_bytes, uint64_t *ret_sum)
{
	const uint8_t *at = bytes + FIXED_BYTES;
	struct laststate_record record = { 0 };
	size_t type, name, version, all;

	if (len < FIXED_BYTES)
		return -EBADMSG;
	type = (size_t)get(bytes, 2);
	name = (size_t)get(bytes + 2, 2);
	version = (size_t)get(bytes + 4, 2);
	record.size = (uint32_t)get(bytes + 8, 4);
	if (type > LASTSTATE_TEXT_MAX || name > LASTSTATE_TEXT_MAX ||
	    version > LASTSTATE_TEXT_MAX || record.size > LASTSTATE_VALUE_MAX ||
	    get(bytes + 6, 2) != 0)
		return -EBADMSG;
	all = FIXED_BYTES + type + name + version + 3 + record.size + SUM_BYTES;
	if (len < all)
		return -EBADMSG;
	record.type = get_text(&at, type);
	record.name = record.type ? get_text(&at, name) : NULL;
	record.version = record.name ? get_text(&at, version) : NULL;
	if (!record.version)
		return -EBADMSG;
	record.value = at;
	*ret_record = record;
	*ret_bytes = all;
	*ret_sum = get(bytes + all - SUM_BYTES, SUM_BYTES);
	return 0;
}

int laststate_record_decode(const uint8_t *bytes, size_t len, struct laststate_record *ret_record,
                            size_t *ret_bytes, uint64_t *ret_sum)
{
	struct laststate_record record;
	uint64_t sum;
	size_t all;

	if (layout(bytes, len, &record, &all, &sum) < 0 || crc64(0, bytes, all - SUM_BYTES) != sum)
		return -EBADMSG;
	*ret_record = record;
	*ret_bytes = all;
	*ret_sum = sum;
	return 0;
}

/* ---- a certificate ---- */

size_t laststate_certificate_bytes(const struct laststate_certificate *certificate)
{
	return strlen(certificate->chain_pem) + strlen(certificate->roots_pem) +
	       strlen(certificate->key_pem) + 3;
}

void laststate_certificate_encode(const struct laststate_certificate *certificate, uint8_t *out)
{
	out = put_text(out, certificate->chain_pem, strlen(certificate->chain_pem));
	out = put_text(out, certificate->roots_pem, strlen(certificate->roots_pem));
	(void)put_text(out, certificate->key_pem, strlen(certificate->key_pem));
}

int laststate_certificate_decode(const uint8_t *value, size_t size,
                                 struct laststate_certificate *ret_certificate)
{
	const char *texts[3];
	const uint8_t *at = value;

	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *end = memchr(at, '\0', size - (size_t)(at - value));

		if (!end)
			return -EBADMSG;
		texts[i] = (const char *)at;
		at = end + 1;
	}
	if (at != value + size)
		return -EBADMSG;
	*ret_certificate = (struct laststate_certificate){ texts[0], texts[1], texts[2] };
	return 0;
}

/* ---- all of it ---- */

static int check_body(const uint8_t *body, const struct laststate_head *head, char *why,
                      size_t why_size)
{
	size_t left = (size_t)head->body_bytes, bytes;
	struct laststate_record record;
	uint64_t sum = 0, records = 0, one;

	for (; left > 0; records++, body += bytes, left -= bytes) {
		if (laststate_record_decode(body, left, &record, &bytes, &one) < 0) {
			snprintf(why, why_size, "its record %llu is damaged",
			         (unsigned long long)records + 1);
			return -EBADMSG;
		}
		sum = crc64(sum, body + bytes - SUM_BYTES, SUM_BYTES);
	}
	if (records != head->records || sum != head->sum) {
		snprintf(why, why_size, "its records are not those that its head tells of");
		return -EBADMSG;
	}
	return 0;
}

int laststate_parse(const uint8_t *bytes, size_t len, struct laststate_head *ret_head,
                    int (*each)(void *owner, const struct laststate_record *record, size_t offset,
                                size_t bytes, uint64_t sum),
                    void *owner, char *why, size_t why_size)
{
	int err = laststate_head_decode(bytes, len, ret_head, why, why_size);

	if (err < 0)
		return err;
	if (ret_head->body_bytes != len - LASTSTATE_HEAD_BYTES) {
		snprintf(why, why_size, "it has %zu bytes after its head, which tells of %llu",
		         len - LASTSTATE_HEAD_BYTES, (unsigned long long)ret_head->body_bytes);
		return -EBADMSG;
	}
	err = check_body(bytes + LASTSTATE_HEAD_BYTES, ret_head, why, why_size);
	for (size_t at = LASTSTATE_HEAD_BYTES, size = 0; err == 0 && at < len; at += size) {
		struct laststate_record record;
		uint64_t sum;

		err = layout(bytes + at, len - at, &record, &size, &sum);
		if (err == 0)
			err = each(owner, &record, at, size, sum);
	}
	return err;
}

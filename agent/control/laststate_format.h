/*
 * laststate_format: what laststate keeps, as bytes: a head and records. Pure.
 *
 *   head    "culvert\n" u32 version  u32 bytes of the head  u64 as_of_ms  u64 records
 *           u64 bytes of the body  u64 sum of the records' sums
 *           456 bytes of the source, NULs up to its end  u64 sum of the head before this
 *   record  u16 bytes of type, name, version, and 0  u32 bytes of value  type\0 name\0 version\0
 * value u64 sum of the record before this
 *
 * Numbers are little-endian; sums are crc64. Every byte is under one of them, so a file that was
 * cut, or in which a bit fell over, is refused whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LASTSTATE_VERSION    2u /* 1 did not say whose word it is */
#define LASTSTATE_HEAD_BYTES 512u
#define LASTSTATE_SOURCE_MAX 455u       /* bytes, without its NUL */
#define LASTSTATE_TEXT_MAX   4096u      /* bytes of a type, a name or a version, without its NUL */
#define LASTSTATE_VALUE_MAX  (4u << 20) /* bytes */
#define LASTSTATE_BYTES_MAX  (1ull << 29) /* of a file */

struct laststate_head {
	uint64_t as_of_ms; /* Unix time: it was all true then */
	uint64_t records;
	uint64_t body_bytes;                   /* after the head */
	uint64_t sum;                          /* crc64 over the sums of the records, in order */
	char source[LASTSTATE_SOURCE_MAX + 1]; /* whose word it is, for people; NULs after it */
};

struct laststate_record {
	const char *type, *name, *version; /* no NUL in them, "" is a text */
	const uint8_t *value;
	uint32_t size; /* of the value */
};

void laststate_head_encode(const struct laststate_head *head, uint8_t out[LASTSTATE_HEAD_BYTES]);
/*
 * 0; -EBADMSG: it is none, or damaged; -EPROTONOSUPPORT: it is one, of another version. With a
 * clause about the file in @why.
 */
int laststate_head_decode(const uint8_t *bytes, size_t len, struct laststate_head *ret_head,
                          char *why, size_t why_size);

/* Bytes of @record in a file; 0: it is above a limit, or a text has a NUL where it may not. */
size_t laststate_record_bytes(const struct laststate_record *record);
/* As many bytes into @out. Returns the record's sum. */
uint64_t laststate_record_encode(const struct laststate_record *record, uint8_t *out);
/* The record at the front of @bytes, which it points into, its length and its sum. 0 or -EBADMSG.
 */
int laststate_record_decode(const uint8_t *bytes, size_t len, struct laststate_record *ret_record,
                            size_t *ret_bytes, uint64_t *ret_sum);

/* A certificate as a value: three texts, each with its NUL. Wiping is whoever's memory it is. */
struct laststate_certificate {
	const char *chain_pem, *roots_pem, *key_pem;
};
size_t laststate_certificate_bytes(const struct laststate_certificate *certificate);
void laststate_certificate_encode(const struct laststate_certificate *certificate, uint8_t *out);
/* It points into @value. 0 or -EBADMSG: there are not three texts and nothing else. */
int laststate_certificate_decode(const uint8_t *value, size_t size,
                                 struct laststate_certificate *ret_certificate);

/*
 * A whole file: each record in order, with where it begins and its sum. Nothing is said of any
 * record before all of the file is known to be good. 0; what the functions above say; or what
 * @each did not return 0 for. @why: a clause about the file.
 */
int laststate_parse(const uint8_t *bytes, size_t len, struct laststate_head *ret_head,
                    int (*each)(void *owner, const struct laststate_record *record, size_t offset,
                                size_t bytes, uint64_t sum),
                    void *owner, char *why, size_t why_size);

/*
 * xds_codec_parts: what the codecs of xDS share. Private to xds_codec*.c.
 */
#pragma once

#include "control/xds_codec.h"

/* Always -EINVAL. @format: one sentence that begins with the field. */
int xds_fail(struct xds_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "" where it is empty. -EINVAL: not UTF-8, or with control characters. */
int xds_text(struct xds_reader *r, const char *field, const uint8_t *bytes, size_t len,
             const char **ret_text);
/* 4 or 16 bytes. */
int xds_ip(struct xds_reader *r, const char *field, const uint8_t *bytes, size_t len,
           struct hb_ip *ret_ip);
/* A prefix of @length bits of the address's own family. -EINVAL: longer than that; no sentence. */
int xds_cidr(struct hb_ip *ip, size_t address_len, uint32_t length, uint8_t *ret_prefix);
/* 0 to 65535. */
int xds_port(struct xds_reader *r, const char *field, uint32_t number, uint16_t *ret_port);
/* One of @known numbers from 0. */
int xds_enum(struct xds_reader *r, const char *field, int number, int known);
/* @count items, zeroed, never NULL but without memory. */
void *xds_array(struct xds_reader *r, size_t count, size_t size);
/* 0, or what store_put_*() said, with its sentence. */
int xds_told(struct xds_reader *r, int err);

/* Memory of the arena, for protobuf-c; sets no_memory. */
void *xds_alloc(void *reader, size_t size);
void xds_alloc_free(void *reader, void *bytes);

/*
 * pbtext: a nested field is written aside first, for its length stands before it.
 */
#include "support/pbtext.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void wrong(const char *at)
{
	fprintf(stderr, "pbtext: what is this: %s\n", at);
	abort();
}

static void varint(FILE *out, uint64_t number)
{
	for (; number >= 0x80; number >>= 7)
		fputc((int)(number & 0x7f) | 0x80, out);
	fputc((int)number, out);
}

static void length_delimited(FILE *out, uint64_t field, const void *bytes, size_t size)
{
	varint(out, field << 3 | 2);
	varint(out, size);
	fwrite(bytes, 1, size, out);
}

static void hex_write(FILE *out, const char *hex, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2) {
		unsigned byte;

		if (sscanf(hex + i, "%2x", &byte) != 1)
			wrong(hex);
		fputc((int)byte, out);
	}
}

static const char *fields(FILE *out, const char *at);

static const char *quoted(FILE *out, uint64_t field, const char *at, int is_hex)
{
	const char *end = strchr(at, '\'');
	char *bytes = NULL;
	size_t size = 0;
	FILE *aside;

	if (!end)
		wrong(at);
	if (!is_hex) {
		length_delimited(out, field, at, (size_t)(end - at));
		return end + 1;
	}
	aside = open_memstream(&bytes, &size);
	hex_write(aside, at, (size_t)(end - at));
	fclose(aside);
	length_delimited(out, field, bytes, size);
	free(bytes);
	return end + 1;
}

static const char *nested(FILE *out, uint64_t field, const char *at)
{
	char *bytes = NULL;
	size_t size = 0;
	FILE *aside = open_memstream(&bytes, &size);

	at = fields(aside, at);
	fclose(aside);
	if (*at != '}')
		wrong(at);
	length_delimited(out, field, bytes, size);
	free(bytes);
	return at + 1;
}

static const char *fields(FILE *out, const char *at)
{
	for (;;) {
		char *end;
		uint64_t field;

		while (*at == ' ')
			at++;
		if (!*at || *at == '}')
			return at;
		field = strtoull(at, &end, 10);
		if (end == at || *end != ':')
			wrong(at);
		at = end + 1;
		if (*at == '\'') {
			at = quoted(out, field, at + 1, 0);
		} else if (*at == 'x' && at[1] == '\'') {
			at = quoted(out, field, at + 2, 1);
		} else if (*at == '{') {
			at = nested(out, field, at + 1);
		} else {
			varint(out, field << 3);
			varint(out, strtoull(at, &end, 10));
			if (end == at)
				wrong(at);
			at = end;
		}
	}
}

struct pb pb_of(const char *text)
{
	struct pb pb = { 0 };
	FILE *out = open_memstream((char **)&pb.bytes, &pb.size);

	if (*fields(out, text))
		wrong(text);
	fclose(out);
	return pb;
}

struct pb pb_format(const char *format, ...)
{
	char *text = NULL;
	struct pb pb;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	pb = pb_of(text);
	free(text);
	return pb;
}

struct pb pb_hex(const char *hex)
{
	struct pb pb = { 0 };
	FILE *out = open_memstream((char **)&pb.bytes, &pb.size);

	hex_write(out, hex, strlen(hex));
	fclose(out);
	return pb;
}

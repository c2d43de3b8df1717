/*
 * fuzz_log_format: whatever a peer, a pod or a file named, an event is one line of printable text
 * that ends with its only newline.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "log_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* @allowed is the one control character that may be there; any other: none. Not measured: its loops
 * would cost more than what is looked for. */
__attribute__((no_sanitize("coverage"))) static void check_line(const char *line, size_t len,
                                                                char allowed)
{
	assert(len > 0 && len <= LOG_LINE_BYTES && line[len - 1] == '\n');
	for (size_t i = 0; i + 1 < len; i++)
		assert((unsigned char)line[i] >= ' ' ? line[i] != 127 : line[i] == allowed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = calloc(1, len + 1), out[LOG_LINE_BYTES];
	size_t n;

	memcpy(text, bytes, len);

	const struct log_field fields[] = {
		{ "a", LOG_TEXT, text, 0 },
		{ "b", LOG_BARE, text, 0 },
		{ "c", LOG_NUMBER, NULL, len },
	};
	struct log_event with_text = { (int64_t)len, LOG_WARN, "scope", text, text, NULL, 0 };
	struct log_event with_fields = { (int64_t)len, LOG_WARN, text, "message", NULL, fields, 3 };

	check_line(out, log_format_plain(&with_text, out), '\t');
	check_line(out, log_format_plain(&with_fields, out), '\t');
	n = log_format_json(&with_text, out);
	check_line(out, n, '{');
	assert(out[0] == '{' && out[n - 2] == '}');
	n = log_format_json(&with_fields, out);
	check_line(out, n, '{');
	assert(out[0] == '{' && out[n - 2] == '}');
	free(text);
	return 0;
}

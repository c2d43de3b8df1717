/*
 * fuzz_http: no bytes make the reader of request heads do anything but understand or refuse them,
 * and what it understood lies inside of the head, as words.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_word(const char *head, size_t len, const char *word)
{
	assert(word >= head && word < head + len);
	assert(memchr(word, '\0', (size_t)(head + len - word)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct http_request request = { 0 };
	char *copy;
	int n;

	if (len > HTTP_HEAD_MAX)
		return 0;
	copy = malloc(len ? len : 1);
	memcpy(copy, bytes, len);
	n = http_head_parse(copy, len, &request);
	assert(n <= (int)len && n > -600 && (n >= 0 || n <= -400));
	if (n > 0) {
		check_word(copy, len, request.method);
		check_word(copy, len, request.path);
		assert(*request.method && *request.path == '/');
		assert(request.params <= HTTP_PARAMS_MAX);
		for (size_t i = 0; i < request.params; i++) {
			check_word(copy, len, request.param[i].name);
			/* A parameter without '=' has a value of nobody's: "". */
			if (*request.param[i].value)
				check_word(copy, len, request.param[i].value);
		}
	}
	free(copy);
	return 0;
}

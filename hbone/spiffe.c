/*
 * spiffe: the one form of SPIFFE URI that the mesh knows (reference/datapath 1.4).
 */
#include <string.h>

#include <hbone/tls.h>

#define SCHEME     "spiffe://"
#define SCHEME_LEN (sizeof(SCHEME) - 1)
#define SEGMENTS   5 /* <td>/ns/<ns>/sa/<sa> */

struct segment {
	const char *text;
	size_t len;
};

static bool segment_is(const struct segment *segment, const char *word)
{
	return segment->len == strlen(word) && memcmp(segment->text, word, segment->len) == 0;
}

bool hb_spiffe_is_valid(const char *uri, size_t len)
{
	struct segment segments[SEGMENTS] = { { NULL, 0 } };
	size_t count = 0;

	if (len < SCHEME_LEN || memcmp(uri, SCHEME, SCHEME_LEN) != 0)
		return false;

	segments[0].text = uri + SCHEME_LEN;
	for (const char *at = uri + SCHEME_LEN; at < uri + len; at++) {
		unsigned char c = (unsigned char)*at;

		/* No URI has these (RFC 3986 2), a NUL would end our strings early, and a line
		 * end would forge log lines. */
		if (c <= ' ' || c >= 0x7f)
			return false;
		if (c != '/') {
			segments[count].len++;
			continue;
		}
		if (++count == SEGMENTS)
			return false;
		segments[count].text = at + 1;
	}
	return count == SEGMENTS - 1 && segment_is(&segments[1], "ns") &&
	       segment_is(&segments[3], "sa");
}

size_t hb_spiffe_trust_domain(const char *uri, const char **ret_start)
{
	const char *start = uri + SCHEME_LEN;

	*ret_start = start;
	return (size_t)(strchr(start, '/') - start);
}

/*
 * fuzz_baggage: what is read of baggage lies inside of its lines and within the caps, and what is
 * said of it is read as the same. Lines end with '\n'.
 */
#include <assert.h>
#include <string.h>

#include <hbone/headers.h>

#define LINES_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const size_t fields[] = {
	offsetof(struct hb_baggage, cluster),  offsetof(struct hb_baggage, ns),
	offsetof(struct hb_baggage, workload), offsetof(struct hb_baggage, service),
	offsetof(struct hb_baggage, version),  offsetof(struct hb_baggage, region),
	offsetof(struct hb_baggage, zone),
};

static struct hb_span field(const struct hb_baggage *baggage, size_t i)
{
	struct hb_span span;

	memcpy(&span, (const char *)baggage + fields[i], sizeof(span));
	return span;
}

static size_t split(const char *text, size_t len, struct hb_span lines[LINES_MAX])
{
	size_t count = 0;

	while (count < LINES_MAX) {
		const char *end = len ? memchr(text, '\n', len) : NULL;

		lines[count] = (struct hb_span){ text, end ? (size_t)(end - text) : len };
		count++;
		if (!end)
			break;
		len -= (size_t)(end + 1 - text);
		text = end + 1;
	}
	return count;
}

/* Blanks may be read but are not said. */
static bool has_blank(struct hb_span span)
{
	for (size_t i = 0; i < span.len; i++)
		if (span.text[i] == ' ' || span.text[i] == '\t')
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct hb_span lines[LINES_MAX], line;
	size_t count = split((const char *)bytes, len, lines);
	struct hb_baggage baggage, again;
	char out[HB_BAGGAGE_SIZE];
	int err = hb_baggage_parse(lines, count, &baggage);

	assert(err == 0 || err == -EINVAL);
	if (err)
		return 0;
	line = hb_span(hb_baggage_format(&baggage, out));
	assert(line.len < HB_BAGGAGE_SIZE);
	assert(hb_baggage_parse(&line, 1, &again) == 0);
	for (size_t i = 0; i < HB_ARRAY_LEN(fields); i++) {
		struct hb_span a = field(&baggage, i), b = field(&again, i);

		assert(a.len <= HB_BAGGAGE_VALUE_MAX);
		if (a.len)
			assert(a.text >= (const char *)bytes &&
			       a.text + a.len <= (const char *)bytes + len);
		if (has_blank(a))
			assert(b.len == 0);
		else
			assert(a.len == b.len && (!a.len || !memcmp(a.text, b.text, a.len)));
	}
	if (again.workload.len)
		assert(baggage.type == again.type);
	return 0;
}

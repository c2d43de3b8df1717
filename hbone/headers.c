/*
 * headers: see the header. Views into the text; one table has baggage's keys for both directions.
 */
#include <hbone/headers.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct hb_span hb_span(const char *text)
{
	return (struct hb_span){ text, text ? strlen(text) : 0 };
}

static bool span_is(struct hb_span span, const char *word)
{
	return span.len == strlen(word) && memcmp(span.text, word, span.len) == 0;
}

/* What HTTP libraries give out as text; all else is not read (reference/datapath 1.8). */
static bool is_shown(struct hb_span span)
{
	for (size_t i = 0; i < span.len; i++) {
		unsigned char c = (unsigned char)span.text[i];

		if ((c < ' ' && c != '\t') || c >= 0x7f)
			return false;
	}
	return true;
}

/* It can stand in a value of ours, whose separators are @but. */
static bool is_sayable(struct hb_span span, const char *but)
{
	for (size_t i = 0; i < span.len; i++) {
		unsigned char c = (unsigned char)span.text[i];

		if (c <= ' ' || c >= 0x7f || strchr(but, c))
			return false;
	}
	return span.len > 0;
}

/* Cuts the next piece off the front of @rest. False: none is left. */
static bool next_piece(struct hb_span *rest, char separator, struct hb_span *ret_piece)
{
	const char *end;

	if (!rest->text)
		return false;
	end = rest->len ? memchr(rest->text, separator, rest->len) : NULL;
	*ret_piece = (struct hb_span){ rest->text, end ? (size_t)(end - rest->text) : rest->len };
	if (end)
		*rest = (struct hb_span){ end + 1, rest->len - ret_piece->len - 1 };
	else
		*rest = (struct hb_span){ NULL, 0 };
	return true;
}

/* ---- baggage ---- */

#define AT(field) offsetof(struct hb_baggage, field)
#define ANY_TYPE  -1

/* clang-format off */
static const struct baggage_key {
	const char *key;
	size_t offset;
	int type; /* of the workload it names */
} keys[] = {
	{ "k8s.cluster.name", AT(cluster), ANY_TYPE },
	{ "k8s.namespace.name", AT(ns), ANY_TYPE },
	{ "k8s.deployment.name", AT(workload), HB_WORKLOAD_DEPLOYMENT },
	{ "k8s.cronjob.name", AT(workload), HB_WORKLOAD_CRONJOB },
	{ "k8s.pod.name", AT(workload), HB_WORKLOAD_POD },
	{ "k8s.job.name", AT(workload), HB_WORKLOAD_JOB },
	{ "service.name", AT(service), ANY_TYPE },
	{ "service.version", AT(version), ANY_TYPE },
	{ "cloud.region", AT(region), ANY_TYPE },
	{ "cloud.availability_zone", AT(zone), ANY_TYPE },
};
/* clang-format on */

static const struct hb_span *value_of(const struct hb_baggage *baggage,
                                      const struct baggage_key *key)
{
	return (const struct hb_span *)(const void *)((const char *)baggage + key->offset);
}

const char *hb_baggage_format(const struct hb_baggage *baggage, char out[HB_BAGGAGE_SIZE])
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < HB_ARRAY_LEN(keys); i++) {
		struct hb_span value = *value_of(baggage, &keys[i]);

		if ((keys[i].type != ANY_TYPE && keys[i].type != (int)baggage->type) ||
		    !is_sayable(value, ",="))
			continue;
		/* Seven values of HB_BAGGAGE_VALUE_MAX and their keys fit. */
		len += (size_t)snprintf(
		    out + len, HB_BAGGAGE_SIZE - len, "%s%s=%.*s", len ? "," : "", keys[i].key,
		    (int)hb_min_size(value.len, HB_BAGGAGE_VALUE_MAX), value.text);
	}
	return out;
}

/* One of a line's elements. */
static void read_element(struct hb_span element, struct hb_baggage *baggage)
{
	struct hb_span rest = element, key, value;

	if (!next_piece(&rest, '=', &key) || !next_piece(&rest, '=', &value))
		return;
	value.len = hb_min_size(value.len, HB_BAGGAGE_VALUE_MAX);
	for (size_t i = 0; i < HB_ARRAY_LEN(keys); i++) {
		if (!span_is(key, keys[i].key))
			continue;
		memcpy((char *)baggage + keys[i].offset, &value, sizeof(value));
		if (keys[i].type != ANY_TYPE)
			baggage->type = (enum hb_workload_type)keys[i].type;
	}
}

int hb_baggage_parse(const struct hb_span *lines, size_t count, struct hb_baggage *ret_baggage)
{
	struct hb_baggage baggage = { .type = HB_WORKLOAD_DEPLOYMENT };

	for (size_t i = 0; i < count; i++) {
		struct hb_span rest = lines[i], element;

		if (!is_shown(lines[i]))
			return -EINVAL;
		while (next_piece(&rest, ',', &element))
			read_element(element, &baggage);
	}
	*ret_baggage = baggage;
	return 0;
}

/* ---- forwarded ---- */

const char *hb_forwarded_format(const struct hb_addr *src, const char *host,
                                char out[HB_FORWARDED_SIZE])
{
	struct hb_span name = hb_span(host);
	char addr[HB_ADDR_STRLEN];

	hb_addr_format(src, addr, sizeof(addr));
	if (name.len <= HB_HOST_MAX && is_sayable(name, ";,\""))
		snprintf(out, HB_FORWARDED_SIZE, "for=\"%s\";host=%s", addr, host);
	else
		snprintf(out, HB_FORWARDED_SIZE, "for=\"%s\"", addr);
	return out;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct hb_span trim(struct hb_span span)
{
	for (; span.len && is_blank(span.text[0]); span.len--)
		span.text++;
	while (span.len && is_blank(span.text[span.len - 1]))
		span.len--;
	return span;
}

struct hb_span hb_forwarded_host(const char *text, size_t len)
{
	static const char host[] = "host=";
	struct hb_span rest = { text, len }, element;

	if (!is_shown(rest))
		return (struct hb_span){ NULL, 0 };
	while (next_piece(&rest, ';', &element)) {
		element = trim(element);
		if (element.len < strlen(host) || memcmp(element.text, host, strlen(host)) != 0)
			continue;
		element.text += strlen(host);
		element.len -= strlen(host);
		if (element.len && element.text[0] == '"') {
			element.text++;
			element.len--;
		}
		if (element.len && element.text[element.len - 1] == '"')
			element.len--;
		if (element.len == 0 || element.len > HB_HOST_MAX)
			break;
		return element;
	}
	return (struct hb_span){ NULL, 0 };
}

/* ---- traceparent ---- */

static void hex_format(const uint8_t *bytes, size_t count, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_parse(struct hb_span text, uint8_t *ret_bytes, size_t count)
{
	if (text.len != 2 * count)
		return false;
	for (size_t i = 0; i < count; i++) {
		int high = digit_of(text.text[2 * i]), low = digit_of(text.text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

const char *hb_traceparent_format(const struct hb_traceparent *parent,
                                  char out[HB_TRACEPARENT_LEN + 1])
{
	memcpy(out, "00-", 3);
	hex_format(parent->trace_id, sizeof(parent->trace_id), out + 3);
	out[35] = '-';
	hex_format(parent->parent_id, sizeof(parent->parent_id), out + 36);
	out[52] = '-';
	hex_format(&parent->flags, 1, out + 53);
	out[HB_TRACEPARENT_LEN] = '\0';
	return out;
}

int hb_traceparent_parse(const char *text, size_t len, struct hb_traceparent *ret_parent)
{
	static const uint8_t zero[16];
	struct hb_span rest = { text, len }, piece[4];
	struct hb_traceparent parent;
	uint8_t version;

	if (len != HB_TRACEPARENT_LEN)
		return -EINVAL;
	/* The right length with too few dashes has brought others down (reference/datapath L25). */
	for (size_t i = 0; i < HB_ARRAY_LEN(piece); i++)
		if (!next_piece(&rest, '-', &piece[i]))
			return -EINVAL;
	if (!hex_parse(piece[0], &version, 1) || version == 0xff ||
	    !hex_parse(piece[1], parent.trace_id, sizeof(parent.trace_id)) ||
	    !hex_parse(piece[2], parent.parent_id, sizeof(parent.parent_id)) ||
	    !hex_parse(piece[3], &parent.flags, 1))
		return -EINVAL;
	if (memcmp(parent.trace_id, zero, sizeof(parent.trace_id)) == 0 ||
	    memcmp(parent.parent_id, zero, sizeof(parent.parent_id)) == 0)
		return -EINVAL;
	*ret_parent = parent;
	return 0;
}

/* ---- x-forwarded-network ---- */

bool hb_network_differs(const char *said, size_t len, const char *own)
{
	if (!is_shown((struct hb_span){ said, len }))
		return false;
	return len != strlen(own) || (len > 0 && strncasecmp(said, own, len) != 0);
}

/*
 * tunnel: what a CONNECT of HBONE looks like, both ends.
 */
#include <hbone/tunnel.h>

#include <stdio.h>
#include <string.h>

#define BAGGAGE_LINES_MAX 32

static size_t add(struct hb_header *headers, size_t count, const char *name, const char *value)
{
	headers[count] = (struct hb_header){ name, value, strlen(name), strlen(value) };
	return count + 1;
}

struct hb_stream *hb_tunnel_open(struct hb_h2 *h2, const struct hb_tunnel_request *request)
{
	struct hb_header headers[6];
	size_t n = 0;

	/* In ztunnel's order (reference/datapath 10, Outbound). */
	n = add(headers, n, ":method", "CONNECT");
	n = add(headers, n, ":authority", request->authority);
	n = add(headers, n, "baggage", request->baggage ? request->baggage : "");
	if (request->forwarded && request->forwarded[0])
		n = add(headers, n, "forwarded", request->forwarded);
	if (request->traceparent && request->traceparent[0])
		n = add(headers, n, "traceparent", request->traceparent);
	if (request->network)
		n = add(headers, n, "x-forwarded-network", request->network);
	return hb_h2_request(h2, headers, n);
}

static int host_parse(const char *text, size_t len, struct hb_tunnel_authority *ret)
{
	const char *colon = memrchr(text, ':', len);
	uint32_t port = 0;
	size_t digits;

	if (!colon || colon == text)
		return -EINVAL;
	digits = len - (size_t)(colon + 1 - text);
	if (digits == 0 || digits > 5 || memchr(text, '[', len) || memchr(text, ']', len) ||
	    memchr(text, ':', (size_t)(colon - text)))
		return -EINVAL;
	for (size_t i = 0; i < digits; i++) {
		if (colon[1 + i] < '0' || colon[1 + i] > '9')
			return -EINVAL;
		port = port * 10 + (uint32_t)(colon[1 + i] - '0');
	}
	if (port > UINT16_MAX)
		return -EINVAL;
	ret->is_ip = false;
	ret->host = text;
	ret->host_len = (size_t)(colon - text);
	ret->port = (uint16_t)port;
	return 0;
}

int hb_tunnel_authority_parse(const char *text, size_t len, struct hb_tunnel_authority *ret)
{
	struct hb_tunnel_authority authority = { .is_ip = true };

	if (hb_addr_parse(text, len, &authority.addr) == 0) {
		/* Peers never write IPv4 mapped; as a second name for a pod it is refused
		 * (reference/datapath 10, Inbound). */
		if (text[0] == '[' && hb_ip_is_v4(&authority.addr.ip))
			return -EINVAL;
		authority.port = authority.addr.port;
	} else if (host_parse(text, len, &authority) < 0) {
		return -EINVAL;
	}
	*ret = authority;
	return 0;
}

int hb_tunnel_request_parse(struct hb_stream *stream, struct hb_tunnel_authority *ret)
{
	const struct hb_header *method = hb_h2_header(stream, ":method");
	const struct hb_header *authority = hb_h2_header(stream, ":authority");

	if (!method || method->value_len != 7 || memcmp(method->value, "CONNECT", 7) != 0)
		return 400;
	if (!authority ||
	    hb_tunnel_authority_parse(authority->value, authority->value_len, ret) < 0)
		return 400;
	return 0;
}

static struct hb_span value_of(const struct hb_header *line)
{
	return (struct hb_span){ line->value, line->value_len };
}

static void read_baggage(const struct hb_stream *stream, struct hb_tunnel_said *said)
{
	const struct hb_header *line = hb_h2_header(stream, "baggage");
	struct hb_span lines[BAGGAGE_LINES_MAX];
	size_t count = 0;

	for (; line && count < BAGGAGE_LINES_MAX; line = hb_h2_header_next(stream, line))
		lines[count++] = value_of(line);
	said->has_baggage =
	    count > 0 && !line && hb_baggage_parse(lines, count, &said->baggage) == 0;
}

void hb_tunnel_read(const struct hb_stream *stream, struct hb_tunnel_said *ret_said)
{
	const struct hb_header *line;

	*ret_said = (struct hb_tunnel_said){ 0 };
	read_baggage(stream, ret_said);
	line = hb_h2_header(stream, "forwarded");
	for (; line && !ret_said->service.len; line = hb_h2_header_next(stream, line))
		ret_said->service = hb_forwarded_host(line->value, line->value_len);
	line = hb_h2_header(stream, "traceparent");
	ret_said->has_trace =
	    line && !hb_h2_header_next(stream, line) &&
	    hb_traceparent_parse(line->value, line->value_len, &ret_said->trace) == 0;
	line = hb_h2_header(stream, "x-forwarded-network");
	ret_said->has_network = line != NULL;
	if (line)
		ret_said->network = value_of(line);
}

void hb_tunnel_accept(struct hb_stream *stream, const char *baggage)
{
	struct hb_header headers[2];
	size_t n = add(headers, 0, ":status", "200");

	if (baggage)
		n = add(headers, n, "baggage", baggage);
	hb_h2_respond(stream, headers, n, false);
}

void hb_tunnel_refuse(struct hb_stream *stream, int status)
{
	char text[8];
	struct hb_header headers[1];

	snprintf(text, sizeof(text), "%03d", status);
	hb_h2_respond(stream, headers, add(headers, 0, ":status", text), true);
}

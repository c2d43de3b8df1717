/*
 * http: the head of an HTTP/1.1 request from bytes to words.
 */
#include "http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* RFC 9110 5.6.2. */
static bool is_token(const char *text, size_t len)
{
	return len > 0 && strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ") >= len;
}

/*
 * The end of the head in @bytes: behind the first empty line. 0: not there yet. A lone LF ends a
 * line too (RFC 9112 2.2).
 */
static size_t find_end(const char *bytes, size_t len)
{
	const char *end = bytes + len, *lf = bytes;

	while ((lf = memchr(lf, '\n', (size_t)(end - lf)))) {
		lf++;
		if (lf < end && *lf == '\n')
			return (size_t)(lf + 1 - bytes);
		if (end - lf >= 2 && lf[0] == '\r' && lf[1] == '\n')
			return (size_t)(lf + 2 - bytes);
	}
	return 0;
}

/* No control but line ends and tabs may be in a head; NUL least of all. */
static bool is_clean(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\r' && (i + 1 == len || bytes[i + 1] != '\n'))
			return false;
		if ((c < ' ' && c != '\r' && c != '\n' && c != '\t') || c == 127)
			return false;
	}
	return true;
}

/* Cuts the next line off @*rest, without its end. */
static char *cut_line(char **rest)
{
	char *line = *rest, *lf = strchr(line, '\n');

	*rest = lf + 1;
	if (lf > line && lf[-1] == '\r')
		lf--;
	*lf = '\0';
	return line;
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

/* Percent-decoding in place; '+' is a blank. False on a bad escape or one for NUL. */
static bool decode(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (*text != '%') {
			*out++ = *text == '+' ? ' ' : *text;
			continue;
		}
		if (hex(text[1]) < 0 || hex(text[2]) < 0 || (text[1] == '0' && text[2] == '0'))
			return false;
		*out++ = (char)(hex(text[1]) << 4 | hex(text[2]));
		text += 2;
	}
	*out = '\0';
	return true;
}

static int parse_query(char *query, struct http_request *request)
{
	while (query && *query) {
		char *name = strsep(&query, "&"), *value = name;

		if (!*name)
			continue;
		strsep(&value, "=");
		if (!decode(name) || (value && !decode(value)))
			return -400;
		if (request->params == HTTP_PARAMS_MAX)
			return -414;
		request->param[request->params].name = name;
		request->param[request->params++].value = value ? value : "";
	}
	return 0;
}

/* Origin form "/path?query", or absolute form, of which the authority says nothing to us. */
static int parse_target(char *target, struct http_request *request)
{
	if (strncasecmp(target, "http://", 7) == 0) {
		target = strchr(target + 7, '/');
		if (!target)
			return -400;
	}
	if (*target != '/' || strchr(target, '#'))
		return -400;
	request->path = strsep(&target, "?");
	return parse_query(target, request);
}

static int parse_request_line(char *line, struct http_request *request)
{
	char *target = strchr(line, ' '), *version;

	if (!target || !is_token(line, (size_t)(target - line)))
		return -400;
	*target++ = '\0';
	version = strchr(target, ' ');
	if (!version || strchr(version + 1, ' '))
		return -400;
	*version++ = '\0';
	if (strncmp(version, "HTTP/", 5) != 0)
		return -400;
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return -505;
	request->method = line;
	return parse_target(target, request);
}

/* RFC 9112 5: a token, a colon, anything; no folding, no blank before the colon. */
static int take_field(const char *line, struct http_request *request)
{
	const char *colon = strchr(line, ':');

	if (!colon || !is_token(line, (size_t)(colon - line)))
		return -400;
	if (strncasecmp(line, "transfer-encoding:", 18) == 0)
		return -501;
	if (strncasecmp(line, "accept:", 7) == 0 && !*request->accept)
		request->accept = colon + 1;
	return 0;
}

int http_head_parse(char *bytes, size_t len, struct http_request *ret_request)
{
	struct http_request request = { .accept = "" };
	size_t skip = 0, end;
	char *rest;
	int err;

	/* RFC 9112 2.2: an empty line in front is forgiven. */
	while (skip + 1 < len && bytes[skip] == '\r' && bytes[skip + 1] == '\n' && skip < 4)
		skip += 2;
	end = find_end(bytes + skip, len - skip);
	if (end == 0)
		return len >= HTTP_HEAD_MAX ? -431 : 0;
	if (!is_clean(bytes + skip, end))
		return -400;
	rest = bytes + skip;
	bytes[skip + end - 1] = '\0'; /* the LF of the empty line: lines before it have their own */
	err = parse_request_line(cut_line(&rest), &request);
	while (!err && *rest && *rest != '\r')
		err = take_field(cut_line(&rest), &request);
	if (err)
		return err;
	*ret_request = request;
	return (int)(skip + end);
}

const char *http_param(const struct http_request *request, const char *name)
{
	for (size_t i = request->params; i > 0; i--)
		if (strcmp(request->param[i - 1].name, name) == 0)
			return request->param[i - 1].value;
	return NULL;
}

const char *http_status_words(int status)
{
	static const struct {
		int status;
		const char *words;
	} rows[] = {
		{ 200, "OK" },
		{ 202, "Accepted" },
		{ 400, "Bad Request" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 414, "URI Too Long" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].status == status)
			return rows[i].words;
	return "Status";
}

size_t http_head_write(char *out, size_t size, int status, const char *type, size_t length,
                       const char *allow)
{
	int n = snprintf(out, size,
	                 "HTTP/1.1 %d %s\r\n"
	                 "%s%s%s"
	                 "Content-Length: %zu\r\n"
	                 "%s%s%s"
	                 "Cache-Control: no-store\r\n"
	                 "X-Content-Type-Options: nosniff\r\n"
	                 "Connection: close\r\n\r\n",
	                 status, http_status_words(status), *type ? "Content-Type: " : "", type,
	                 *type ? "\r\n" : "", length, *allow ? "Allow: " : "", allow,
	                 *allow ? "\r\n" : "");

	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/*
 * grpc_config: what a channel is told.
 */
#include "control/grpc_config.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PORT_OF_HTTPS 443
#define KEEPALIVE_MIN                                                                              \
	15000u /* ms; istiod takes more for an attack (reference/controlplane 2.1)                 \
	        */
#define WINDOW_MAX (64u << 20)

/* ---- the URL ---- */

static bool is_name(const char *host)
{
	size_t label = 0;

	for (; *host; host++) {
		if (*host == '.' && label == 0)
			return false;
		if (*host != '.' && !isalnum((unsigned char)*host) && *host != '-' && *host != '_')
			return false;
		label = *host == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return true;
}

/* Digits alone; -1: it is no port. */
static int port_of(const char *text)
{
	int port = 0;

	if (!*text || strlen(text) > 5)
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		port = port * 10 + (*text - '0');
	}
	return port > 0 && port <= UINT16_MAX ? port : -1;
}

static int bad(char *why, size_t why_size, const char *what)
{
	snprintf(why, why_size, "%s", what);
	return -EINVAL;
}

int grpc_target_parse(const char *url, struct grpc_target *ret_target, char *why, size_t why_size)
{
	struct grpc_target target = { .addr.port = PORT_OF_HTTPS };
	const char *host = url, *end;
	char port[8] = "";
	size_t len;

	if (strncmp(url, "http://", 7) == 0)
		return bad(why, why_size, "plain text is not spoken, expected https://");
	if (strncmp(url, "https://", 8) == 0)
		host += 8;
	len = strcspn(host, "/?#");
	if (host[len] != '\0' && strcmp(host + len, "/") != 0)
		return bad(why, why_size, "a path has no meaning here, expected https://host:port");
	end = *host == '[' ? strchr(host, ']') : NULL;
	if (*host == '[' && (!end || end >= host + len))
		return bad(why, why_size, "an address without its closing bracket");
	end = end ? end + 1 : host + strcspn(host, ":/?#");
	if (*end == ':') {
		if ((size_t)(host + len - end) > sizeof(port))
			return bad(why, why_size, "the port is not 1 to 65535");
		memcpy(port, end + 1, (size_t)(host + len - end) - 1);
		if (port_of(port) < 0)
			return bad(why, why_size, "the port is not 1 to 65535");
		target.addr.port = (uint16_t)port_of(port);
	} else if (end != host + len) {
		return bad(why, why_size, "expected https://host:port");
	}
	if (*host == '[')
		host++, end--;
	if (end == host || end - host > GRPC_HOST_MAX)
		return bad(why, why_size, "the host has to have 1 to 253 characters");
	memcpy(target.host, host, (size_t)(end - host));
	target.is_address = hb_ip_parse(target.host, (size_t)(end - host), &target.addr.ip) == 0;
	if (!target.is_address && (*end == ']' || !is_name(target.host)))
		return bad(why, why_size, "the host is neither a name nor an address");
	snprintf(target.authority, sizeof(target.authority), *end == ']' ? "[%s]:%u" : "%s:%u",
	         target.host, target.addr.port);
	*ret_target = target;
	return 0;
}

/* ---- headers ---- */

static bool is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* RFC 9113 8.2: what belongs to the connection, and what gRPC says itself. */
static bool is_reserved(const char *name)
{
	static const char *const names[] = { "connection", "keep-alive",        "proxy-connection",
		                             "te",         "transfer-encoding", "upgrade",
		                             "host",       "content-type",      "content-length" };

	for (size_t i = 0; i < HB_ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return strncmp(name, "grpc-", 5) == 0;
}

static bool is_value(const char *value)
{
	size_t len = strlen(value);

	if (len && (isblank((unsigned char)value[0]) || isblank((unsigned char)value[len - 1])))
		return false;
	for (; *value; value++)
		if (((unsigned char)*value < ' ' && *value != '\t') || *value == '\x7f')
			return false;
	return true;
}

static int add_header(struct grpc_settings *settings, const struct grpc_header *header, char *why,
                      size_t why_size)
{
	char *name = strdup(header->name), *value = strdup(header->value);
	bool ok = name && *name;

	if (!name || !value) {
		free(name);
		free(value);
		return bad(why, why_size, "no memory");
	}
	for (char *c = name; *c; c++) {
		ok = ok && is_token_char(*c);
		*c = (char)tolower((unsigned char)*c);
	}
	if (!ok || is_reserved(name))
		snprintf(why, why_size, "\"%.64s\" cannot be the name of a header here",
		         ok ? name : "?");
	else if (!(ok = is_value(value)))
		snprintf(why, why_size, "the header %.64s has a value with control characters",
		         name);
	ok = ok && !is_reserved(name);
	settings->names[settings->headers_count] = name;
	settings->values[settings->headers_count++] = value;
	return ok ? 0 : -EINVAL;
}

/* ---- all of it ---- */

static bool is_given(const char *text)
{
	return text && *text;
}

static bool names_file(const char *text)
{
	struct stat st;

	return text[0] == '/' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0 ||
	       stat(text, &st) == 0;
}

/* NULL: no memory, or nothing to copy, which @ok keeps apart. */
static char *copy(const char *text, bool *ok)
{
	char *own = is_given(text) ? strdup(text) : NULL;

	*ok = *ok && (own || !is_given(text));
	return own;
}

static uint32_t or_else(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

static int check_numbers(const struct grpc_settings *s, char *why, size_t why_size)
{
	if (s->keepalive_ms < KEEPALIVE_MIN)
		return bad(why, why_size, "a PING oftener than every 15 s is taken for an attack");
	if (s->window < HB_H2_WINDOW_FIRST || s->window > WINDOW_MAX)
		return bad(why, why_size, "the window has to be 256 KiB to 64 MiB");
	return 0;
}

static int take_headers(struct grpc_settings *s, const struct grpc_channel_config *config,
                        char *why, size_t why_size)
{
	int err = 0;

	if (config->headers_count > GRPC_HEADERS_MAX)
		return bad(why, why_size, "there are more than 32 headers to add");
	s->names = calloc(GRPC_HEADERS_MAX, sizeof(*s->names));
	s->values = calloc(GRPC_HEADERS_MAX, sizeof(*s->values));
	if (!s->names || !s->values)
		return bad(why, why_size, "no memory");
	for (size_t i = 0; i < config->headers_count && err == 0; i++)
		err = add_header(s, &config->headers[i], why, why_size);
	return err;
}

static int fill(struct grpc_settings *s, const struct grpc_channel_config *config, char *why,
                size_t why_size)
{
	char clause[160];
	bool ok = true;
	int err;

	err = grpc_target_parse(is_given(config->url) ? config->url : "", &s->target, clause,
	                        sizeof(clause));
	if (err < 0) {
		snprintf(why, why_size, "%.300s: %s",
		         is_given(config->url) ? config->url : "the URL", clause);
		return err;
	}
	s->roots = copy(config->roots, &ok);
	s->alt_host = copy(config->alt_host, &ok);
	s->token = copy(config->token, &ok);
	s->cluster_id = copy(config->cluster_id, &ok);
	if (!ok)
		return bad(why, why_size, "no memory");
	if (!s->roots)
		return bad(why, why_size, "no roots are given for the server's certificate");
	s->token_is_path = s->token && names_file(s->token);
	if (s->token && !s->token_is_path && !is_value(s->token))
		return bad(why, why_size, "the token has characters that no header may have");
	if (s->cluster_id && !is_value(s->cluster_id))
		return bad(why, why_size, "the cluster id has characters that no header may have");
	s->profile = (struct hb_tls_profile){ .tls12 = config->tls12, .pqc = config->pqc };
	s->connect_ms = or_else(config->connect_ms, 5000);
	s->handshake_ms = or_else(config->handshake_ms, 5000);
	s->keepalive_ms = or_else(config->keepalive_ms, 30000);
	s->keepalive_timeout_ms = or_else(config->keepalive_timeout_ms, 10000);
	s->window = or_else(config->window, 4u << 20);
	s->resolver = config->resolver;
	if (!s->target.is_address && !s->resolver.resolve)
		return bad(why, why_size, "a host name cannot be looked up here");
	err = check_numbers(s, why, why_size);
	return err < 0 ? err : take_headers(s, config, why, why_size);
}

int grpc_settings_init(struct grpc_settings *settings, const struct grpc_channel_config *config,
                       char *why, size_t why_size)
{
	int err;

	*settings = (struct grpc_settings){ 0 };
	err = fill(settings, config, why, why_size);
	if (err < 0)
		grpc_settings_done(settings);
	return err;
}

void grpc_settings_done(struct grpc_settings *settings)
{
	if (settings->token)
		explicit_bzero(settings->token, strlen(settings->token));
	for (size_t i = 0; i < settings->headers_count; i++) {
		free(settings->names[i]);
		free(settings->values[i]);
	}
	free(settings->names);
	free(settings->values);
	free(settings->roots);
	free(settings->alt_host);
	free(settings->token);
	free(settings->cluster_id);
	*settings = (struct grpc_settings){ 0 };
}

int grpc_channel_check(const struct grpc_channel_config *config, char *why, size_t why_size)
{
	struct grpc_settings settings;
	int err = grpc_settings_init(&settings, config, why, why_size);

	if (err == 0)
		grpc_settings_done(&settings);
	return err;
}

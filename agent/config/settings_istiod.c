/*
 * settings_istiod: how the control plane is reached: what holds when nobody says so, and request
 * headers, whose variables have the header's name in theirs (reference/controlplane 2.1, 2.2).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hbone/base.h>

#include "config/settings_table.h"

#define IN_CLUSTER "https://istiod.istio-system.svc:15012"
#define ELSEWHERE  "https://localhost:15012"
#define TOKEN_FILE "./var/run/secrets/tokens/istio-token" /* where the chart mounts it */

static const char *const prefixes[] = { "XDS_HEADER_", "CA_HEADER_" };

/* Of the header whose variable @name begins; -1: it is none. */
static int kind_of(const char *name)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return (int)i;
	return -1;
}

bool setting_is_header(const char *name)
{
	return kind_of(name) >= 0;
}

/* ---- headers ---- */

static bool is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("!#$%&'*+-.^_`|~", name[i]))
			return false;
	return len > 0;
}

static bool is_value(const char *value)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ' || *c == '\x7f')
			return false;
	return *value != ' ' && (!*value || value[strlen(value) - 1] != ' ');
}

/* What it says is never in the sentence: it may be a secret. */
static int add_header(struct setting_texts *texts, struct setting_headers *headers,
                      const char *name, size_t name_len, const char *value, char *why,
                      size_t why_size)
{
	struct setting_header *header = &headers->list[headers->count];
	char lower[128];

	if (!is_name(name, name_len) || name_len >= sizeof(lower)) {
		snprintf(why, why_size, "does not end with the name of a header");
		return -EINVAL;
	}
	if (!is_value(value)) {
		snprintf(why, why_size, "has a value that no header may have");
		return -EINVAL;
	}
	if (headers->count == SETTING_HEADERS_MAX) {
		snprintf(why, why_size, "is one header too many, expected at most %d",
		         SETTING_HEADERS_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < name_len; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	lower[name_len] = '\0';
	header->name = setting_text_add(texts, lower);
	header->value = setting_text_add(texts, value);
	if (!header->name || !header->value) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	headers->count++;
	return 0;
}

int settings_read_headers(struct settings_loaded *loaded, char *const *environ_, char *why,
                          size_t why_size)
{
	struct setting_headers *const all[] = { &loaded->settings.xds_headers,
		                                &loaded->settings.ca_headers };

	for (; environ_ && *environ_; environ_++) {
		int kind = kind_of(*environ_), err;
		size_t len = strcspn(*environ_, "="), skip;
		char sentence[128];

		if (kind < 0 || !(*environ_)[len])
			continue;
		skip = strlen(prefixes[kind]);
		err = add_header(&loaded->texts, all[kind], *environ_ + skip, len - skip,
		                 *environ_ + len + 1, sentence, sizeof(sentence));
		if (err) {
			snprintf(why, why_size, "%.*s: %s", (int)hb_min_size(len, 200), *environ_,
			         sentence);
			setting_one_line(why);
			return err;
		}
	}
	return 0;
}

/* ---- what nobody has said ---- */

static const struct setting_source *source_of(const struct settings_loaded *loaded, size_t offset)
{
	size_t i = 0;

	while (setting_rows[i].offset != offset)
		i++;
	return &loaded->sources[i];
}

/*
 * An agent that was given its mesh as a file, outside of a cluster, is not made to look for istiod
 * on its own machine. ztunnel does so.
 */
static const char *default_address(const struct settings *s, bool in_cluster)
{
	if (s->mode == MODE_STANDALONE)
		return "";
	if (in_cluster)
		return IN_CLUSTER;
	return *s->mesh_file || *s->mesh_text ? "" : ELSEWHERE;
}

void settings_derive_istiod(struct settings_loaded *loaded, bool in_cluster)
{
	struct settings *s = &loaded->settings;
	const char *address = default_address(s, in_cluster);

	if (source_of(loaded, offsetof(struct settings, xds_address))->from == SETTING_DEFAULT)
		s->xds_address = address;
	if (source_of(loaded, offsetof(struct settings, ca_address))->from == SETTING_DEFAULT)
		s->ca_address = address;
	if (source_of(loaded, offsetof(struct settings, auth_token))->from == SETTING_DEFAULT &&
	    access(TOKEN_FILE, F_OK) == 0)
		s->auth_token = TOKEN_FILE;
}

/*
 * settings_istiod: what istiod's address and the token are when nobody set them (reference/
 * controlplane 2.1, 2.2).
 */
#include <unistd.h>

#include <errno.h>

#include "config/settings_table.h"

#define IN_CLUSTER "https://istiod.istio-system.svc:15012"
#define ELSEWHERE  "https://localhost:15012"
#define TOKEN      "./var/run/secrets/tokens/istio-token"

static bool is_default(const struct settings_loaded *loaded, size_t offset)
{
	for (size_t i = 0; i < setting_rows_count; i++)
		if (setting_rows[i].offset == offset)
			return loaded->sources[i].from == SETTING_DEFAULT;
	return false;
}

int settings_derive_istiod(struct settings_loaded *loaded, bool in_cluster)
{
	struct settings *s = &loaded->settings;

	/* Standalone there need be no istiod: it is asked only where it is named. */
	if (s->mode != MODE_STANDALONE &&
	    is_default(loaded, offsetof(struct settings, xds_address)))
		s->xds_address =
		    setting_text_add(&loaded->texts, in_cluster ? IN_CLUSTER : ELSEWHERE);
	if (is_default(loaded, offsetof(struct settings, auth_token)) && access(TOKEN, F_OK) == 0)
		s->auth_token = setting_text_add(&loaded->texts, TOKEN);
	return s->xds_address && s->auth_token ? 0 : -ENOMEM;
}

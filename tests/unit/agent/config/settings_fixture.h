/*
 * settings_fixture: loads settings from text, as if it were a file named settings.yaml.
 */
#pragma once

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/settings.h"

#define ENVIRONMENT_MAX 8

/* @text NULL: no file. The directory of the file is taken off the front of @why. */
static int load_text(const char *text, const char *const *variables, struct settings **ret_settings,
                     char *why, size_t why_size)
{
	char dir[] = "/tmp/culvert-settings-XXXXXX", path[64], said[1024] = "";
	char *environment[ENVIRONMENT_MAX + 1] = { NULL };
	size_t prefix;
	int err;

	for (size_t i = 0; variables && variables[i]; i++) {
		ck_assert_uint_lt(i, ENVIRONMENT_MAX);
		environment[i] = strdup(variables[i]);
	}
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/settings.yaml", dir);
	prefix = strlen(dir) + 1;
	if (text) {
		FILE *out = fopen(path, "w");

		ck_assert_ptr_nonnull(out);
		fputs(text, out);
		fclose(out);
	}
	err = settings_load(text ? path : NULL, environment, ret_settings, said, sizeof(said));
	snprintf(why, why_size, "%s", strncmp(said, dir, prefix - 1) == 0 ? said + prefix : said);
	(void)unlink(path);
	rmdir(dir);
	for (size_t i = 0; i < ENVIRONMENT_MAX; i++)
		free(environment[i]);
	return err;
}

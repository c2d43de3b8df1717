/*
 * fuzz_settings: any settings file and environment load within their ranges, or are refused in one
 * sentence that names the place. The file's text comes first; after a NUL each piece up to the next
 * is a variable.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <hbone/base.h>

#include "config/settings.h"

#define VARIABLES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* The file is one of memory, the same for all inputs. */
static const char *file_with(const void *text, size_t len)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("settings", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	assert(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len);
	return path;
}

static void count_unknown(const char *name, void *arg)
{
	assert(*name);
	++*(size_t *)arg;
}

/* The dump is most of the time: one input in eight has it. */
static void check_dump(const struct settings *settings)
{
	char *dump = settings_dump(settings);

	assert(dump && *dump == '{');
	free(dump);
}

static void check_loaded(const struct settings *settings)
{
	assert(settings->workers >= 1 && settings_workers_on(settings, 1) >= 1);
	assert(settings->stream_window > 0 && settings->connection_window > 0);
	assert(*settings->state_dir && *settings->admin_socket);
	for (size_t i = 0; i < settings->pods_count; i++)
		assert(settings->pods[i].name && *settings->pods[i].netns == '/');
}

static void load(const char *path, char *const *environment, bool dumped)
{
	struct settings *settings = NULL;
	char why[1024] = "?";
	size_t unknown = 0;
	int err = settings_load(path, environment, &settings, why, sizeof(why));

	assert((err == 0) == (settings != NULL));
	if (err)
		assert(*why && !strchr(why, '\n') && strchr(why, ':'));
	else
		check_loaded(settings);
	if (settings && dumped)
		check_dump(settings);
	settings_unknown_each(environment, count_unknown, &unknown);
	assert(unknown <= VARIABLES_MAX);
	settings_free(settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *environment[VARIABLES_MAX + 1] = { NULL };
	const uint8_t *end = len ? memchr(bytes, 0, len) : NULL, *at = end;
	const char *path = file_with(bytes, end ? (size_t)(end - bytes) : len);

	for (size_t i = 0; at && i < VARIABLES_MAX; i++) {
		size_t left = (size_t)(bytes + len - ++at);

		environment[i] = strndup((const char *)at, left);
		assert(environment[i]);
		at = left ? memchr(at, 0, left) : NULL;
	}
	/* No file at all, so that the environment is reached whatever the text. */
	load(end == bytes ? NULL : path, environment, len % 8 == 0);
	for (size_t i = 0; environment[i]; i++)
		free(environment[i]);
	return 0;
}

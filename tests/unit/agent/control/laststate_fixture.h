/*
 * laststate_fixture: a folder for a state, and short ways to put in, read back and look.
 */
#pragma once

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hbone/base.h>

#include "control/laststate.h"

#define T0 1700000000000u /* Unix time, ms */
#define A  "type.googleapis.com/istio.workload.Address"
#define P  "type.googleapis.com/istio.security.Authorization"

static char dir[] = "/tmp/culvert-state-XXXXXX", path[64], aside[80], next[80];

static inline void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/mesh.state", dir);
	snprintf(aside, sizeof(aside), "%s.aside", path);
	snprintf(next, sizeof(next), "%s.new", path);
}

static inline void teardown(void)
{
	unlink(path);
	unlink(aside);
	unlink(next);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else is left in it */
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
}

static inline int put(struct laststate *state, const char *type, const char *name,
                      const char *version, const void *value, size_t size)
{
	struct laststate_record record = { type, name, version, value, (uint32_t)size };

	return laststate_put(state, &record);
}

static inline void put_text(struct laststate *state, const char *name, const char *value)
{
	ck_assert_int_eq(put(state, A, name, "v", value, strlen(value)), 0);
}

static inline struct laststate *open_of(const char *source)
{
	struct laststate *state = laststate_open(dir, "mesh", source);

	ck_assert_ptr_nonnull(state);
	return state;
}

static inline struct laststate *open_it(void)
{
	return open_of("istiod:15012 of cluster Kubernetes");
}

/* "name=value name=value", in the file's order. */
static inline const char *all(struct laststate *state)
{
	static char text[4096];
	struct laststate_cursor cursor = { 0 };
	struct laststate_record record;
	size_t len = 0;

	text[0] = '\0';
	while (laststate_next(state, &cursor, &record))
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s=%.*s", len ? " " : "",
		                        record.name, (int)record.size, record.value);
	ck_assert_uint_lt(len, sizeof(text));
	return text;
}

static inline void reopens_as(const char *want)
{
	struct laststate *state = open_it();

	ck_assert_str_eq(all(state), want);
	ck_assert_int_ne(access(aside, F_OK), 0);
	laststate_close(state);
}

static inline size_t read_file(const char *from, uint8_t *bytes, size_t size)
{
	FILE *file = fopen(from, "r");
	size_t len;

	ck_assert_ptr_nonnull(file);
	len = fread(bytes, 1, size, file);
	fclose(file);
	return len;
}

static inline void write_file(const uint8_t *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

/*
 * mesh_text: a snapshot from YAML that stands in a test, so that a case is what a user would write.
 */
#pragma once

#include <check.h>
#include <string.h>

#include "control/meshfile.h"

static inline struct snapshot *mesh_from(const char *text)
{
	struct snapshot *s = NULL;
	char why[1024] = "";

	ck_assert_msg(meshfile_parse("test", text, strlen(text), &s, why, sizeof(why)) == 0, "%s",
	              why);
	return s;
}

static inline struct hb_ip ip_of(const char *text)
{
	struct hb_ip ip;

	ck_assert_msg(hb_ip_parse(text, strlen(text), &ip) == 0, "%s", text);
	return ip;
}

static inline struct hb_addr addr_of(const char *text)
{
	struct hb_addr addr;

	ck_assert_msg(hb_addr_parse(text, strlen(text), &addr) == 0, "%s", text);
	return addr;
}

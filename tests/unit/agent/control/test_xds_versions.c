/*
 * xds_versions: the table against a plain list, through growth, removals and marks; and its bytes.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "control/xds_versions.h"
#include "control/xds_walk.h"

#define NAMES 500

static const char *name_at(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "cluster//Pod/ns/pod-%u", i);
	return name;
}

/* How many pairs there are, each a whole one. */
static size_t pairs_of(const struct xds_versions *versions)
{
	hb_cleanup(hb_free_ptr) uint8_t *bytes = malloc(versions->wire_bytes + 1);
	struct xds_walk walk = { .bytes = bytes, .size = versions->wire_bytes };
	struct xds_field field;
	size_t count = 0;
	int more;

	bytes[versions->wire_bytes] = 0xee;
	xds_versions_encode(versions, bytes);
	ck_assert_uint_eq(bytes[versions->wire_bytes], 0xee);
	while ((more = xds_walk_next(&walk, &field)) == 1) {
		ck_assert_uint_eq(field.number, 5);
		count++;
	}
	ck_assert_int_eq(more, 0);
	return count;
}

START_TEST(against_a_list)
{
	struct xds_versions versions = { 0 };
	bool there[NAMES] = { false };
	size_t count = 0;
	uint32_t random = 1;

	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = (random = random * 1664525u + 1013904223u) >> 8;
		bool add = i % 3 != 0;

		i %= NAMES;
		if (add)
			ck_assert_int_eq(xds_versions_put(&versions, name_at(i),
			                                  step % 2 ? "" : "0123456789abcdef"),
			                 0);
		else
			xds_versions_remove(&versions, name_at(i));
		count += (size_t)add - (size_t)there[i];
		there[i] = add;
		ck_assert_uint_eq(versions.count, count);
		ck_assert_int_eq(xds_versions_has(&versions, name_at(i)), add);
	}
	for (unsigned i = 0; i < NAMES; i++)
		ck_assert_int_eq(xds_versions_has(&versions, name_at(i)), there[i]);
	ck_assert_uint_eq(pairs_of(&versions), count);
	xds_versions_done(&versions);
}
END_TEST

START_TEST(bytes)
{
	/* {5: {1: "n" 2: "v"}} and, of an empty version, {5: {1: "n"}} */
	static const uint8_t with[] = { 0x2a, 6, 0x0a, 1, 'n', 0x12, 1, 'v' };
	static const uint8_t without[] = { 0x2a, 3, 0x0a, 1, 'n' };
	struct xds_versions versions = { 0 };
	uint8_t out[16];

	ck_assert_int_eq(xds_versions_put(&versions, "n", "v"), 0);
	ck_assert_uint_eq(versions.wire_bytes, sizeof(with));
	xds_versions_encode(&versions, out);
	ck_assert_mem_eq(out, with, sizeof(with));
	xds_versions_distrust(&versions);
	ck_assert_uint_eq(versions.wire_bytes, sizeof(without));
	xds_versions_encode(&versions, out);
	ck_assert_mem_eq(out, without, sizeof(without));
	ck_assert_str_eq(xds_versions_get(&versions, "n"), "");
	xds_versions_done(&versions);
}
END_TEST

START_TEST(a_version_too_long)
{
	struct xds_versions versions = { 0 };
	char version[300];

	memset(version, 'v', sizeof(version) - 1);
	version[sizeof(version) - 1] = 0;
	ck_assert_int_eq(xds_versions_put(&versions, "n", version), 0);
	ck_assert_str_eq(xds_versions_get(&versions, "n"), "");
	version[255] = 0;
	ck_assert_int_eq(xds_versions_put(&versions, "n", version), 0);
	ck_assert_str_eq(xds_versions_get(&versions, "n"), version);
	ck_assert_uint_eq(pairs_of(&versions), 1);
	xds_versions_done(&versions);
}
END_TEST

START_TEST(gone_by_marks)
{
	struct xds_versions versions = { 0 };

	for (unsigned i = 0; i < NAMES; i++)
		ck_assert_int_eq(xds_versions_put(&versions, name_at(i), "v"), 0);
	for (unsigned i = 0; i < NAMES; i += 2)
		ck_assert_int_eq(xds_versions_mark_gone(&versions, name_at(i)), 0);
	ck_assert_int_eq(xds_versions_mark_gone(&versions, name_at(2)), 0); /* twice */
	ck_assert_int_eq(xds_versions_mark_gone(&versions, "of nobody"), 0);
	ck_assert_uint_eq(versions.count, NAMES);
	ck_assert_int_eq(xds_versions_put(&versions, name_at(0), "w"), 0); /* and is back */
	xds_versions_commit(&versions);
	ck_assert_uint_eq(versions.count, NAMES / 2 + 1);
	for (unsigned i = 0; i < NAMES; i++)
		ck_assert_int_eq(xds_versions_has(&versions, name_at(i)), i % 2 || i == 0);
	ck_assert_int_eq(xds_versions_mark_gone(&versions, name_at(1)), 0);
	xds_versions_distrust(&versions); /* undone: it stays */
	xds_versions_commit(&versions);
	ck_assert(xds_versions_has(&versions, name_at(1)));
	xds_versions_done(&versions);
}
END_TEST

START_TEST(unseen)
{
	struct xds_versions versions = { 0 };
	size_t at = 0, count = 0;

	for (unsigned i = 0; i < NAMES; i++)
		ck_assert_int_eq(xds_versions_put(&versions, name_at(i), "v"), 0);
	for (unsigned i = 0; i < (unsigned)_i; i++)
		xds_versions_unsee(&versions);
	for (unsigned i = 0; i < NAMES; i += 2)
		xds_versions_see(&versions, name_at(i));
	ck_assert_int_eq(xds_versions_put(&versions, name_at(1), "v"), 0);
	while (at < versions.room)
		count += xds_versions_next_unseen(&versions, &at, 7) != NULL;
	ck_assert_uint_eq(count, NAMES / 2 - 1);
	xds_versions_done(&versions);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_versions");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, against_a_list);
	tcase_add_test(tcase, bytes);
	tcase_add_test(tcase, a_version_too_long);
	tcase_add_test(tcase, gone_by_marks);
	tcase_add_loop_test(tcase, unseen, 255, 259); /* rounds are counted in a byte */
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}

/*
 * newcomers: a crowd pushes out itself, the oldest first, and nobody else.
 */
#include <check.h>
#include <string.h>

#include "proxy/newcomers.h"

#define MANY 4096

static struct newcomers all;
static struct one {
	struct newcomer newcomer;
	unsigned sheds;
} ones[MANY];
static unsigned added, sheds;

static void on_shed(struct newcomer *newcomer)
{
	hb_container_of(newcomer, struct one, newcomer)->sheds++;
	ck_assert_ptr_null(newcomer->all);
	sheds++;
}

static void setup(void)
{
	newcomers_init(&all, 0x1234567);
	memset(ones, 0, sizeof(ones));
	added = sheds = 0;
}

static struct hb_ip ip(const char *text)
{
	struct hb_ip ret;

	ck_assert_int_eq(hb_ip_parse(text, strlen(text), &ret), 0);
	return ret;
}

static struct one *add(const struct hb_ip *from)
{
	struct one *one = &ones[added++];

	one->newcomer.on_shed = on_shed;
	(void)newcomers_add(&all, &one->newcomer, from);
	return one;
}

START_TEST(one_address)
{
	struct hb_ip crowd = ip("10.0.0.1"), other = ip("10.0.0.2");
	struct one *good = add(&other);

	ck_assert_uint_ne(newcomers_group(&all, &crowd), newcomers_group(&all, &other));
	for (unsigned i = 0; i < NEWCOMERS_GROUP_MAX; i++)
		add(&crowd);
	ck_assert_uint_eq(sheds, 0);
	for (unsigned i = 1; i <= 100; i++) {
		add(&crowd);
		ck_assert_uint_eq(sheds, i);
		ck_assert_uint_eq(ones[i].sheds, 1); /* ones[0] is the good one */
	}
	ck_assert_uint_eq(good->sheds, 0);
	ck_assert_uint_eq(all.count, NEWCOMERS_GROUP_MAX + 1);
	/* Who has proven who it is makes room. */
	newcomers_remove(&ones[200].newcomer);
	newcomers_remove(&ones[200].newcomer);
	add(&crowd);
	ck_assert_uint_eq(sheds, 100);
}
END_TEST

START_TEST(in_all)
{
	struct hb_ip from = ip("10.0.0.0"), other = ip("10.9.9.9");
	struct one *good = add(&other);

	/* A hundred addresses, with some more of one of them. */
	while (all.count < NEWCOMERS_MAX) {
		from.b[15] = (uint8_t)(added % 3 ? added % 100 : 7);
		add(&from);
	}
	for (unsigned i = 0; i < 200; i++) {
		unsigned most = 0, before = sheds;

		for (unsigned g = 0; g < NEWCOMERS_GROUPS; g++)
			most = all.groups[g].count > most ? all.groups[g].count : most;
		from.b[15] = (uint8_t)(i % 100);
		add(&from);
		ck_assert_uint_eq(sheds, before + 1);
		ck_assert_uint_eq(all.count, NEWCOMERS_MAX);
		for (unsigned g = 0; g < NEWCOMERS_GROUPS; g++)
			ck_assert_uint_le(all.groups[g].count, most);
	}
	ck_assert_uint_eq(good->sheds, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("newcomers");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, one_address);
	tcase_add_test(tc, in_all);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

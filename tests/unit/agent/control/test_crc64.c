/*
 * crc64: the published check value, sums of parts, and every single bit counts.
 */
#include <check.h>
#include <string.h>

#include "control/crc64.h"

START_TEST(check_value)
{
	/* CRC-64/XZ of the catalogue of parametrised CRC algorithms. */
	ck_assert_uint_eq(crc64(0, "123456789", 9), 0x995dc9bbdf1939fa);
	ck_assert_uint_eq(crc64(0, "", 0), 0);
	for (size_t cut = 0; cut <= 9; cut++)
		ck_assert_uint_eq(crc64(crc64(0, "123456789", cut), "123456789" + cut, 9 - cut),
		                  0x995dc9bbdf1939fa);
}
END_TEST

START_TEST(every_bit_counts)
{
	uint8_t bytes[40] = { 0 };

	for (unsigned bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_uint_ne(crc64(0, bytes, sizeof(bytes)), crc64(0, (uint8_t[40]){ 0 }, 40));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crc64");
	TCase *tc = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, check_value);
	tcase_add_test(tc, every_bit_counts);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

/*
 * laststate: what was put is there after a restart, and files that are not to be trusted are set
 * aside whole.
 */
#include "control/crc64.h"
#include "laststate_fixture.h"

/* ---- restarts ---- */

START_TEST(restored_as_it_was)
{
	struct laststate *state = open_it();
	struct laststate_cursor cursor = { 0 };
	struct laststate_record record;
	struct laststate_report report;
	struct stat st;

	ck_assert_uint_eq(laststate_step(state, T0), LASTSTATE_IDLE);
	ck_assert_int_ne(access(path, F_OK), 0); /* nothing was said, nothing is written */
	ck_assert_int_eq(put(state, A, "c//Pod/n/a", "abc", "\0\1\2", 3), 0);
	ck_assert_int_eq(put(state, P, "n/p", "", "", 0), 0);
	ck_assert_int_eq(put(state, P, "c//Pod/n/a", "other", "x", 1), 0); /* another type */
	ck_assert_uint_eq(laststate_step(state, T0), LASTSTATE_IDLE);
	report = laststate_report(state);
	ck_assert_uint_eq(report.as_of_ms, T0);
	ck_assert_uint_eq(report.restored_as_of_ms, 0);
	laststate_close(state);

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode, S_IFREG | 0600);
	ck_assert_uint_eq((uint64_t)st.st_size, report.bytes);
	state = open_it();
	report = laststate_report(state);
	ck_assert_uint_eq(report.restored_as_of_ms, T0);
	ck_assert_uint_eq(report.records, 3);
	ck_assert(!report.is_dirty);
	ck_assert_int_eq(laststate_next(state, &cursor, &record), 1);
	ck_assert_str_eq(record.type, A);
	ck_assert_str_eq(record.name, "c//Pod/n/a");
	ck_assert_str_eq(record.version, "abc");
	ck_assert_mem_eq(record.value, "\0\1\2", 3);
	ck_assert_uint_eq(record.size, 3);
	ck_assert_int_eq(laststate_next(state, &cursor, &record), 1);
	ck_assert_str_eq(record.type, P);
	ck_assert_str_eq(record.version, "");
	ck_assert_uint_eq(record.size, 0);
	ck_assert_int_eq(laststate_next(state, &cursor, &record), 1);
	ck_assert_int_eq(laststate_next(state, &cursor, &record), 0);
	ck_assert_int_eq(laststate_next(state, &cursor, &record), 0);
	laststate_close(state);
}
END_TEST

START_TEST(limits)
{
	static char text[LASTSTATE_TEXT_MAX + 2], value[LASTSTATE_VALUE_MAX + 1];
	struct laststate *state = open_it();
	char type[16];

	memset(text, 'a', LASTSTATE_TEXT_MAX + 1);
	ck_assert_int_eq(put(state, A, text, "", "", 0), -EINVAL);
	ck_assert_int_eq(put(state, A, "a", text, "", 0), -EINVAL);
	ck_assert_int_eq(put(state, A, "a", "", value, sizeof(value)), -EINVAL);
	ck_assert_uint_eq(laststate_report(state).records, 0);
	text[LASTSTATE_TEXT_MAX] = '\0';
	ck_assert_int_eq(put(state, A, text, text, value, sizeof(value) - 1), 0);
	for (int i = 1; i < LASTSTATE_TYPES_MAX; i++) {
		snprintf(type, sizeof(type), "t%d", i);
		ck_assert_int_eq(put(state, type, "a", "", "", 0), 0);
	}
	ck_assert_int_eq(put(state, "one more", "a", "", "", 0), -ENOSPC);
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	state = open_it();
	ck_assert_uint_eq(laststate_report(state).records, LASTSTATE_TYPES_MAX);
	laststate_close(state);
}
END_TEST

/* ---- files that are not to be trusted ---- */

static size_t small_file(uint8_t *bytes, size_t size)
{
	struct laststate *state = open_it();

	put_text(state, "a", "1");
	put_text(state, "b", "two");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	return read_file(path, bytes, size);
}

static void is_set_aside(const uint8_t *bytes, size_t len, const char *name, size_t number)
{
	static uint8_t found[1024];
	struct laststate *state = open_it();
	struct laststate_report report = laststate_report(state);

	ck_assert_msg(report.records == 0 && report.bytes == LASTSTATE_HEAD_BYTES &&
	                  report.restored_as_of_ms == 0 && report.as_of_ms == 0,
	              "%s %zu: something of it was believed", name, number);
	ck_assert_msg(access(path, F_OK) != 0 && access(aside, F_OK) == 0,
	              "%s %zu: it was not set aside", name, number);
	ck_assert_uint_eq(read_file(aside, found, sizeof(found)), len);
	ck_assert_mem_eq(found, bytes, len);
	ck_assert_int_eq(unlink(aside), 0);
	laststate_close(state);
}

START_TEST(cut_at_every_byte)
{
	uint8_t bytes[1024];
	size_t len = small_file(bytes, sizeof(bytes));

	for (size_t cut = 0; cut < len; cut++) {
		write_file(bytes, cut);
		is_set_aside(bytes, cut, "cut at", cut);
	}
	bytes[len] = 0;
	write_file(bytes, len + 1);
	is_set_aside(bytes, len + 1, "with more after it", len + 1);
	write_file(bytes, len);
	reopens_as("a=1 b=two");
}
END_TEST

START_TEST(every_bit_counts)
{
	uint8_t bytes[1024];
	size_t len = small_file(bytes, sizeof(bytes));

	for (size_t bit = 0; bit < 8 * len; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		write_file(bytes, len);
		is_set_aside(bytes, len, "bit", bit);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

/* Files whose sums are right, made by hand: what else there is to distrust. */
struct made {
	uint8_t bytes[1024];
	size_t len;
	struct laststate_head head;
};

static void made_add(struct made *made, const char *type, const char *name)
{
	struct laststate_record record = { type, name, "", NULL, 0 };
	uint8_t *at = made->bytes + LASTSTATE_HEAD_BYTES + made->head.body_bytes;
	uint64_t sum = laststate_record_encode(&record, at);

	made->head.sum = crc64(made->head.sum, &sum, sizeof(sum));
	made->head.body_bytes += laststate_record_bytes(&record);
	made->head.records++;
}

static void one(struct made *made)
{
	made_add(made, A, "a");
}

static void twice(struct made *made)
{
	made_add(made, A, "a");
	made_add(made, A, "a");
}

static void many_types(struct made *made)
{
	char type[16];

	for (int i = 0; i <= LASTSTATE_TYPES_MAX; i++) {
		snprintf(type, sizeof(type), "t%d", i);
		made_add(made, type, "a");
	}
}

static void more_than_told(struct made *made)
{
	made_add(made, A, "a");
	made->head.records++;
}

/* clang-format off */
static const struct {
	const char *name;
	void (*make)(struct made *made);
	unsigned version, mode;
	bool is_link;
} rows[] = {
	{ "a record twice", twice, 2, 0600, false },
	{ "too many types", many_types, 2, 0600, false },
	{ "fewer records than told", more_than_told, 2, 0600, false },
	{ "the version before", twice, 1, 0600, false },
	{ "another version", twice, 3, 0600, false },
	{ "nobody's word", one, 2, 0600, false },
	{ "others may read it", NULL, 2, 0640, false },
	{ "others may write it", NULL, 2, 0602, false },
	{ "a link", NULL, 2, 0600, true },
};
/* clang-format on */

START_TEST(set_aside)
{
	struct made made = { 0 };
	char target[96];

	if (rows[_i].make) {
		rows[_i].make(&made);
		made.len = LASTSTATE_HEAD_BYTES + made.head.body_bytes;
		laststate_head_encode(&made.head, made.bytes);
		made.bytes[8] = (uint8_t)rows[_i].version;
	} else {
		made.len = small_file(made.bytes, sizeof(made.bytes));
	}
	write_file(made.bytes, made.len);
	ck_assert_int_eq(chmod(path, rows[_i].mode), 0);
	if (rows[_i].is_link) {
		snprintf(target, sizeof(target), "%s.target", path);
		ck_assert_int_eq(rename(path, target), 0);
		ck_assert_int_eq(symlink(target, path), 0);
	}
	is_set_aside(made.bytes, made.len, rows[_i].name, 0);
	if (rows[_i].is_link)
		ck_assert_int_eq(unlink(target), 0);
}
END_TEST

/* A record whose sum is right and whose lengths are not those of its texts. */
START_TEST(texts_have_their_length)
{
	struct laststate_record record = { "t", "abc", "v", (const uint8_t *)"x", 1 }, got;
	uint8_t bytes[128];
	size_t size = laststate_record_bytes(&record), got_size;
	uint64_t sum, got_sum;

	sum = laststate_record_encode(&record, bytes);
	ck_assert_int_eq(laststate_record_decode(bytes, size, &got, &got_size, &got_sum), 0);
	ck_assert_uint_eq(got_sum, sum);
	ck_assert_uint_eq(got_size, size);
	for (unsigned at = 12; at < size - 9; at++) { /* a NUL in a text, or none after it */
		uint8_t was = bytes[at];

		bytes[at] = was ? 0 : 'x';
		sum = crc64(0, bytes, size - 8);
		memcpy(bytes + size - 8, &sum, 8);
		ck_assert_int_eq(laststate_record_decode(bytes, size, &got, &got_size, &got_sum),
		                 -EBADMSG);
		bytes[at] = was;
	}
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *value;
	size_t size;
	const char *chain, *roots, *key; /* NULL: refused */
} certificates[] = {
	{ "three texts", "a\0bc\0d", 7, "a", "bc", "d" },
	{ "empty ones", "\0\0", 3, "", "", "" },
	{ "nothing", "", 0, NULL, NULL, NULL },
	{ "two", "a\0bc", 5, NULL, NULL, NULL },
	{ "four", "a\0b\0c\0d", 8, NULL, NULL, NULL },
	{ "more after them", "a\0b\0c\0d", 7, NULL, NULL, NULL },
	{ "no NUL at the end", "a\0b\0c", 5, NULL, NULL, NULL },
};
/* clang-format on */

START_TEST(certificate_values)
{
	const uint8_t *value = (const uint8_t *)certificates[_i].value;
	struct laststate_certificate got;
	uint8_t again[16];
	int err = laststate_certificate_decode(value, certificates[_i].size, &got);

	ck_assert_msg(err == (certificates[_i].chain ? 0 : -EBADMSG), "%s: %d",
	              certificates[_i].name, err);
	if (err < 0)
		return;
	ck_assert_str_eq(got.chain_pem, certificates[_i].chain);
	ck_assert_str_eq(got.roots_pem, certificates[_i].roots);
	ck_assert_str_eq(got.key_pem, certificates[_i].key);
	ck_assert_uint_eq(laststate_certificate_bytes(&got), certificates[_i].size);
	laststate_certificate_encode(&got, again);
	ck_assert_mem_eq(again, value, certificates[_i].size);
}
END_TEST

START_TEST(why_it_is_refused)
{
	uint8_t bytes[1024] = "something else altogether";
	struct laststate_head head;
	char why[200];

	ck_assert_int_eq(laststate_head_decode(bytes, 25, &head, why, sizeof(why)), -EBADMSG);
	ck_assert_str_eq(why, "it is no such file");
	small_file(bytes, sizeof(bytes));
	ck_assert_int_eq(
	    laststate_head_decode(bytes, LASTSTATE_HEAD_BYTES - 1, &head, why, sizeof(why)),
	    -EBADMSG);
	ck_assert_str_eq(why, "its head is damaged");
	bytes[8] = 7;
	ck_assert_int_eq(
	    laststate_head_decode(bytes, LASTSTATE_HEAD_BYTES, &head, why, sizeof(why)),
	    -EPROTONOSUPPORT);
	ck_assert_str_eq(why, "it is of version 7, and only version 2 is read");
}
END_TEST

/* Of another control plane: its mesh and its certificates are not ours. */
START_TEST(of_another_source)
{
	static char long_one[2 * LASTSTATE_SOURCE_MAX];
	struct laststate *state = open_of("istiod:15012 of cluster one");

	put_text(state, "a", "1");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	state = open_of("istiod:15012 of cluster one");
	ck_assert_str_eq(all(state), "a=1");
	laststate_confirm(state, T0 + LASTSTATE_CONFIRM_MS);
	ck_assert_uint_eq(laststate_step(state, T0 + LASTSTATE_CONFIRM_MS), LASTSTATE_IDLE);
	ck_assert_uint_eq(laststate_report(state).confirmations, 1);
	laststate_close(state);
	state = open_of("istiod:15012 of cluster two");
	ck_assert_str_eq(all(state), "");
	ck_assert_int_eq(access(aside, F_OK), 0);
	ck_assert_int_ne(access(path, F_OK), 0);
	laststate_close(state);
	/* Clipped, and the same again. */
	memset(long_one, 'x', sizeof(long_one) - 1);
	state = open_of(long_one);
	put_text(state, "b", "2");
	ck_assert_int_eq(laststate_flush(state, T0), 0);
	laststate_close(state);
	state = open_of(long_one);
	ck_assert_str_eq(all(state), "b=2");
	laststate_close(state);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("laststate");
	TCase *tc = tcase_create("rows");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, restored_as_it_was);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, cut_at_every_byte);
	tcase_add_test(tc, every_bit_counts);
	tcase_add_loop_test(tc, set_aside, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, texts_have_their_length);
	tcase_add_loop_test(tc, certificate_values, 0, HB_ARRAY_LEN(certificates));
	tcase_add_test(tc, why_it_is_refused);
	tcase_add_test(tc, of_another_source);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

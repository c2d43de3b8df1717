/*
 * hamt: against a plain list, with hashes that collide wholly, in their beginnings, and not at all;
 * versions that are kept must stay what they were.
 */
#include <check.h>
#include <string.h>

#include "mesh/hamt.h"

/* Check's own asserts write to a file each time, which is slow where there are millions. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg("%s", #condition);                                            \
	} while (0)

#define ITEMS    48u
#define STEPS    3000u
#define VERSIONS 8u

struct item {
	struct counted counted;
	uint64_t hash;
	bool in;        /* the newest version has it */
	uint64_t stamp; /* orders those of one hash */
};

struct kept { /* a version, and what was in it */
	struct hamt map;
	bool in[ITEMS];
	uint64_t stamp[ITEMS];
	size_t count;
};

static struct heap heap;
static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

/* clang-format off */
static const struct {
	const char *name;
	uint64_t mask; /* of the bits that differ between hashes */
	bool borrows;
} rows[] = {
	{ "spread", UINT64_MAX, false },
	{ "spread, borrowed", UINT64_MAX, true },
	{ "few hashes", UINT64_C(7) << 61, false },
	{ "one hash", 0, false },
	{ "one hash, borrowed", 0, true },
	{ "the last bits differ", 0xff, false },
	{ "bits on either side of the prefix", UINT64_C(0xf) << 32, true },
};
/* clang-format on */

static void check_hash(const struct kept *kept, struct item *const *items, uint64_t hash)
{
	struct hamt_items got = hamt_get(&kept->map, hash);
	uint64_t last = 0;
	size_t want = 0;
	struct item *item;

	for (size_t i = 0; i < ITEMS; i++)
		want += items[i]->hash == hash && kept->in[i];
	must(got.count == want);
	hamt_for_each(item, got)
	{
		size_t i = 0;

		while (items[i] != item)
			i++;
		must(kept->in[i] && item->hash == hash);
		must(kept->stamp[i] > last); /* in the order they came */
		last = kept->stamp[i];
	}
}

static void check_all(const struct kept *kept, struct item *const *items)
{
	struct hamt_iter iter;
	size_t count = 0, prefixed = 0, want = 0;
	uint64_t prefix = items[0]->hash >> (64 - HAMT_PREFIX_BITS);
	struct item *item;

	must(hamt_count(&kept->map) == kept->count);
	hamt_iter_init(&iter, &kept->map);
	while ((item = hamt_next(&iter)))
		count++;
	must(count == kept->count);
	hamt_iter_prefix(&iter, &kept->map, items[0]->hash);
	while ((item = hamt_next(&iter))) {
		must(item->hash >> (64 - HAMT_PREFIX_BITS) == prefix);
		prefixed++;
	}
	for (size_t i = 0; i < ITEMS; i++) {
		want += kept->in[i] && items[i]->hash >> (64 - HAMT_PREFIX_BITS) == prefix;
		check_hash(kept, items, items[i]->hash);
	}
	must(prefixed == want);
}

static void change(struct kept *now, struct item **items, uint64_t stamp)
{
	size_t i = rnd(ITEMS), j = rnd(ITEMS);
	bool owns = !now->map.borrows;

	if (!now->in[i]) {
		if (owns)
			counted_ref(items[i]);
		must(hamt_add(&heap, &now->map, items[i]->hash, items[i]) == 0);
		now->stamp[i] = stamp;
		now->count++;
	} else if (!now->in[j] && items[i]->hash == items[j]->hash) {
		if (owns)
			counted_ref(items[j]);
		must(hamt_replace(&heap, &now->map, items[i]->hash, items[i], items[j]) == 0);
		now->in[j] = true;
		now->stamp[j] = now->stamp[i];
	} else {
		must(hamt_remove(&heap, &now->map, items[i]->hash, items[i]) == 0);
		now->count--;
	}
	now->in[i] = !now->in[i];
}

START_TEST(versions)
{
	struct kept now = { .map.borrows = rows[_i].borrows }, kept[VERSIONS] = { 0 };
	struct item *items[ITEMS];
	size_t before;

	heap = (struct heap){ .batch = 1 };
	seed = (uint64_t)_i;
	hamt_init_heap(&heap);
	for (size_t i = 0; i < ITEMS; i++) {
		items[i] = heap_new(&heap, COUNTED_POLICY, sizeof(struct item));
		items[i]->hash =
		    ((uint64_t)rnd(1u << 31) << 33 ^ (uint64_t)rnd(1u << 31) << 9 ^ rnd(512)) &
		    rows[_i].mask;
	}
	before = heap.bytes;
	for (uint32_t step = 1; step <= STEPS; step++) {
		change(&now, items, step);
		if (rnd(100) == 0) { /* a publish: the newest version is kept, an old one goes */
			struct kept *place = &kept[rnd(VERSIONS)];

			check_all(&now, items);
			if (place->map.root)
				check_all(place, items);
			hamt_drop(&heap, &place->map);
			*place = now;
			place->map = hamt_share(&now.map);
			heap.batch++;
		}
	}
	for (size_t i = 0; i < VERSIONS; i++) {
		check_all(&kept[i], items);
		hamt_drop(&heap, &kept[i].map);
	}
	hamt_drop(&heap, &now.map);
	ck_assert_uint_eq(heap.bytes, before);
	for (size_t i = 0; i < ITEMS; i++) {
		ck_assert_uint_eq(items[i]->counted.refs, 1);
		counted_unref(&heap, items[i]);
	}
	ck_assert_uint_eq(heap.bytes, 0);
}
END_TEST

/* Whatever step finds no memory, the map is what it was. */
START_TEST(no_memory)
{
	struct kept now = { 0 }, copy;
	struct item *items[ITEMS];
	unsigned int failed = 0;

	heap = (struct heap){ .batch = 1 };
	seed = 7;
	hamt_init_heap(&heap);
	for (size_t i = 0; i < ITEMS; i++) {
		items[i] = heap_new(&heap, COUNTED_POLICY, sizeof(struct item));
		items[i]->hash = (uint64_t)rnd(1u << 31) << 33 & UINT64_C(0xfffff) << 44;
	}
	for (uint32_t step = 1; step <= 4000; step++) {
		size_t i = rnd(ITEMS);
		int err;

		heap.batch += rnd(4) == 0;
		copy = now;
		copy.map = hamt_share(&now.map);
		heap.bytes_max = heap.bytes + rnd(600);
		if (now.in[i]) {
			err = hamt_remove(&heap, &now.map, items[i]->hash, items[i]);
		} else {
			counted_ref(items[i]);
			err = hamt_add(&heap, &now.map, items[i]->hash, items[i]);
			if (err)
				counted_unref(&heap, items[i]);
		}
		heap.bytes_max = 0;
		failed += err != 0;
		if (!err) {
			now.stamp[i] = step;
			now.count = now.in[i] ? now.count - 1 : now.count + 1;
			now.in[i] = !now.in[i];
		}
		check_hash(&now, items, items[i]->hash);
		check_hash(&copy, items, items[i]->hash);
		if (step % 100 == 0)
			check_all(&now, items);
		hamt_drop(&heap, &copy.map);
	}
	ck_assert_uint_gt(failed, 100);
	hamt_drop(&heap, &now.map);
	for (size_t i = 0; i < ITEMS; i++)
		counted_unref(&heap, items[i]);
	ck_assert_uint_eq(heap.bytes, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hamt");
	TCase *tc = tcase_create("versions");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, versions, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tc, no_memory);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

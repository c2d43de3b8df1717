/*
 * xds_push: responses by rows: what is taken, removed and refused, and what goes as nothing
 * tells it any more.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/xds_push.h"
#include "support/pbtext.h"

#define ADDRESS "4:'type.googleapis.com/istio.workload.Address'"
#define POLICY  "4:'type.googleapis.com/istio.security.Authorization'"
#define NONCE   " 5:'7'"

struct rig {
	struct store *store;
	struct xds_versions versions[XDS_TYPES];
	struct xds_push push;
	struct snapshot *snapshot;
	char told[256]; /* names, a blank behind each */
	unsigned slices;
};

static void on_name(void *owner, const char *name)
{
	struct rig *rig = owner;
	size_t used = strlen(rig->told);

	snprintf(rig->told + used, sizeof(rig->told) - used, "%s ", name);
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .store = store_new(NULL) };
	ck_assert_int_eq(store_publish(rig->store, &rig->snapshot, NULL), 0);
}

static void rig_done(struct rig *rig)
{
	for (int i = 0; i < XDS_TYPES; i++)
		xds_versions_done(&rig->versions[i]);
	snapshot_unref(rig->snapshot);
	store_free(rig->store);
}

/* All slices of what rig->push begins with; it is published where it went well. */
static int push_run(struct rig *rig)
{
	int more;

	rig->push.on_name = on_name;
	rig->push.owner = rig;
	rig->told[0] = 0;
	rig->slices = 0;
	do {
		more = xds_push_step(&rig->push);
		rig->slices++;
	} while (more == 1);
	xds_push_done(&rig->push);
	if (more)
		return more;
	snapshot_unref(rig->snapshot);
	ck_assert_int_eq(store_publish(rig->store, &rig->snapshot, NULL), 0);
	if (rig->push.type != XDS_TYPES)
		xds_versions_commit(&rig->versions[rig->push.type]);
	return 0;
}

static int push_bytes(struct rig *rig, const uint8_t *bytes, size_t size)
{
	xds_push_init(&rig->push, rig->store, rig->versions, bytes, size);
	return push_run(rig);
}

static int push_text(struct rig *rig, const char *text)
{
	struct pb pb = pb_of(text);
	int err = push_bytes(rig, pb.bytes, pb.size);

	free(pb.bytes);
	return err;
}

static bool has_workload(const struct rig *rig, const char *uid)
{
	return snapshot_workload_by_uid(rig->snapshot, uid);
}

static const char *version_of(const struct rig *rig, enum xds_type type, const char *name)
{
	const char *version = xds_versions_get(&rig->versions[type], name);

	return version ? version : "(unknown)";
}

START_TEST(mixed_and_one_bad)
{
	struct rig rig;

	rig_init(&rig);
	ck_assert_int_eq(
	    push_text(&rig,
	              "1:'debug' 2:{1:'v1' 2:{2:{1:{20:'a' 5:2}}} 3:'a'}"
	              " 2:{1:'v2' 2:{2:{2:{2:'n' 3:'h'}}} 3:'n/h'}"
	              " 2:{1:'v3' 2:{2:{1:{20:'b'}}} 3:'b' 4:'/10.0.0.1'} " ADDRESS NONCE " 7:{}"),
	    0);
	ck_assert_int_eq(rig.push.type, XDS_ADDRESS);
	ck_assert_str_eq(rig.push.nonce, "7");
	ck_assert_uint_eq(rig.push.resources, 3);
	ck_assert_uint_eq(rig.push.rejected, 1);
	ck_assert_str_eq(rig.push.reasons, "a: tunnel_protocol is 2, expected 0 to 1");
	ck_assert_uint_eq(rig.push.value_bytes, 8 + 8 + 6);
	ck_assert(!has_workload(&rig, "a"));
	ck_assert(has_workload(&rig, "b"));
	ck_assert_ptr_nonnull(snapshot_service_by_name(rig.snapshot, "n", "h"));
	ck_assert_str_eq(version_of(&rig, XDS_ADDRESS, "a"), "(unknown)");
	ck_assert_str_eq(version_of(&rig, XDS_ADDRESS, "b"), "v3");
	ck_assert_str_eq(rig.told, "a n/h b /10.0.0.1 ");

	/* What was good before stays when its next version is not, in its old version. */
	ck_assert_int_eq(push_text(&rig, "2:{1:'v4' 2:{2:{1:{20:'b' 17:9}}} 3:'b'} " ADDRESS NONCE),
	                 0);
	ck_assert_uint_eq(rig.push.rejected, 1);
	ck_assert(has_workload(&rig, "b"));
	ck_assert_str_eq(version_of(&rig, XDS_ADDRESS, "b"), "v3");
	rig_done(&rig);
}
END_TEST

START_TEST(removals)
{
	struct rig rig;

	rig_init(&rig);
	ck_assert_int_eq(push_text(&rig,
	                           "2:{1:'v' 2:{2:{1:{20:'c//Pod/n/a'}}} 3:'c//Pod/n/a'}"
	                           " 2:{1:'v' 2:{2:{1:{20:'n/h'}}} 3:'n/h'}"
	                           " 2:{1:'v' 2:{2:{2:{2:'n' 3:'*.x'}}} 3:'n/*.x'} " ADDRESS NONCE),
	                 0);
	/* By name alone: a uid first, then a service; after the resources, wherever they stand; of
	 * what nobody has, nothing; and none by half its name. */
	ck_assert_int_eq(push_text(&rig, "6:'n/h' 6:'n/*.x' 6:'c//Pod/n/gone' 6:'a/b/c' 6:'new'"
	                                 " 6:x'632f2f506f642f6e2f6100'"
	                                 " 2:{1:'v' 2:{2:{1:{20:'new'}}} 3:'new'} " ADDRESS NONCE),
	                 0);
	ck_assert_uint_eq(rig.push.removed, 5);
	ck_assert_uint_eq(rig.push.rejected, 0);
	ck_assert(!has_workload(&rig, "n/h"));
	ck_assert(!has_workload(&rig, "new"));
	ck_assert(has_workload(&rig, "c//Pod/n/a"));
	ck_assert_ptr_null(snapshot_service_by_name(rig.snapshot, "n", "*.x"));
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].count, 1);
	ck_assert_str_eq(rig.told, "new n/h n/*.x c//Pod/n/gone a/b/c new ");
	rig_done(&rig);
}
END_TEST

START_TEST(policies_by_resource_name)
{
	struct rig rig;

	rig_init(&rig);
	ck_assert_int_eq(push_text(&rig, "2:{2:{2:{1:'p' 2:'n' 3:1}} 3:'n/p'} " POLICY NONCE), 0);
	ck_assert_int_eq(rig.push.type, XDS_AUTHORIZATION);
	ck_assert_ptr_nonnull(snapshot_policy_by_key(rig.snapshot, "n/p"));
	/* Listed with an empty version: only so its removal is heard of. */
	ck_assert_str_eq(version_of(&rig, XDS_AUTHORIZATION, "n/p"), "");
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].count, 0);
	ck_assert_int_eq(push_text(&rig, "6:'n/p' " POLICY NONCE), 0);
	ck_assert_ptr_null(snapshot_policy_by_key(rig.snapshot, "n/p"));
	ck_assert_uint_eq(rig.versions[XDS_AUTHORIZATION].count, 0);
	rig_done(&rig);
}
END_TEST

static void sweep(struct rig *rig)
{
	xds_push_init_sweep(&rig->push, rig->store, rig->versions, XDS_ADDRESS);
	ck_assert_int_eq(push_run(rig), 0);
}

START_TEST(swept)
{
	struct rig rig;

	rig_init(&rig);
	sweep(&rig); /* of nothing */
	ck_assert_int_eq(push_text(&rig,
	                           "2:{1:'v' 2:{2:{1:{20:'a'}}} 3:'a'} 2:{1:'v' "
	                           "2:{2:{1:{20:'b'}}} 3:'b'} 2:{1:'v' 2:{2:{1:{20:'c'}}} "
	                           "3:'c'} 2:{1:'v' 2:{2:{1:{20:'d'}}} 3:'d'} " ADDRESS NONCE),
	                 0);
	xds_versions_unsee(&rig.versions[XDS_ADDRESS]);
	/* a is named, b too but refused, d in another response, c is not: it went while we were
	 * away. Before the sweep nothing leaves. */
	ck_assert_int_eq(push_text(&rig, "2:{1:'w' 2:{2:{1:{20:'a'}}} 3:'a'} 2:{1:'w' "
	                                 "2:{2:{1:{20:'b' 5:3}}} 3:'b'} " ADDRESS NONCE),
	                 0);
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].unseen, 2);
	ck_assert_int_eq(push_text(&rig, "2:{1:'v' 2:{2:{1:{20:'d'}}} 3:'d'} " ADDRESS NONCE), 0);
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].unseen, 1);
	ck_assert(has_workload(&rig, "c"));
	sweep(&rig);
	ck_assert(has_workload(&rig, "a") && has_workload(&rig, "b") && has_workload(&rig, "d"));
	ck_assert(!has_workload(&rig, "c"));
	ck_assert_uint_eq(rig.push.removed, 1);
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].count, 3);
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].unseen, 0);
	/* And where nothing is named. */
	xds_versions_unsee(&rig.versions[XDS_ADDRESS]);
	sweep(&rig);
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].count, 0);
	ck_assert(!has_workload(&rig, "a"));
	rig_done(&rig);
}
END_TEST

START_TEST(what_a_file_put_stays)
{
	struct rig rig;

	rig_init(&rig);
	ck_assert_int_eq(store_put_workload(rig.store, &(struct workload){ .uid = "file" }), 0);
	ck_assert_int_eq(push_text(&rig, "2:{1:'v' 2:{2:{1:{20:'a'}}} 3:'a'} " ADDRESS NONCE), 0);
	/* A file that says nothing more takes its own away, and nothing of xDS. */
	ck_assert_int_eq(store_sync_begin(rig.store, STORE_FILE), 0);
	ck_assert_int_eq(store_sync_end(rig.store), 0);
	ck_assert_int_eq(push_text(&rig, ADDRESS NONCE), 0);
	ck_assert(has_workload(&rig, "a") && !has_workload(&rig, "file"));
	rig_done(&rig);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name, *text;
	int want;
	size_t rejected;
	const char *reasons;
} odd[] = {
	{ "an unknown type is nothing", "2:{1:'v' 2:{2:{1:{20:'a'}}} 3:'a'} 4:'t' 5:'7'", 0, 0, "" },
	{ "no type", "2:{3:'a'} 5:'7'", 0, 0, "" },
	{ "no nonce", ADDRESS, 0, 0, "" },
	{ "nothing at all", "", 0, 0, "" },
	{ "a resource without a value", "2:{1:'v' 3:'a'} " ADDRESS, 0, 1, "a: the resource has no value" },
	{ "a value of no bytes", "2:{1:'v' 2:{} 3:'a'} " ADDRESS, 0, 1, "a: the value is neither a workload nor a service" },
	{ "a resource without a name", "2:{1:'v' 2:{2:{1:{20:'a'}}}} " ADDRESS, 0, 1, "(no name): a resource has no name" },
	{ "two bad ones", "2:{3:'a'} 2:{3:'b'} " ADDRESS, 0, 2, "a: the resource has no value; b: the resource has no value" },
	{ "a resource that is none", "2:x'ff' " ADDRESS, 0, 1, "(no name): the resource is no such message" },
	{ "what a NACK may not carry", "2:{3:x'c3bc'} " ADDRESS, 0, 1, "??: the resource has no value" },
	{ "a number where resources are", "2:5 " ADDRESS, -EBADMSG, 0, "" },
	{ "a nonce with a NUL", ADDRESS " 5:x'3700'", -EBADMSG, 0, "" },
};
/* clang-format on */

START_TEST(odd_ones)
{
	struct rig rig;
	int err;

	rig_init(&rig);
	err = push_text(&rig, odd[_i].text);
	ck_assert_msg(err == odd[_i].want, "%s: %d", odd[_i].name, err);
	ck_assert_msg(rig.push.rejected == odd[_i].rejected, "%s: %zu", odd[_i].name,
	              rig.push.rejected);
	ck_assert_msg(strcmp(rig.push.reasons, odd[_i].reasons) == 0, "%s: %s", odd[_i].name,
	              rig.push.reasons);
	rig_done(&rig);
}
END_TEST

START_TEST(cut_at_every_byte)
{
	struct pb pb = pb_of("2:{1:'v' 2:{2:{1:{20:'a'}}} 3:'a'} 6:'b' " ADDRESS NONCE);

	for (size_t size = 0; size < pb.size; size++) {
		hb_cleanup(hb_free_ptr) uint8_t *cut = malloc(size ? size : 1);
		struct rig rig;
		int err;

		memcpy(cut, pb.bytes, size);
		rig_init(&rig);
		err = push_bytes(&rig, cut, size);
		ck_assert_msg(err == 0 || err == -EBADMSG, "%zu: %d", size, err);
		ck_assert(!has_workload(&rig, "a") || err == 0);
		rig_done(&rig);
	}
	free(pb.bytes);
}
END_TEST

/* Many refusals: the reasons are bounded, and say that there are more. */
START_TEST(reasons_are_bounded)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct rig rig;

	for (int i = 0; i < 300; i++)
		fprintf(out, "2:{3:'cluster//Pod/namespace/pod-%d'} ", i);
	fputs(ADDRESS NONCE, out);
	fclose(out);
	rig_init(&rig);
	ck_assert_int_eq(push_text(&rig, text), 0);
	ck_assert_uint_eq(rig.push.rejected, 300);
	ck_assert_uint_lt(strlen(rig.push.reasons), XDS_REASONS_MAX);
	ck_assert_str_eq(rig.push.reasons + strlen(rig.push.reasons) - 5, "; ...");
	free(text);
	rig_done(&rig);
}
END_TEST

/* What is left out of resources that are taken is counted, and the first that lost something is
 * named. */
START_TEST(left_out)
{
	struct rig rig;

	rig_init(&rig);
	ck_assert_int_eq(
	    push_text(&rig, "2:{1:'v' 2:{2:{2:{2:'n' 3:'h'}}} 3:'n/h'}"
	                    " 2:{1:'v' 2:{2:{2:{2:'n' 3:'\xc3\xa9' 6:'a' 6:'b'}}} 3:'n/\xc3\xa9'}"
	                    " 2:{1:'v' 2:{2:{2:{2:'n' 3:'j' 6:'c'}}} 3:'n/j'} " ADDRESS NONCE),
	    0);
	ck_assert_uint_eq(rig.push.rejected, 0);
	ck_assert_uint_eq(rig.push.skipped, 3);
	ck_assert_str_eq(rig.push.skipped_of, "n/??");
	rig_done(&rig);
}
END_TEST

/* 1,000 resources of 100 bytes: no slice has more than 128 of them. */
START_TEST(slices)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct rig rig;

	for (int i = 0; i < 1000; i++)
		fprintf(out, "2:{1:'v' 2:{2:{1:{20:'w%d'}}} 3:'w%d'} ", i, i);
	fputs(ADDRESS NONCE, out);
	fclose(out);
	rig_init(&rig);
	ck_assert_int_eq(push_text(&rig, text), 0);
	ck_assert_uint_ge(rig.slices, 1000 / 128 + 2);
	ck_assert(has_workload(&rig, "w0") && has_workload(&rig, "w999"));
	xds_versions_unsee(&rig.versions[XDS_ADDRESS]);
	sweep(&rig);
	ck_assert_uint_ge(rig.slices, 1000 / 128 + 1);
	ck_assert_uint_eq(rig.versions[XDS_ADDRESS].count, 0);
	free(text);
	rig_done(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_push");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, mixed_and_one_bad);
	tcase_add_test(tcase, removals);
	tcase_add_test(tcase, policies_by_resource_name);
	tcase_add_test(tcase, swept);
	tcase_add_test(tcase, what_a_file_put_stays);
	tcase_add_loop_test(tcase, odd_ones, 0, HB_ARRAY_LEN(odd));
	tcase_add_test(tcase, cut_at_every_byte);
	tcase_add_test(tcase, reasons_are_bounded);
	tcase_add_test(tcase, left_out);
	tcase_add_test(tcase, slices);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}

/*
 * fuzz_xds_response: responses, one after the other, each as an increment or as all there is: the
 * names that are kept are those of the store, no more, and as many bytes as was counted stand in
 * the next request.
 */
#include <assert.h>
#include <string.h>

#include "control/xds_push.h"
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_versions(const struct xds_versions *versions)
{
	struct xds_walk walk = { .size = versions->wire_bytes };
	uint8_t *request = malloc(versions->wire_bytes + 1);
	struct xds_field field;
	size_t count = 0;

	assert(request);
	walk.bytes = request;
	xds_versions_encode(versions, request);
	while (xds_walk_next(&walk, &field) == 1)
		count++;
	assert(walk.at == walk.size && count == versions->count);
	free(request);
}

/* Each slice gets on with it. */
static int take(struct xds_push *push, size_t size)
{
	int more;

	for (size_t steps = 0; (more = xds_push_step(push)) == 1; steps++)
		assert(steps < size + 16);
	assert(more == 0 || more == -EBADMSG);
	assert(push->rejected <= push->resources);
	assert(!push->rejected == !*push->reasons);
	for (const char *at = push->reasons; *at; at++)
		assert(*at >= ' ' && *at <= '~');
	return more;
}

/* 0 and its type, where it was published. */
static int run(struct xds_push *push, size_t size, enum xds_type *ret_type)
{
	struct snapshot *s;
	int err = take(push, size);

	if (err == 0 && push->type != XDS_TYPES) {
		assert(store_publish(push->store, &s, NULL) == 0);
		snapshot_unref(s);
		xds_versions_commit(&push->versions[push->type]);
		check_versions(&push->versions[push->type]);
	}
	*ret_type = push->type;
	xds_push_done(push);
	return err;
}

static void response(struct store *store, struct xds_versions *versions, const uint8_t *bytes,
                     size_t size, bool full)
{
	struct xds_push push;
	enum xds_type type;

	for (int i = 0; full && i < XDS_TYPES; i++)
		xds_versions_unsee(&versions[i]);
	xds_push_init(&push, store, versions, bytes, size);
	if (run(&push, size, &type) < 0 || type == XDS_TYPES || !full)
		return;
	xds_push_init_sweep(&push, store, versions, type);
	assert(run(&push, versions[type].room, &type) == 0);
	assert(versions[type].unseen == 0);
}

/* A byte says how, two how long a response is; then it follows. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct xds_versions versions[XDS_TYPES] = { { 0 } };
	struct store *store = store_new(NULL);
	struct input in = { bytes, len };

	while (in.left) {
		uint8_t how = input_byte(&in);
		size_t size = (size_t)input_byte(&in) << 8;

		size = hb_min_size(size | input_byte(&in), in.left);
		response(store, versions, in.at, size, how & 1);
		if (how & 2) {
			xds_versions_distrust(&versions[how >> 2 & 1]);
			check_versions(&versions[how >> 2 & 1]);
		}
		in.at += size;
		in.left -= size;
	}
	for (int type = 0; type < XDS_TYPES; type++)
		xds_versions_done(&versions[type]);
	store_free(store);
	return 0;
}

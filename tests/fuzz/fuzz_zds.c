/*
 * fuzz_zds: packets of istio-cni, one after the other, each with or without a descriptor: the pods
 * add up whatever is said, and what is acked is short enough.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "control/zds.h"
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int on_start(void *owner, struct zds_pod *pod, char *why, size_t why_size)
{
	pod->handle = owner;
	return pod->netns.ino % 4 == 0 ? -EADDRINUSE : 0;
}

static void on_stop(void *owner, struct zds_pod *pod)
{
	assert(pod->up && pod->handle == owner);
}

static void check(const struct zds *zds)
{
	size_t count = 0, pending = 0;

	hb_list_for_each (node, &zds->pods) {
		const struct zds_pod *pod = hb_container_of(node, struct zds_pod, node);

		count++;
		pending += !pod->up;
		assert(pod->up == !pod->reason[0]);
	}
	assert(count == zds->count && pending == zds->pending);
}

/* A byte says what happens, one for a message's length follows, then the message. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct zds_ops ops = { .start = on_start, .stop = on_stop };
	struct input in = { bytes, len };
	struct zds_request request;
	struct zds_answer answer;
	struct zds zds;

	zds_init(&zds, &ops, &zds);
	zds_connected(&zds);
	while (in.left) {
		uint8_t what = input_byte(&in);
		size_t size = hb_min_size(input_byte(&in), in.left);
		/* No descriptor that is open: closing it hurts nobody. */
		struct zds_netns netns = { .fd = what & 1 ? 1 << 24 : -1, .ino = what >> 4 };
		uint8_t ack[ZDS_PACKET_MAX];

		if (what & 2)
			zds_retry(&zds);
		if (what & 4) {
			zds_disconnected(&zds);
			zds_connected(&zds);
		}
		if (zds_decode(in.at, size, &request) == 0) {
			zds_handle(&zds, &request, netns, &answer);
			assert(strlen(answer.error) < sizeof(answer.error));
			assert(zds_encode_ack(answer.error, ack) <= sizeof(ack));
		}
		in.at += size;
		in.left -= size;
		check(&zds);
	}
	zds_done(&zds);
	return 0;
}

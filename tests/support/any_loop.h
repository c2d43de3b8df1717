/*
 * any_loop: the loop of a test, on the backend that HB_TEST_LOOP names: io_uring, epoll, or what
 * the machine has when it is not set. Each suite of hbone/ is registered once for either.
 */
#pragma once

#include <string.h>

#include <hbone/loop.h>

/* As hb_loop_new(). */
static inline struct hb_loop *test_loop_new(const struct hb_loop_options *options)
{
	struct hb_loop_options chosen = options ? *options : (struct hb_loop_options){ 0 };
	const char *name = getenv("HB_TEST_LOOP");

	if (name && strcmp(name, "epoll") == 0)
		chosen.backend = HB_LOOP_EPOLL;
	else if (name && strcmp(name, "io_uring") == 0)
		chosen.backend = HB_LOOP_IO_URING;
	return hb_loop_new(&chosen);
}

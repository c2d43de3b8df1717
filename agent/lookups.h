/*
 * lookups: host names for channels of gRPC, from the node's resolver, which hears of questions and
 * not of channels.
 * Thread: the control loop's.
 */
#pragma once

#include <hbone/list.h>

#include "control/grpc.h"

struct resolver;

struct lookups {
	struct resolver *resolver; /* borrowed */
	struct hb_loop *loop;
	struct hb_list open; /* questions */
};

void lookups_init(struct lookups *lookups, struct resolver *resolver, struct hb_loop *loop);
/* For a channel's config. @lookups stays in place until the channel has closed. */
struct grpc_resolver lookups_of(struct lookups *lookups);

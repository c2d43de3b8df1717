/*
 * outbound: what an app of a pod dials: where to (route), how (tunnel, plain), then carried.
 *
 * No answer is given to the app before the far side has one: until then the app's socket is not
 * read, and a failure resets it at once (reference/datapath 10).
 */
#pragma once

#include <hbone/addr.h>

struct pod;

/* Takes @fd, accepted on 15001. @dst: where the app wants to go; NULL: whom it dialled. */
void outbound_accept(struct pod *pod, int fd, const struct hb_addr *dst);

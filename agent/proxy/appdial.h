/*
 * appdial: one connection to the app in a pod, as its server will see it: from the real client
 * (reference/redirection 1, step 7; 6).
 *
 * Where BPF captures, the socket is bound to a rotating 127.x.y.z (IPv6: to the pod's own address),
 * so that ports do not run out and replies need no route; the client's address is what the app is
 * told by accept() and getpeername(). By rules the packets themselves carry the client's address,
 * and the rules bring the replies back (reference/datapath 3.5, 3.9). The target is the pod's own
 * address, never loopback, which the app may have kept private; but for a waypoint that reads who
 * speaks from a PROXY header, and then nothing is disguised. Ownership and life are those of
 * hb_dial. Thread: the worker's own.
 */
#pragma once

#include <hbone/dial.h>

struct pod_spec;

#define DIAL_DEADLINE_MS 10000u /* reference/datapath 5.3 */

struct appdial_target {
	const struct pod_spec *pod;
	const struct hb_addr *app;
	const struct hb_addr *client; /* NULL: the source is what it is */
	uint32_t turn;                /* any number that changes from dial to dial */
};

/* 0: on_done will come; or -errno, and it will not. */
int appdial_start(struct hb_dial *dial, struct hb_loop *loop, const struct appdial_target *target,
                  hb_dial_done on_done);
/* The source of the @turn-th dial to @app: 127.1.0.1 to 127.254.255.254; IPv6: @app itself. Pure.
 */
struct hb_addr appdial_source(const struct hb_ip *app, uint32_t turn);

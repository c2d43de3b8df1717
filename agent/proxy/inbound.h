/*
 * inbound: what comes to a pod through HBONE: who is the peer (TLS), what does it want (CONNECT),
 * may it (policy), then the app is dialled and only then the peer answered
 * (reference/datapath 1.7 to 1.10, 3).
 */
#pragma once

#include <stddef.h>

#include <hbone/error.h>

struct pod;

/* Takes @fd, accepted on 15008. */
void inbound_accept(struct pod *pod, int fd);
/* For all connections of the pod. Each ends later, from the loop; pod->inbounds empties. */
void inbound_drain_all(struct pod *pod);
/* Asks again about each peer, see recheck.h. How many were revoked, and end now. */
size_t inbound_recheck_all(struct pod *pod, int64_t now_s);
void inbound_close_all(struct pod *pod, struct hb_end why);

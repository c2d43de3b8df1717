/*
 * request: one CONNECT of a peer: validated, judged, the app dialled, answered, carried
 * (reference/datapath 1.7, 1.9, 3.2 to 3.5).
 *
 * Answers: 200 when the app has taken the connection; 400 what is not a CONNECT for this pod; 401
 * what policy denies; 503 what leads nowhere.
 */
#pragma once

#include <hbone/h2.h>

#include "proxy/credentials.h"
#include "proxy/newcomers.h"
#include "proxy/pod.h"

struct inbound { /* one connection of a peer; inbound.c's, read by its requests */
	struct hb_list node;
	struct pod *pod;
	struct hb_addr src, local;
	int fd;                   /* until it is a stream; then -1 */
	struct hb_stream *stream; /* TLS, during its handshake */
	struct hb_h2 *h2;
	const char *identity; /* the peer's, proven; never NULL */
	struct credential_wait credential;
	struct newcomer newcomer; /* until its peer is proven */
};

/* hb_h2_events.on_request of a connection that struct inbound owns. */
void request_start(struct hb_h2 *h2, struct hb_stream *tunnel);

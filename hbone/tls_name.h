/*
 * tls_name: a client's peer that is known by a host name, and not by a SPIFFE identity (RFC 6125).
 * Private to tls*.c. Thread: the loop's own.
 */
#pragma once

#include "tls_peer.h"

/* Takes copies of the options' names. False: no memory. */
bool hb_tls_name_init(struct hb_tls_peer *peer, const struct hb_tls_options *options);
/* Tells the peer which name is meant, if that is a DNS name (RFC 6066 3). False: it cannot be. */
bool hb_tls_name_tell(const struct hb_tls_peer *peer, SSL *ssl);
/* Inside the handshake, of a certificate whose chain is good. 0, or why not. */
int hb_tls_name_check(struct hb_tls_peer *peer, const SSL *ssl, X509 *cert);

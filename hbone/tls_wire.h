/*
 * tls_wire: the ciphertext of one TLS connection, both ways, as OpenSSL's BIO sees it. Private to
 * tls.c and tls_ctx.c.
 *
 * In: chains from below wait in a queue. OpenSSL is shown whole records only: so it never holds a
 * half-filled buffer of its own between two turns.
 * Out: a record goes over the very slot its plaintext came in, where there is room (in place), or
 * is copied into a fresh slot: handshake flights, alerts, key updates, shared slots.
 *
 * Thread: the loop's own.
 */
#pragma once

#include <openssl/bio.h>

#include <hbone/buf.h>

struct hb_tls_wire {
	struct hb_buf_pool *pool;
	struct hb_bufq in;  /* came, not yet opened */
	struct hb_bufq out; /* sealed, not yet handed down */
	/* In place: the buf whose plaintext is being sealed. OpenSSL has copied the plaintext when
	 * the record comes out, so the record may overwrite it. NULL again once that was done. */
	struct hb_buf *target;
	struct hb_buf *copied; /* the last of out, if it is a copy that may be appended to */
	size_t record_left;    /* bytes of the record that OpenSSL is in the middle of */
	bool no_memory;        /* a write failed for want of a slot */
};

BIO_METHOD *hb_tls_wire_method_new(void);
/* A BIO over @wire, which must outlive it. NULL: no memory. */
BIO *hb_tls_wire_bio_new(const BIO_METHOD *method, struct hb_tls_wire *wire);

/*
 * Bytes of the next record, with its header, if it is there as a whole; 0: not yet. What cannot be
 * a record's header counts as whole, so that OpenSSL gets to see it and answers with its alert.
 */
size_t hb_tls_wire_next(const struct hb_tls_wire *wire);
/* Whether what came, from its first byte on, is no record: then an alert is laid down to go out,
 * once and in the clear, as there are no keys yet. */
bool hb_tls_wire_refuse_foreign(struct hb_tls_wire *wire);
/* What is to go down, as a chain; NULL: nothing. */
struct hb_buf *hb_tls_wire_take(struct hb_tls_wire *wire);
/* Whether @buf may be sealed where it is. */
bool hb_tls_wire_has_room(const struct hb_buf *buf);
void hb_tls_wire_clear(struct hb_tls_wire *wire);

/*
 * issued: what a CA gave for one identity, read, checked and taken apart (reference/controlplane
 * 5.2). Immutable. Any thread; knows no clock: dates are for who schedules.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ISSUED_CERTS_MAX 512u /* in one answer, roots included */

struct issued_cert {
	char *pem;                         /* one block */
	char *serial;                      /* decimal */
	int64_t not_before_s, not_after_s; /* Unix time */
};

struct issued {
	struct issued_cert *certs; /* the leaf, the intermediates, the roots that can be used */
	size_t chain_count, roots_count;
	char *chain_pem, *roots_pem; /* the same joined */
	char *key_pem;
	char note[192]; /* a sentence on what is odd, but taken; "": nothing */
};

struct issued_material { /* PEM texts, all borrowed */
	/* The leaf first; the last element is the bundle of roots; intermediates in between. An
	 * element may have several blocks. */
	const char *const *elements;
	size_t count;
	const char *key_pem;
	const char *identity; /* that was asked for; NULL: whatever it is */
};

/*
 * Refused, each with a sentence: fewer than two elements, no leaf, an intermediate that cannot be
 * read, no root that can be used, a key that is not the leaf's, a leaf whose first URI is not
 * @identity, more than ISSUED_CERTS_MAX. Roots that cannot be read or are no CA's are passed over;
 * dates may be any. 0, -EINVAL or -ENOMEM.
 */
int issued_read(const struct issued_material *material, struct issued **ret_issued, char *why,
                size_t why_size);
void issued_free(struct issued *issued); /* wipes the key; takes NULL */
/* The leaf's first URI name, into @out; "": it has none, or it is longer. @pem: its block. */
void issued_identity(const char *leaf_pem, char *out, size_t size);

/*
 * certmanager: one credential per identity of the node's pods: asked for, held, renewed, handed
 * out, forgotten. When is certplan's to say, by whom it is issued the source's.
 *
 * Who needs an identity holds it, and lets it go; what nobody holds is forgotten a minute later,
 * and its key wiped. A credential that was handed out stays good for who has it.
 * Thread: the control loop's. Contexts handed out are counted and may go to any thread.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/tls.h>

#include "control/certplan.h"
#include "control/certsource.h"
#include "control/issued.h"

struct certmanager;

/* What became of an identity. One of the three: */
struct certmanager_news {
	const char *identity;
	struct hb_tls_ctx *ctx; /* a (new) credential: one reference is given away */
	const char *why;        /* there is none now, in one sentence: who waits had better not */
	bool forgotten;         /* nobody held it: what is left of it may go */
};

struct certmanager_options {
	struct cert_source *source;    /* taken, also on failure */
	struct hb_tls_profile profile; /* of the contexts; trust_domains is borrowed */
	uint32_t linger_ms; /* what nobody holds is kept for so long; 0: CERTPLAN_LINGER_MS */
	/* Never from inside hold, release or demand; may call these, but not certmanager_free(). */
	void (*on_news)(void *owner, const struct certmanager_news *news);
	void *owner;
};

/* NULL: no memory. */
struct certmanager *certmanager_new(struct hb_loop *loop,
                                    const struct certmanager_options *options);
void certmanager_free(struct certmanager *manager); /* takes NULL */
/* One more holder of @identity: news follow, and again at each renewal. 0; -EINVAL: not a SPIFFE
 * URI; -ENOMEM. */
int certmanager_hold(struct certmanager *manager, const char *identity,
                     enum cert_priority priority);
void certmanager_release(struct certmanager *manager, const char *identity); /* also if unknown */
/*
 * A connection waits: news of @identity follow, whatever they are, as soon as may be. It goes
 * before all that nobody waits for, and is asked for again if its last failure is not fresh.
 * As hold; but it is no holder.
 */
int certmanager_demand(struct certmanager *manager, const char *identity);

/* For the config dump: one row per identity, sorted. */
struct certmanager_row {
	const char *identity, *state; /* "Available", "Initializing", "Unavailable: ..." */
	enum cert_state code;         /* of these */
	const struct issued *issued;  /* NULL: none */
};
void certmanager_each(const struct certmanager *manager,
                      void (*each)(const struct certmanager_row *row, void *arg), void *arg);

struct certmanager_counts {      /* since the start */
	uint64_t issued, failed; /* answers of the source */
	uint64_t forgotten;
};
struct certmanager_counts certmanager_counts(const struct certmanager *manager);

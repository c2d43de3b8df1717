/*
 * credentials: one worker's certificates by identity, and the flows that wait for one.
 *
 * What pods need is held, and let go when no pod needs it any more; what flows wait for is
 * demanded, once until there is an answer. All three are wishes, told to a function that the owner
 * gives. What comes is set here and replaces what was: new connections use the new generation, old
 * ones end as they are.
 * Thread: the worker's own.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/tls.h>

#define CREDENTIAL_FRESH_MS 1000u /* a refusal is not asked after again for so long */
#define CREDENTIAL_WORDS    640u

enum credential_wish { CREDENTIAL_HOLD, CREDENTIAL_RELEASE, CREDENTIAL_DEMAND };

struct metrics;

struct credential {
	struct hb_list node;
	struct hb_tls_ctx *ctx; /* NULL: there is none, not yet or not any more */
	struct hb_list waits;
	char *identity;
	char *why;       /* the last answer, if it was a refusal; else NULL */
	uint64_t why_ms; /* when it came */
	unsigned pods;   /* that need it */
	bool demanded;   /* and not answered yet */
};

struct credentials {
	struct hb_list all;
	struct hb_loop *loop;
	/* False: no memory, it was not told. */
	bool (*wish)(void *owner, const char *identity, enum credential_wish wish);
	void *owner;
	struct metrics *metrics; /* borrowed; counts wishes that were not told */
};

struct credential_wait; /* embedded by who waits, and kept until on_done or cancel */
/*
 * @ctx: borrowed for the call; NULL: there is none, because of @why (borrowed for the call), or,
 * where that is NULL too, because the deadline passed. Never inside credential_wait().
 */
typedef void (*credential_done)(struct credential_wait *wait, struct hb_tls_ctx *ctx,
                                const char *why);
struct credential_wait {
	struct hb_list node;
	struct hb_timer deadline;
	struct hb_loop *loop;
	struct credential *credential;
	credential_done on_done;
};

void credentials_init(struct credentials *credentials, struct hb_loop *loop,
                      bool (*wish)(void *owner, const char *identity, enum credential_wish wish),
                      void *owner, struct metrics *metrics);
/* Nobody may wait any more. */
void credentials_done(struct credentials *credentials);
/* The place of @identity, for one more pod: it stays until credentials_put(). NULL: no memory. */
struct credential *credentials_get(struct credentials *credentials, const char *identity);
void credentials_put(struct credentials *credentials, struct credential *credential); /* or NULL */
/* Takes one reference of @ctx; those who wait are told. Only from a message or a timer. */
void credentials_set(struct credentials *credentials, const char *identity, struct hb_tls_ctx *ctx);
/* There is none now: those who wait are told why. As above. */
void credentials_refuse(struct credentials *credentials, const char *identity, const char *why);
/* Nobody on the node needs it: what no pod of ours does, either, is let go of. As above. */
void credentials_forget(struct credentials *credentials, const char *identity);

/* @credential has none. It is demanded, unless it was refused just now. */
void credential_wait(struct credentials *credentials, struct credential *credential,
                     struct credential_wait *wait, uint32_t deadline_ms, credential_done on_done);
void credential_cancel(
    struct credential_wait *wait); /* on_done will not run; also when not waiting */
/* What the access log says of @why, in @out. */
const char *credential_words(const char *why, char *out, size_t size);

/*
 * credentials: one worker's certificates by identity, and the flows that wait for one.
 *
 * What is not there is asked for once, by a function the owner gives; what comes is set here and
 * replaces what was: new connections use the new generation, old ones end as they are.
 * Thread: the worker's own.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/tls.h>

struct credential {
	struct hb_list node;
	struct hb_tls_ctx *ctx; /* NULL: not there yet */
	struct hb_list waits;
	char *identity;
};

struct credentials {
	struct hb_list all;
	struct hb_loop *loop;
	void (*want)(void *owner, const char *identity);
	void *owner;
};

struct credential_wait; /* embedded by who waits, and kept until on_done or cancel */
/* @ctx: borrowed for the call; NULL: the deadline passed. Never inside credential_wait(). */
typedef void (*credential_done)(struct credential_wait *wait, struct hb_tls_ctx *ctx);
struct credential_wait {
	struct hb_list node;
	struct hb_timer deadline;
	struct hb_loop *loop;
	credential_done on_done;
};

void credentials_init(struct credentials *credentials, struct hb_loop *loop,
                      void (*want)(void *owner, const char *identity), void *owner);
/* Nobody may wait any more. */
void credentials_done(struct credentials *credentials);
/* The place of @identity, which lives as long as @credentials; asked for if it is new. NULL: no
 * memory. */
struct credential *credentials_of(struct credentials *credentials, const char *identity);
/* Takes one reference of @ctx; those who wait are told. Only from a message or a timer. */
void credentials_set(struct credentials *credentials, const char *identity, struct hb_tls_ctx *ctx);

void credential_wait(struct credentials *credentials, struct credential *credential,
                     struct credential_wait *wait, uint32_t deadline_ms, credential_done on_done);
void credential_cancel(
    struct credential_wait *wait); /* on_done will not run; also when not waiting */

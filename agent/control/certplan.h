/*
 * certplan: which certificate is asked for next, and when (reference/controlplane 5.4). Pure: no
 * sockets, no keys, no memory of its own; the time is given.
 *
 *   INITIALIZING --issued--> AVAILABLE --ended, and the last attempt failed--> UNAVAILABLE
 *        '--------failed---------------------------------------------------------^ |
 *                              AVAILABLE <--issued----------------------------------'
 *
 * An entry is queued (due at some time), running (asked for), or at rest until its renewal. A
 * certificate that is there serves on while attempts to renew it fail, until it ends.
 */
#pragma once

#include <hbone/list.h>

#define CERTPLAN_RUNNING_MAX      8u
#define CERTPLAN_BACKOFF_FIRST_MS 1000u
#define CERTPLAN_BACKOFF_LAST_MS  150000u
#define CERTPLAN_LINGER_MS        60000u /* of what nobody holds any more: pods come back */

struct certplan_time {
	uint64_t mono_ms; /* for waits */
	int64_t unix_ms;  /* for dates */
};

enum cert_state { CERT_INITIALIZING, CERT_AVAILABLE, CERT_UNAVAILABLE };
/* Renewals and attempts after a failure; what will be needed; what a connection waits for. */
enum cert_priority { CERT_BACKGROUND, CERT_WARMUP, CERT_REALTIME };

struct certplan_entry { /* embedded; read it, and change it by the functions alone */
	struct hb_list node;
	uint32_t holders;
	enum cert_priority priority; /* of what is queued */
	bool queued, running;
	bool has_cert;
	bool failing;         /* the last attempt failed */
	uint64_t due_ms;      /* mono; queued */
	int64_t renew_ms;     /* Unix; has_cert and neither queued nor running */
	int64_t not_after_ms; /* Unix; has_cert */
	uint64_t failed_ms;   /* mono; failing */
	uint32_t backoff_ms;  /* of the last wait, without its jitter; 0: none */
	uint64_t forget_ms;   /* mono; nobody holds it */
};

struct certplan {
	struct hb_list all;
	unsigned running;
	uint32_t linger_ms;       /* CERTPLAN_LINGER_MS, unless the owner sets another */
	uint32_t (*random)(void); /* all 32 bits of it */
};

void certplan_init(struct certplan *plan, uint32_t (*random)(void));
/* A new entry, zeroed by the caller, that nobody holds yet: queued, due now. */
void certplan_add(struct certplan *plan, struct certplan_entry *entry, enum cert_priority priority,
                  struct certplan_time now);
void certplan_remove(struct certplan *plan, struct certplan_entry *entry);

/* One more holder; it raises the priority of what was never issued. */
void certplan_hold(struct certplan_entry *entry, enum cert_priority priority);
/* One less. What nobody holds is neither renewed nor tried again, and ends after linger_ms. */
void certplan_release(const struct certplan *plan, struct certplan_entry *entry,
                      struct certplan_time now);

enum certplan_answer {
	CERTPLAN_HAVE,   /* there is one */
	CERTPLAN_WAIT,   /* it is asked for, before all that nobody waits for */
	CERTPLAN_REFUSE, /* it was asked for just now, and refused */
};
/*
 * A connection waits for it. After a failure it is asked for again at once when that is a while
 * ago: a second, or a tenth of the wait that is under way.
 */
enum certplan_answer certplan_demand(const struct certplan *plan, struct certplan_entry *entry,
                                     struct certplan_time now);

/* The next one to ask for, now running; NULL: none now. Then exactly one of the two below. */
struct certplan_entry *certplan_pick(struct certplan *plan, struct certplan_time now);
/* Renewed at half-life; where that is over already, at half of what is left; where the dates are
 * odd, or there is next to nothing left: soon, then less soon. */
void certplan_issued(struct certplan *plan, struct certplan_entry *entry, int64_t not_before_s,
                     int64_t not_after_s, struct certplan_time now);
/* Tried again after 1 s +-20 %, doubling up to 150 s, and at the latest when it ends. */
void certplan_failed(struct certplan *plan, struct certplan_entry *entry, struct certplan_time now);
/* All are asked for again, at once: what issues them has changed. */
void certplan_renew_all(struct certplan *plan, struct certplan_time now);

/* The next whose certificate has just ended while it could not be renewed; NULL: no more. */
struct certplan_entry *certplan_next_ended(struct certplan *plan, struct certplan_time now);
/* The next that nobody held for linger_ms, to be removed; NULL: no more. */
struct certplan_entry *certplan_next_forgotten(struct certplan *plan, struct certplan_time now);
/* Milliseconds until one of the three above may give something; UINT64_MAX: not by itself. */
uint64_t certplan_wait_ms(const struct certplan *plan, struct certplan_time now);

enum cert_state certplan_state(const struct certplan_entry *entry, struct certplan_time now);
/*
 * Unix milliseconds of the renewal: half of its life, moved by up to a twentieth of it either way
 * by @random, so that certificates asked for together do not stay together. 0: the dates are odd
 * (not valid yet, or never).
 */
int64_t certplan_renew_ms(int64_t not_before_s, int64_t not_after_s, int64_t now_ms,
                          uint32_t random);

/*
 * certs: one credential per identity, issued, held and renewed.
 *
 *   want --> DUE --issued--> HELD --half-life--> DUE
 *             ^ |
 *   backoff --+ +--failed, an older one may still be good
 *
 * A credential is DUE while its node is in certs.due, which is worked off a few per turn. Else its
 * timer runs, for at most TIMER_MS at once: the wheel has an end, and the machine's clock may be
 * set, or the machine sleep, meanwhile. So each time the wall clock decides.
 */
#include "control/certs.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/fakeca.h"

#define TTL_S            86400u
#define PER_TURN         8 /* signatures and keys made in one turn of the loop */
#define TIMER_MS         (60u * 60 * 1000)
#define BACKOFF_FIRST_MS 1000u
#define BACKOFF_LAST_MS  150000u

struct credential {
	struct hb_list node; /* in certs.all */
	struct hb_list due;  /* in certs.due, or empty */
	struct hb_timer timer;
	struct certs *certs;
	char *identity;
	struct fakeca_leaf leaf; /* chain_pem NULL: none was issued yet */
	int64_t renew_at_ms;     /* Unix time */
	uint32_t backoff_ms;     /* of the next failure; 0: the last attempt went well */
	char why[160];           /* the last attempt's failure; "" */
};

struct certs {
	struct hb_loop *loop;
	struct fakeca *ca;
	uint32_t ttl_s;
	struct hb_tls_profile profile;
	void (*on_credential)(void *owner, const char *identity, struct hb_tls_ctx *ctx);
	void *owner;
	struct hb_list all;
	struct hb_list due;
	struct hb_timer work; /* runs while something is due */
};

static int64_t unix_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail: the clock exists */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t certs_renew_after_ms(int64_t not_before_s, int64_t not_after_s, int64_t now_ms,
                              uint32_t random)
{
	int64_t life_ms = (not_after_s - not_before_s) * 1000;
	int64_t spread_ms = life_ms / 20;
	int64_t at_ms;

	if (life_ms <= 0 || now_ms < not_before_s * 1000)
		return 0; /* the clock was set back, or the dates are nonsense */
	at_ms = not_before_s * 1000 + life_ms / 2;
	at_ms += (int64_t)((uint64_t)random * (uint64_t)(2 * spread_ms + 1) >> 32) - spread_ms;
	return at_ms > now_ms ? (uint64_t)(at_ms - now_ms) : 0;
}

static void start_timer(struct credential *credential, uint64_t after_ms)
{
	hb_loop_timer_start(credential->certs->loop, &credential->timer,
	                    after_ms < TIMER_MS ? after_ms : TIMER_MS);
}

static void make_due(struct credential *credential)
{
	struct certs *certs = credential->certs;

	hb_loop_timer_stop(certs->loop, &credential->timer);
	hb_list_remove(&credential->due);
	hb_list_add(&certs->due, &credential->due);
	if (!hb_timer_is_running(&certs->work))
		hb_loop_timer_start(certs->loop, &certs->work, 0);
}

static void on_credential_time(struct hb_timer *timer)
{
	struct credential *credential = hb_container_of(timer, struct credential, timer);
	int64_t left_ms = credential->renew_at_ms - unix_now_ms();

	if (left_ms > 0)
		start_timer(credential, (uint64_t)left_ms);
	else
		make_due(credential);
}

/* 1 s, doubled up to 150 s, each moved by a fifth either way. */
static void retry_later(struct credential *credential)
{
	uint32_t wait_ms = credential->backoff_ms ? credential->backoff_ms : BACKOFF_FIRST_MS;

	credential->backoff_ms = hb_min_u32(wait_ms * 2, BACKOFF_LAST_MS);
	wait_ms = wait_ms * 4 / 5 + arc4random_uniform(wait_ms * 2 / 5 + 1);
	credential->renew_at_ms = unix_now_ms() + wait_ms;
	start_timer(credential, wait_ms);
}

/* A new leaf and the context made of it; both or neither. */
static int make(struct credential *credential, struct fakeca_leaf *ret_leaf,
                struct hb_tls_ctx **ret_ctx)
{
	const struct certs *certs = credential->certs;
	struct fakeca_leaf leaf;
	const char *why;
	int err;

	err = fakeca_sign(certs->ca, credential->identity, certs->ttl_s, unix_now_ms() / 1000,
	                  &leaf, credential->why, sizeof(credential->why));
	if (err < 0)
		return err;

	struct hb_tls_material material = {
		.chain = leaf.chain_pem,
		.key = leaf.key_pem,
		.roots = fakeca_roots_pem(certs->ca),
		.profile = &certs->profile,
	};

	err = hb_tls_ctx_new(&material, ret_ctx, &why);
	if (err < 0) {
		snprintf(credential->why, sizeof(credential->why), "%s", why);
		fakeca_leaf_done(&leaf);
		return err;
	}
	*ret_leaf = leaf;
	return 0;
}

/* Last: on_credential may forget the credential. */
static void issue(struct credential *credential)
{
	struct certs *certs = credential->certs;
	struct fakeca_leaf leaf;
	struct hb_tls_ctx *ctx;

	if (make(credential, &leaf, &ctx) < 0) {
		retry_later(credential); /* what was issued before stays */
		return;
	}
	fakeca_leaf_done(&credential->leaf);
	credential->leaf = leaf;
	credential->why[0] = '\0';
	credential->backoff_ms = 0;

	int64_t now_ms = unix_now_ms();
	uint64_t after_ms =
	    certs_renew_after_ms(leaf.not_before_s, leaf.not_after_s, now_ms, arc4random());

	/* A root near its end gives leaves whose half-life is over at once. */
	if (after_ms < BACKOFF_FIRST_MS / 4)
		after_ms = BACKOFF_FIRST_MS / 4;
	credential->renew_at_ms = now_ms + (int64_t)after_ms;
	start_timer(credential, after_ms);
	certs->on_credential(certs->owner, credential->identity, ctx);
}

static void on_work(struct hb_timer *timer)
{
	struct certs *certs = hb_container_of(timer, struct certs, work);
	struct hb_list *node;

	for (int i = 0; i < PER_TURN && (node = hb_list_shift(&certs->due)) != NULL; i++)
		issue(hb_container_of(node, struct credential, due));
	if (!hb_list_is_empty(&certs->due))
		hb_loop_timer_start(certs->loop, &certs->work, 0);
}

int certs_new(struct hb_loop *loop, const struct certs_options *options, struct certs **ret_certs,
              char *why, size_t why_size)
{
	struct certs *certs = calloc(1, sizeof(*certs));
	int err;

	if (!certs) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	err = fakeca_open(options->ca_cert, options->ca_key, options->state_dir,
	                  unix_now_ms() / 1000, &certs->ca, why, why_size);
	if (err < 0) {
		free(certs);
		return err;
	}
	certs->loop = loop;
	certs->ttl_s = options->ttl_s ? options->ttl_s : TTL_S;
	certs->profile = options->profile;
	certs->on_credential = options->on_credential;
	certs->owner = options->owner;
	hb_list_init(&certs->all);
	hb_list_init(&certs->due);
	hb_timer_init(&certs->work, on_work);
	*ret_certs = certs;
	return 0;
}

static void credential_free(struct credential *credential)
{
	hb_loop_timer_stop(credential->certs->loop, &credential->timer);
	hb_list_remove(&credential->node);
	hb_list_remove(&credential->due);
	fakeca_leaf_done(&credential->leaf);
	free(credential->identity);
	free(credential);
}

void certs_free(struct certs *certs)
{
	if (!certs)
		return;
	hb_list_for_each_safe (node, &certs->all)
		credential_free(hb_container_of(node, struct credential, node));
	hb_loop_timer_stop(certs->loop, &certs->work);
	fakeca_close(certs->ca);
	free(certs);
}

static struct credential *lookup(const struct certs *certs, const char *identity)
{
	hb_list_for_each (node, &certs->all) {
		struct credential *credential = hb_container_of(node, struct credential, node);

		if (strcmp(credential->identity, identity) == 0)
			return credential;
	}
	return NULL;
}

int certs_want(struct certs *certs, const char *identity)
{
	struct credential *credential;

	if (!hb_spiffe_is_valid(identity, strlen(identity)))
		return -EINVAL;
	if (lookup(certs, identity))
		return 0;
	credential = calloc(1, sizeof(*credential));
	if (!credential || !(credential->identity = strdup(identity))) {
		free(credential);
		return -ENOMEM;
	}
	credential->certs = certs;
	hb_list_init(&credential->due);
	hb_timer_init(&credential->timer, on_credential_time);
	hb_list_add(&certs->all, &credential->node);
	make_due(credential);
	return 0;
}

void certs_forget(struct certs *certs, const char *identity)
{
	struct credential *credential = lookup(certs, identity);

	if (credential)
		credential_free(credential);
}

void certs_each(const struct certs *certs, void (*each)(const struct certs_row *row, void *arg),
                void *arg)
{
	int64_t now_s = unix_now_ms() / 1000;

	hb_list_for_each (node, &certs->all) {
		const struct credential *credential =
		    hb_container_of(node, struct credential, node);
		const struct fakeca_leaf *leaf = &credential->leaf;
		char state[sizeof(credential->why) + sizeof("Unavailable: ")];
		bool issued = leaf->chain_pem != NULL;
		struct certs_row row = {
			.identity = credential->identity,
			.state = state,
			.chain_pem = issued ? leaf->chain_pem : "",
			.roots_pem = issued ? fakeca_roots_pem(certs->ca) : "",
			.serial = issued ? leaf->serial : "",
			.not_before_s = leaf->not_before_s,
			.not_after_s = leaf->not_after_s,
		};

		if (issued && leaf->not_after_s > now_s)
			snprintf(state, sizeof(state), "Available");
		else if (credential->why[0] != '\0' || issued)
			snprintf(state, sizeof(state), "Unavailable: %s",
			         credential->why[0] != '\0' ? credential->why : "it has expired");
		else
			snprintf(state, sizeof(state), "Initializing");
		each(&row, arg);
	}
}

/*
 * credentials: a short list; a node's pods have few identities, and each pod keeps its place.
 */
#include "proxy/credentials.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "metrics.h"

void credentials_init(struct credentials *credentials, struct hb_loop *loop,
                      bool (*wish)(void *owner, const char *identity, enum credential_wish wish),
                      void *owner, struct metrics *metrics)
{
	hb_list_init(&credentials->all);
	credentials->loop = loop;
	credentials->wish = wish;
	credentials->owner = owner;
	credentials->metrics = metrics;
}

static bool wish(struct credentials *credentials, const char *identity, enum credential_wish wish)
{
	bool told = credentials->wish(credentials->owner, identity, wish);

	if (!told)
		metrics_count(credentials->metrics, METRIC_CERT_WISHES_LOST, NULL);
	return told;
}

static void credential_free(struct credential *credential)
{
	if (!credential)
		return;
	hb_list_remove(&credential->node);
	hb_tls_ctx_unref(credential->ctx);
	free(credential->identity);
	free(credential->why);
	free(credential);
}

void credentials_done(struct credentials *credentials)
{
	hb_list_for_each_safe (node, &credentials->all) {
		struct credential *credential = hb_container_of(node, struct credential, node);

		assert(hb_list_is_empty(&credential->waits));
		credential_free(credential);
	}
}

static struct credential *lookup(struct credentials *credentials, const char *identity)
{
	hb_list_for_each (node, &credentials->all) {
		struct credential *credential = hb_container_of(node, struct credential, node);

		if (strcmp(credential->identity, identity) == 0)
			return credential;
	}
	return NULL;
}

static struct credential *add(struct credentials *credentials, const char *identity)
{
	struct credential *credential = calloc(1, sizeof(*credential));

	if (!credential)
		return NULL;
	hb_list_init(&credential->node);
	hb_list_init(&credential->waits);
	credential->identity = strdup(identity);
	if (!credential->identity) {
		credential_free(credential);
		return NULL;
	}
	hb_list_add(&credentials->all, &credential->node);
	return credential;
}

struct credential *credentials_get(struct credentials *credentials, const char *identity)
{
	struct credential *credential = lookup(credentials, identity);

	if (!credential)
		credential = add(credentials, identity);
	/* A wish that finds no memory is made up for by the first flow's demand. */
	if (credential && credential->pods++ == 0)
		(void)wish(credentials, identity, CREDENTIAL_HOLD);
	return credential;
}

void credentials_put(struct credentials *credentials, struct credential *credential)
{
	if (!credential)
		return;
	assert(credential->pods > 0);
	/* What it has stays until the node forgets it: the next pod may come soon. */
	if (--credential->pods == 0)
		(void)wish(credentials, credential->identity, CREDENTIAL_RELEASE);
}

/* An answer has come. Who is told may not wait again for the same inside. */
static void tell(struct credential *credential, const char *why)
{
	struct hb_list now, *node;

	credential->demanded = false;
	hb_list_init(&now);
	hb_list_move(&now, &credential->waits);
	while ((node = hb_list_shift(&now))) {
		struct credential_wait *wait = hb_container_of(node, struct credential_wait, node);

		hb_loop_timer_stop(wait->loop, &wait->deadline);
		wait->on_done(wait, credential->ctx, why);
	}
}

void credentials_set(struct credentials *credentials, const char *identity, struct hb_tls_ctx *ctx)
{
	struct credential *credential = lookup(credentials, identity);

	if (!credential)
		credential = add(credentials, identity);
	if (!credential) {
		hb_tls_ctx_unref(ctx);
		return;
	}
	hb_tls_ctx_unref(credential->ctx);
	credential->ctx = ctx;
	free(hb_take(&credential->why));
	tell(credential, NULL);
}

void credentials_refuse(struct credentials *credentials, const char *identity, const char *why)
{
	struct credential *credential = lookup(credentials, identity);

	if (!credential)
		return;
	hb_tls_ctx_unref(hb_take(&credential->ctx));
	free(credential->why);
	credential->why = strdup(why); /* without memory it is asked after again */
	credential->why_ms = hb_loop_now_ms(credentials->loop);
	tell(credential, why);
}

void credentials_forget(struct credentials *credentials, const char *identity)
{
	struct credential *credential = lookup(credentials, identity);

	if (!credential)
		return;
	if (credential->pods == 0 && hb_list_is_empty(&credential->waits)) {
		credential_free(credential);
		return;
	}
	/* A pod came while this was on its way; its own wish has gone out, and is answered. */
	hb_tls_ctx_unref(hb_take(&credential->ctx));
}

static void on_deadline(struct hb_timer *timer)
{
	struct credential_wait *wait = hb_container_of(timer, struct credential_wait, deadline);

	hb_list_remove(&wait->node);
	wait->on_done(wait, NULL, NULL);
}

static void on_refused_before(struct hb_timer *timer)
{
	struct credential_wait *wait = hb_container_of(timer, struct credential_wait, deadline);

	hb_list_remove(&wait->node);
	wait->on_done(wait, NULL, wait->credential->why);
}

void credential_wait(struct credentials *credentials, struct credential *credential,
                     struct credential_wait *wait, uint32_t deadline_ms, credential_done on_done)
{
	bool is_fresh = credential->why && hb_loop_now_ms(credentials->loop) - credential->why_ms <
	                                       CREDENTIAL_FRESH_MS;

	wait->loop = credentials->loop;
	wait->credential = credential;
	wait->on_done = on_done;
	hb_timer_init(&wait->deadline, is_fresh ? on_refused_before : on_deadline);
	hb_list_add(&credential->waits, &wait->node);
	hb_loop_timer_start(wait->loop, &wait->deadline, is_fresh ? 0 : deadline_ms);
	if (!is_fresh && !credential->demanded)
		credential->demanded = wish(credentials, credential->identity, CREDENTIAL_DEMAND);
}

void credential_cancel(struct credential_wait *wait)
{
	if (!wait->on_done)
		return;
	hb_list_remove(&wait->node);
	hb_loop_timer_stop(wait->loop, &wait->deadline);
	wait->on_done = NULL;
}

const char *credential_words(const char *why, char *out, size_t size)
{
	snprintf(out, size, "identity error: %s", why);
	return out;
}

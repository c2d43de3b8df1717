/*
 * credentials: a short list; a node's pods have few identities, and each pod keeps its place.
 */
#include "proxy/credentials.h"

#include <assert.h>
#include <string.h>

void credentials_init(struct credentials *credentials, struct hb_loop *loop,
                      void (*want)(void *owner, const char *identity), void *owner)
{
	hb_list_init(&credentials->all);
	credentials->loop = loop;
	credentials->want = want;
	credentials->owner = owner;
}

static void credential_free(struct credential *credential)
{
	if (!credential)
		return;
	hb_tls_ctx_unref(credential->ctx);
	free(credential->identity);
	free(credential);
}

void credentials_done(struct credentials *credentials)
{
	struct hb_list *node;

	while ((node = hb_list_shift(&credentials->all))) {
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
	hb_list_init(&credential->waits);
	credential->identity = strdup(identity);
	if (!credential->identity) {
		credential_free(credential);
		return NULL;
	}
	hb_list_add(&credentials->all, &credential->node);
	return credential;
}

struct credential *credentials_of(struct credentials *credentials, const char *identity)
{
	struct credential *credential = lookup(credentials, identity);

	if (credential)
		return credential;
	credential = add(credentials, identity);
	if (credential)
		credentials->want(credentials->owner, identity);
	return credential;
}

void credentials_set(struct credentials *credentials, const char *identity, struct hb_tls_ctx *ctx)
{
	struct credential *credential = lookup(credentials, identity);
	struct hb_list *node;

	if (!credential)
		credential = add(credentials, identity);
	if (!credential) {
		hb_tls_ctx_unref(ctx);
		return;
	}
	hb_tls_ctx_unref(credential->ctx);
	credential->ctx = ctx;
	while ((node = hb_list_shift(&credential->waits))) {
		struct credential_wait *wait = hb_container_of(node, struct credential_wait, node);

		hb_loop_timer_stop(wait->loop, &wait->deadline);
		wait->on_done(wait, ctx);
	}
}

static void on_deadline(struct hb_timer *timer)
{
	struct credential_wait *wait = hb_container_of(timer, struct credential_wait, deadline);

	hb_list_remove(&wait->node);
	wait->on_done(wait, NULL);
}

void credential_wait(struct credentials *credentials, struct credential *credential,
                     struct credential_wait *wait, uint32_t deadline_ms, credential_done on_done)
{
	wait->loop = credentials->loop;
	wait->on_done = on_done;
	hb_timer_init(&wait->deadline, on_deadline);
	hb_list_add(&credential->waits, &wait->node);
	hb_loop_timer_start(wait->loop, &wait->deadline, deadline_ms);
}

void credential_cancel(struct credential_wait *wait)
{
	if (!wait->on_done)
		return;
	hb_list_remove(&wait->node);
	hb_loop_timer_stop(wait->loop, &wait->deadline);
	wait->on_done = NULL;
}

/*
 * worker_credentials: what a worker is told of identities.
 */
#include <string.h>

#include "proxy/worker.h"

struct told_credential {
	struct hb_msg msg;
	struct worker *worker;
	struct hb_tls_ctx *ctx; /* or NULL */
	char *why;              /* or NULL; ctx NULL too: forget it */
	char identity[];
};

static void on_credential(struct hb_msg *msg)
{
	struct told_credential *told = hb_container_of(msg, struct told_credential, msg);
	struct credentials *credentials = &told->worker->credentials;

	if (told->ctx)
		credentials_set(credentials, told->identity, told->ctx);
	else if (told->why)
		credentials_refuse(credentials, told->identity, told->why);
	else
		credentials_forget(credentials, told->identity);
	free(told->why);
	free(told);
}

/* Takes @ctx; @why is copied. */
static int tell(struct worker *worker, const char *identity, struct hb_tls_ctx *ctx,
                const char *why)
{
	size_t size = strlen(identity) + 1;
	struct told_credential *told = calloc(1, sizeof(*told) + size);

	if (told && why)
		told->why = strdup(why);
	if (!told || (why && !told->why)) {
		hb_tls_ctx_unref(ctx);
		free(told);
		return -ENOMEM;
	}
	told->msg.run = on_credential;
	told->worker = worker;
	told->ctx = ctx;
	memcpy(told->identity, identity, size);
	hb_loop_post(worker->loop, &told->msg);
	return 0;
}

int worker_set_credential(struct worker *worker, const char *identity, struct hb_tls_ctx *ctx)
{
	return tell(worker, identity, ctx, NULL);
}

int worker_refuse_credential(struct worker *worker, const char *identity, const char *why)
{
	return tell(worker, identity, NULL, why);
}

int worker_forget_credential(struct worker *worker, const char *identity)
{
	return tell(worker, identity, NULL, NULL);
}

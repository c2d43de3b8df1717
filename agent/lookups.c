/*
 * lookups: one struct per question, found again by who asked.
 */
#include "lookups.h"

#include "node/resolver.h"

struct lookup {
	struct hb_list node;
	struct resolver_question *question;
	grpc_resolved on_done;
	void *asker;
};

static void on_answer(void *ctx, int err, const struct hb_ip *ips, size_t count)
{
	struct lookup *lookup = ctx;
	grpc_resolved on_done = lookup->on_done;
	void *asker = lookup->asker;

	hb_list_remove(&lookup->node);
	free(lookup);
	on_done(asker, ips, err ? 0 : count, err ? resolver_strerror(err) : "");
}

static int resolve(void *ctx, const char *host, grpc_resolved on_done, void *asker)
{
	struct lookups *lookups = ctx;
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		return -ENOMEM;
	lookup->on_done = on_done;
	lookup->asker = asker;
	lookup->question = resolver_ask(lookups->resolver, lookups->loop, host, on_answer, lookup);
	if (!lookup->question) {
		free(lookup);
		return -ENOMEM;
	}
	hb_list_add(&lookups->open, &lookup->node);
	return 0;
}

static void forget(void *ctx, void *asker)
{
	struct lookups *lookups = ctx;

	hb_list_for_each_safe (node, &lookups->open) {
		struct lookup *lookup = hb_container_of(node, struct lookup, node);

		if (lookup->asker != asker)
			continue;
		resolver_cancel(lookup->question);
		hb_list_remove(node);
		free(lookup);
	}
}

void lookups_init(struct lookups *lookups, struct resolver *resolver, struct hb_loop *loop)
{
	lookups->resolver = resolver;
	lookups->loop = loop;
	hb_list_init(&lookups->open);
}

struct grpc_resolver lookups_of(struct lookups *lookups)
{
	return (struct grpc_resolver){ .ctx = lookups, .resolve = resolve, .forget = forget };
}

/*
 * xds_asked: a hash table of chains, and a list by the time of answers.
 */
#include "control/xds_asked.h"

#include <string.h>

#include <hbone/base.h>

#include "mesh/hash.h"

struct asked_name {
	struct hb_list node;     /* its bucket's */
	struct hb_list answered; /* empty: it is open */
	uint64_t answered_ms;
	bool nothing;
	char text[];
};

#define NAME_OF(n) hb_container_of(n, struct asked_name, node)

void xds_asked_init(struct xds_asked *asked, uint32_t fresh_ms)
{
	for (size_t i = 0; i < XDS_ASKED_BUCKETS; i++)
		hb_list_init(&asked->buckets[i]);
	hb_list_init(&asked->answered);
	asked->count = 0;
	asked->fresh_ms = fresh_ms;
}

static void drop(struct xds_asked *asked, struct asked_name *name)
{
	hb_list_remove(&name->node);
	hb_list_remove(&name->answered);
	asked->count--;
	free(name);
}

void xds_asked_clear(struct xds_asked *asked)
{
	for (size_t i = 0; i < XDS_ASKED_BUCKETS; i++)
		hb_list_for_each_safe (node, &asked->buckets[i])
			drop(asked, NAME_OF(node));
}

static size_t bucket_of(const char *name)
{
	return hash_text(name) % XDS_ASKED_BUCKETS;
}

static struct asked_name *lookup(const struct xds_asked *asked, const char *name)
{
	hb_list_for_each (node, &asked->buckets[bucket_of(name)])
		if (strcmp(NAME_OF(node)->text, name) == 0)
			return NAME_OF(node);
	return NULL;
}

enum xds_asked_state xds_asked_state(const struct xds_asked *asked, const char *name,
                                     uint64_t now_ms)
{
	const struct asked_name *found = lookup(asked, name);

	if (!found)
		return ASKED_NOT;
	if (hb_list_is_empty(&found->answered))
		return ASKED_OPEN;
	return found->nothing && now_ms - found->answered_ms < asked->fresh_ms ? ASKED_FRESH
	                                                                       : ASKED_STALE;
}

int xds_asked_open(struct xds_asked *asked, const char *name)
{
	struct asked_name *found = lookup(asked, name);
	size_t size = strlen(name) + 1;

	if (found) {
		hb_list_remove(&found->answered);
		return 0;
	}
	if (asked->count >= XDS_ASKED_MAX)
		return -ENOBUFS;
	found = malloc(sizeof(*found) + size);
	if (!found)
		return -ENOMEM;
	memcpy(found->text, name, size);
	hb_list_init(&found->answered);
	hb_list_add(&asked->buckets[bucket_of(name)], &found->node);
	asked->count++;
	return 0;
}

bool xds_asked_answer(struct xds_asked *asked, const char *name, bool nothing, uint64_t now_ms)
{
	struct asked_name *found = lookup(asked, name);

	if (!found)
		return false;
	found->nothing = nothing;
	found->answered_ms = now_ms;
	hb_list_remove(&found->answered);
	hb_list_add(&asked->answered, &found->answered);
	return true;
}

const char *xds_asked_oldest(const struct xds_asked *asked)
{
	if (hb_list_is_empty(&asked->answered))
		return NULL;
	return hb_container_of(asked->answered.next, struct asked_name, answered)->text;
}

void xds_asked_remove(struct xds_asked *asked, const char *name)
{
	struct asked_name *found = lookup(asked, name);

	if (found)
		drop(asked, found);
}

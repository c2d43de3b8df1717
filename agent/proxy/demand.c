/*
 * demand: a hash table of names, each with those who wait for it; and a list of those that nobody
 * has, of which the oldest goes where there are too many.
 */
#include "proxy/demand.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <hbone/error.h>
#include <hbone/loop.h>

#define LOG_SCOPE "proxy"
#include "log.h"
#include "mesh/hash.h"
#include "metrics.h"

struct demand_name {
	struct hb_list node;    /* its bucket's */
	struct hb_list nothing; /* demand's; empty: it is asked for */
	struct hb_list waits;
	uint64_t since_ms; /* asked for, or nothing */
	char text[];
};

#define NAME_OF(n) hb_container_of(n, struct demand_name, node)
#define WAIT_OF(n) hb_container_of(n, struct demand_wait, node)

void demand_init(struct demand *demand, struct hb_loop *loop, struct metrics *metrics,
                 bool (*ask)(void *owner, const char *name), void *owner)
{
	*demand = (struct demand){ .loop = loop, .metrics = metrics, .ask = ask, .owner = owner };
	for (size_t i = 0; i < DEMAND_BUCKETS; i++)
		hb_list_init(&demand->buckets[i]);
	hb_list_init(&demand->nothing);
}

static void drop(struct demand *demand, struct demand_name *name)
{
	assert(hb_list_is_empty(&name->waits));
	hb_list_remove(&name->node);
	hb_list_remove(&name->nothing);
	demand->names--;
	free(name);
}

void demand_done(struct demand *demand)
{
	for (size_t i = 0; i < DEMAND_BUCKETS; i++)
		hb_list_for_each_safe (node, &demand->buckets[i])
			drop(demand, NAME_OF(node));
}

static struct hb_list *bucket_of(const struct demand *demand, const char *text)
{
	size_t at = hash_text(text) % DEMAND_BUCKETS;

	return (struct hb_list *)(uintptr_t)&demand->buckets[at];
}

static struct demand_name *lookup(const struct demand *demand, const char *text)
{
	hb_list_for_each (node, bucket_of(demand, text))
		if (strcmp(NAME_OF(node)->text, text) == 0)
			return NAME_OF(node);
	return NULL;
}

static bool is_fresh(const struct demand *demand, const struct demand_name *name)
{
	return !hb_list_is_empty(&name->nothing) &&
	       hb_loop_now_ms(demand->loop) - name->since_ms < DEMAND_NOTHING_MS;
}

bool demand_is_nothing(const struct demand *demand, const char *name)
{
	const struct demand_name *found = lookup(demand, name);

	return found && is_fresh(demand, found);
}

static int name_new(struct demand *demand, const char *text, struct demand_name **ret_name)
{
	size_t size = strlen(text) + 1;
	struct demand_name *name;

	if (demand->names >= DEMAND_NAMES_MAX && !hb_list_is_empty(&demand->nothing))
		drop(demand, hb_container_of(demand->nothing.next, struct demand_name, nothing));
	if (demand->names >= DEMAND_NAMES_MAX)
		return -ENOBUFS;
	name = calloc(1, sizeof(*name) + size);
	if (!name)
		return -ENOMEM;
	memcpy(name->text, text, size);
	hb_list_init(&name->nothing);
	hb_list_init(&name->waits);
	hb_list_add(bucket_of(demand, text), &name->node);
	demand->names++;
	*ret_name = name;
	return 0;
}

/* An answer comes, or else it was lost: then it is time to ask again. */
static bool is_asked(const struct demand *demand, const struct demand_name *name)
{
	return hb_list_is_empty(&name->nothing) &&
	       hb_loop_now_ms(demand->loop) - name->since_ms < DEMAND_LOST_MS;
}

/* The name, asked for if that is to be done. */
static int name_get(struct demand *demand, const char *text, struct demand_name **ret_name)
{
	struct demand_name *name = lookup(demand, text);
	int err = 0;

	if (demand->waits >= DEMAND_WAITS_MAX)
		return -ENOBUFS;
	if (name && is_asked(demand, name)) {
		*ret_name = name;
		return 0;
	}
	if (!name)
		err = name_new(demand, text, &name);
	if (err < 0)
		return err;
	hb_list_remove(&name->nothing);
	name->since_ms = hb_loop_now_ms(demand->loop);
	if (!demand->ask(demand->owner, text)) {
		if (hb_list_is_empty(&name->waits))
			drop(demand, name);
		return -ENOMEM;
	}
	*ret_name = name;
	return 0;
}

static const char *result_of(int err)
{
	switch (err) {
	case 0:
		return "answered";
	case -ETIMEDOUT:
		return "timeout";
	case -ENOBUFS:
		return "limit";
	default:
		return "failed";
	}
}

static void tell(struct demand_wait *wait, int err)
{
	struct demand *demand = wait->demand;

	demand_cancel(wait);
	metrics_count(demand->metrics, METRIC_ON_DEMAND, result_of(err));
	wait->on_done(wait, err);
}

static void on_time(struct hb_timer *timer)
{
	struct demand_wait *wait = hb_container_of(timer, struct demand_wait, deadline);

	tell(wait, wait->err);
}

void demand_wait(struct demand *demand, struct demand_wait *wait, const char *name,
                 uint32_t deadline_ms, void (*on_done)(struct demand_wait *wait, int err))
{
	struct demand_name *found;
	int err;

	*wait = (struct demand_wait){ .demand = demand, .err = -ETIMEDOUT, .on_done = on_done };
	hb_list_init(&wait->node);
	hb_timer_init(&wait->deadline, on_time);
	err = name_get(demand, name, &found);
	if (err == 0) {
		hb_list_add(&found->waits, &wait->node);
		demand->waits++;
	} else {
		wait->err = err;
		log_warn("connections wait for more of the mesh than there is room for, refused",
		         "name=%s: %s", name, hb_strerror(err));
	}
	hb_loop_timer_start(demand->loop, &wait->deadline, err ? 0 : deadline_ms);
}

void demand_cancel(struct demand_wait *wait)
{
	hb_loop_timer_stop(wait->demand->loop, &wait->deadline);
	if (hb_list_is_empty(&wait->node))
		return;
	hb_list_remove(&wait->node);
	wait->demand->waits--;
}

void demand_answer(struct demand *demand, const char *name, int err)
{
	struct demand_name *found = lookup(demand, name);
	struct hb_list now;

	if (!found || !hb_list_is_empty(&found->nothing))
		return;
	hb_list_init(&now);
	hb_list_move(&now, &found->waits);
	drop(demand, found);
	while (!hb_list_is_empty(&now))
		tell(WAIT_OF(now.next), err); /* which takes it out */
}

void demand_set_nothing(struct demand *demand, const char *name)
{
	struct demand_name *found = lookup(demand, name);

	if (found && hb_list_is_empty(&found->nothing))
		return; /* another one has asked already, and will say */
	if (!found && name_new(demand, name, &found) < 0)
		return; /* it is asked for again, then */
	found->since_ms = hb_loop_now_ms(demand->loop);
	hb_list_remove(&found->nothing);
	hb_list_add(&demand->nothing, &found->nothing);
}

const char *demand_words(const char *name, int err, char out[DEMAND_WORDS])
{
	snprintf(out, DEMAND_WORDS, "the control plane does not say what %.380s is: %s", name,
	         err == -ENOBUFS ? "too many connections wait for such answers" : hb_strerror(err));
	return out;
}

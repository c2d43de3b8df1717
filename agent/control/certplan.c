/*
 * certplan: a list; a node's pods have few identities, and each question walks all of them.
 */
#include "control/certplan.h"

#include <assert.h>

#define SOON_MS 250 /* a renewal this near is one that is over */

void certplan_init(struct certplan *plan, uint32_t (*random)(void))
{
	*plan = (struct certplan){ .random = random, .linger_ms = CERTPLAN_LINGER_MS };
	hb_list_init(&plan->all);
}

static void queue(struct certplan_entry *entry, enum cert_priority priority, uint64_t due_ms)
{
	entry->queued = true;
	entry->priority = priority;
	entry->due_ms = due_ms;
}

void certplan_add(struct certplan *plan, struct certplan_entry *entry, enum cert_priority priority,
                  struct certplan_time now)
{
	queue(entry, priority, now.mono_ms);
	entry->forget_ms = now.mono_ms + plan->linger_ms;
	hb_list_add(&plan->all, &entry->node);
}

void certplan_remove(struct certplan *plan, struct certplan_entry *entry)
{
	if (entry->running)
		plan->running--;
	hb_list_remove(&entry->node);
}

static bool was_never_issued(const struct certplan_entry *entry)
{
	return !entry->has_cert && !entry->failing;
}

void certplan_hold(struct certplan_entry *entry, enum cert_priority priority)
{
	entry->holders++;
	if (was_never_issued(entry) && priority > entry->priority)
		entry->priority = priority;
}

void certplan_release(const struct certplan *plan, struct certplan_entry *entry,
                      struct certplan_time now)
{
	assert(entry->holders > 0);
	if (--entry->holders == 0)
		entry->forget_ms = now.mono_ms + plan->linger_ms;
}

static bool has_ended(const struct certplan_entry *entry, struct certplan_time now)
{
	return entry->failing && now.unix_ms >= entry->not_after_ms;
}

enum cert_state certplan_state(const struct certplan_entry *entry, struct certplan_time now)
{
	if (entry->has_cert && !has_ended(entry, now))
		return CERT_AVAILABLE;
	return entry->has_cert || entry->failing ? CERT_UNAVAILABLE : CERT_INITIALIZING;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

enum certplan_answer certplan_demand(const struct certplan *plan, struct certplan_entry *entry,
                                     struct certplan_time now)
{
	enum cert_state state = certplan_state(entry, now);
	uint64_t old_ms = max_u64(CERTPLAN_BACKOFF_FIRST_MS, entry->backoff_ms / 10);

	if (entry->holders == 0)
		entry->forget_ms = now.mono_ms + plan->linger_ms;
	if (state == CERT_AVAILABLE)
		return CERTPLAN_HAVE;
	if (entry->running)
		return CERTPLAN_WAIT;
	if (state == CERT_UNAVAILABLE && entry->priority != CERT_REALTIME &&
	    now.mono_ms - entry->failed_ms < old_ms)
		return CERTPLAN_REFUSE;
	queue(entry, CERT_REALTIME, entry->due_ms < now.mono_ms ? entry->due_ms : now.mono_ms);
	return CERTPLAN_WAIT;
}

/* Is it to be asked for at some time, as which priority, and when? */
static bool is_waiting(const struct certplan_entry *entry, struct certplan_time now,
                       enum cert_priority *ret_priority, int64_t *ret_in_ms)
{
	if (entry->running || (!entry->queued && !entry->has_cert))
		return false;
	*ret_priority = entry->queued ? entry->priority : CERT_BACKGROUND;
	*ret_in_ms =
	    entry->queued ? (int64_t)(entry->due_ms - now.mono_ms) : entry->renew_ms - now.unix_ms;
	return entry->holders > 0 || *ret_priority == CERT_REALTIME;
}

struct certplan_entry *certplan_pick(struct certplan *plan, struct certplan_time now)
{
	struct certplan_entry *best = NULL;
	enum cert_priority priority, best_priority = CERT_BACKGROUND;
	int64_t in_ms, best_in_ms = 0;

	if (plan->running >= CERTPLAN_RUNNING_MAX)
		return NULL;
	hb_list_for_each (node, &plan->all) {
		struct certplan_entry *entry = hb_container_of(node, struct certplan_entry, node);

		if (!is_waiting(entry, now, &priority, &in_ms) || in_ms > 0)
			continue;
		if (best && (priority < best_priority ||
		             (priority == best_priority && in_ms >= best_in_ms)))
			continue;
		best = entry;
		best_priority = priority;
		best_in_ms = in_ms;
	}
	if (best) {
		best->queued = false;
		best->running = true;
		plan->running++;
	}
	return best;
}

static void stop_running(struct certplan *plan, struct certplan_entry *entry)
{
	assert(entry->running);
	entry->running = false;
	plan->running--;
}

/* The next wait: doubled each time, and up to a fifth longer or shorter. */
static uint32_t back_off(const struct certplan *plan, struct certplan_entry *entry)
{
	uint32_t wait_ms = entry->backoff_ms * 2;

	if (wait_ms < CERTPLAN_BACKOFF_FIRST_MS)
		wait_ms = CERTPLAN_BACKOFF_FIRST_MS;
	if (wait_ms > CERTPLAN_BACKOFF_LAST_MS)
		wait_ms = CERTPLAN_BACKOFF_LAST_MS;
	entry->backoff_ms = wait_ms;
	return wait_ms * 4 / 5 + (uint32_t)((uint64_t)plan->random() * (wait_ms * 2 / 5 + 1) >> 32);
}

int64_t certplan_renew_ms(int64_t not_before_s, int64_t not_after_s, int64_t now_ms,
                          uint32_t random)
{
	int64_t life_ms = (not_after_s - not_before_s) * 1000;
	int64_t spread_ms = life_ms / 20;

	if (life_ms <= 0 || now_ms < not_before_s * 1000)
		return 0; /* the clock was set back, or the dates are nonsense */
	return not_before_s * 1000 + life_ms / 2 - spread_ms +
	       (int64_t)((uint64_t)random * (uint64_t)(2 * spread_ms + 1) >> 32);
}

void certplan_issued(struct certplan *plan, struct certplan_entry *entry, int64_t not_before_s,
                     int64_t not_after_s, struct certplan_time now)
{
	int64_t left_ms = not_after_s * 1000 - now.unix_ms;

	stop_running(plan, entry);
	entry->has_cert = true;
	entry->failing = false;
	entry->not_after_ms = not_after_s * 1000;
	entry->renew_ms = certplan_renew_ms(not_before_s, not_after_s, now.unix_ms, plan->random());
	/* istiod dates back by two minutes: half-life of a short one is over when it comes. */
	if (entry->renew_ms && entry->renew_ms < now.unix_ms + SOON_MS && left_ms > 0)
		entry->renew_ms =
		    certplan_renew_ms(now.unix_ms / 1000, not_after_s, now.unix_ms, plan->random());
	if (entry->renew_ms >= now.unix_ms + SOON_MS)
		entry->backoff_ms = 0;
	else
		queue(entry, CERT_BACKGROUND, now.mono_ms + back_off(plan, entry));
}

void certplan_failed(struct certplan *plan, struct certplan_entry *entry, struct certplan_time now)
{
	uint64_t wait_ms = back_off(plan, entry);
	int64_t left_ms = entry->not_after_ms - now.unix_ms;

	stop_running(plan, entry);
	entry->failing = true;
	entry->failed_ms = now.mono_ms;
	if (entry->has_cert && left_ms > 0 && (uint64_t)left_ms < wait_ms)
		wait_ms = (uint64_t)left_ms;
	queue(entry, CERT_BACKGROUND, now.mono_ms + wait_ms);
}

void certplan_renew_all(struct certplan *plan, struct certplan_time now)
{
	hb_list_for_each (node, &plan->all) {
		struct certplan_entry *entry = hb_container_of(node, struct certplan_entry, node);

		entry->backoff_ms = 0;
		if (!entry->running && !entry->queued)
			queue(entry, CERT_BACKGROUND, now.mono_ms);
		else if (entry->queued && entry->due_ms > now.mono_ms)
			entry->due_ms = now.mono_ms;
	}
}

struct certplan_entry *certplan_next_ended(struct certplan *plan, struct certplan_time now)
{
	hb_list_for_each (node, &plan->all) {
		struct certplan_entry *entry = hb_container_of(node, struct certplan_entry, node);

		if (!entry->has_cert || !has_ended(entry, now))
			continue;
		entry->has_cert = false;
		return entry;
	}
	return NULL;
}

struct certplan_entry *certplan_next_forgotten(struct certplan *plan, struct certplan_time now)
{
	hb_list_for_each (node, &plan->all) {
		struct certplan_entry *entry = hb_container_of(node, struct certplan_entry, node);

		if (entry->holders == 0 && now.mono_ms >= entry->forget_ms)
			return entry;
	}
	return NULL;
}

static void sooner(uint64_t *wait_ms, int64_t in_ms)
{
	uint64_t one_ms = in_ms > 0 ? (uint64_t)in_ms : 0;

	if (one_ms < *wait_ms)
		*wait_ms = one_ms;
}

uint64_t certplan_wait_ms(const struct certplan *plan, struct certplan_time now)
{
	bool may_run = plan->running < CERTPLAN_RUNNING_MAX;
	uint64_t wait_ms = UINT64_MAX;
	enum cert_priority priority;
	int64_t in_ms;

	hb_list_for_each (node, &plan->all) {
		const struct certplan_entry *entry =
		    hb_container_of(node, struct certplan_entry, node);

		if (may_run && is_waiting(entry, now, &priority, &in_ms))
			sooner(&wait_ms, in_ms);
		if (entry->has_cert && entry->failing)
			sooner(&wait_ms, entry->not_after_ms - now.unix_ms);
		if (entry->holders == 0)
			sooner(&wait_ms, (int64_t)(entry->forget_ms - now.mono_ms));
	}
	return wait_ms;
}

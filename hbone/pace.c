/*
 * pace: a circle of queues, and a timer that is due in every turn while one has something, or every
 * millisecond while all that do have to wait.
 */
#include <hbone/pace.h>

#include <assert.h>

/* It has not used up what is its own until now. */
static bool may_run(const struct hb_pace *pace, struct hb_pace_group *group)
{
	uint64_t now_ms = hb_loop_now_ms(pace->loop), more;

	if (pace->every_ms == 0)
		return true;
	if (now_ms < group->since_ms)
		return false; /* fined */
	more = (now_ms - group->since_ms) / pace->every_ms;
	group->since_ms += more * pace->every_ms;
	group->left = more < pace->burst - group->left ? group->left + (uint32_t)more : pace->burst;
	return group->left > 0;
}

/*
 * NULL: none, or those that there are have to wait. A group whose items have all left meanwhile is
 * taken off the circle when its turn comes.
 */
static struct hb_pace_item *next(struct hb_pace *pace)
{
	const struct hb_pace_group *waits = NULL; /* the first that does; once around is enough */
	struct hb_list *node, *item;

	while ((node = hb_list_shift(&pace->circle))) {
		struct hb_pace_group *group = hb_container_of(node, struct hb_pace_group, node);

		if (hb_list_is_empty(&group->items))
			continue;
		if (!may_run(pace, group)) {
			hb_list_add(&pace->circle, &group->node);
			if (group == waits)
				return NULL;
			waits = waits ? waits : group;
			continue;
		}
		if (pace->every_ms)
			group->left--;
		item = hb_list_shift(&group->items);
		if (!hb_list_is_empty(&group->items))
			hb_list_add(&pace->circle, &group->node);
		return hb_container_of(item, struct hb_pace_item, node);
	}
	return NULL;
}

static void on_turn(struct hb_timer *timer)
{
	struct hb_pace *pace = hb_container_of(timer, struct hb_pace, timer);
	struct hb_pace_item *item = NULL;

	pace->resting = false;
	for (unsigned n = 0; n < pace->per_turn && (item = next(pace)); n++)
		item->run(item); /* may free it */
	if (hb_list_is_empty(&pace->circle))
		return;
	pace->resting = !item;
	hb_loop_timer_start(pace->loop, &pace->timer, pace->resting ? 1 : 0);
}

void hb_pace_init(struct hb_pace *pace, struct hb_loop *loop, unsigned per_turn)
{
	assert(per_turn > 0);
	pace->loop = loop;
	pace->per_turn = per_turn;
	pace->burst = pace->every_ms = 0;
	pace->queued = 0;
	pace->resting = false;
	hb_timer_init(&pace->timer, on_turn);
	hb_list_init(&pace->circle);
	for (size_t i = 0; i < HB_PACE_GROUPS; i++) {
		hb_list_init(&pace->groups[i].node);
		hb_list_init(&pace->groups[i].items);
		pace->groups[i].left = 0;
		pace->groups[i].since_ms = 0;
	}
}

void hb_pace_limit(struct hb_pace *pace, uint32_t burst, uint32_t every_ms)
{
	assert(burst > 0 && every_ms > 0);
	pace->burst = burst;
	pace->every_ms = every_ms;
	for (size_t i = 0; i < HB_PACE_GROUPS; i++) {
		pace->groups[i].left = burst;
		pace->groups[i].since_ms = hb_loop_now_ms(pace->loop);
	}
}

void hb_pace_fine(struct hb_pace *pace, uint32_t number, uint32_t for_ms)
{
	struct hb_pace_group *group = &pace->groups[number % HB_PACE_GROUPS];

	assert(pace->every_ms > 0);
	group->since_ms = hb_loop_now_ms(pace->loop) + for_ms; /* till then it earns nothing */
}

void hb_pace_done(struct hb_pace *pace)
{
	for (size_t i = 0; i < HB_PACE_GROUPS; i++)
		assert(hb_list_is_empty(&pace->groups[i].items));
	hb_loop_timer_stop(pace->loop, &pace->timer);
}

void hb_pace_item_init(struct hb_pace_item *item, void (*run)(struct hb_pace_item *item))
{
	hb_list_init(&item->node);
	item->run = run;
}

void hb_pace_ask(struct hb_pace *pace, struct hb_pace_item *item, uint32_t number)
{
	struct hb_pace_group *group = &pace->groups[number % HB_PACE_GROUPS];

	if (!hb_list_is_empty(&item->node))
		return;
	pace->queued += !hb_list_is_empty(&pace->circle);
	hb_list_add(&group->items, &item->node);
	if (hb_list_is_empty(&group->node))
		hb_list_add(&pace->circle, &group->node);
	if (!hb_timer_is_running(&pace->timer) || pace->resting)
		hb_loop_timer_start(pace->loop, &pace->timer, 0);
	pace->resting = false;
}

void hb_pace_leave(struct hb_pace_item *item)
{
	hb_list_remove(&item->node);
}

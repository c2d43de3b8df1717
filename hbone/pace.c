/*
 * pace: a circle of queues, and a timer that is due in every turn while one has something.
 */
#include <hbone/pace.h>

#include <assert.h>

/* A group whose items have all left meanwhile is taken off the circle when its turn comes. */
static struct hb_pace_item *next(struct hb_pace *pace)
{
	struct hb_list *node, *item;

	while ((node = hb_list_shift(&pace->circle))) {
		struct hb_pace_group *group = hb_container_of(node, struct hb_pace_group, node);

		item = hb_list_shift(&group->items);
		if (!item)
			continue;
		if (!hb_list_is_empty(&group->items))
			hb_list_add(&pace->circle, &group->node);
		return hb_container_of(item, struct hb_pace_item, node);
	}
	return NULL;
}

static void on_turn(struct hb_timer *timer)
{
	struct hb_pace *pace = hb_container_of(timer, struct hb_pace, timer);
	struct hb_pace_item *item;

	for (unsigned n = 0; n < pace->per_turn && (item = next(pace)); n++)
		item->run(item); /* may free it */
	if (!hb_list_is_empty(&pace->circle))
		hb_loop_timer_start(pace->loop, &pace->timer, 0);
}

void hb_pace_init(struct hb_pace *pace, struct hb_loop *loop, unsigned per_turn)
{
	assert(per_turn > 0);
	pace->loop = loop;
	pace->per_turn = per_turn;
	pace->queued = 0;
	hb_timer_init(&pace->timer, on_turn);
	hb_list_init(&pace->circle);
	for (size_t i = 0; i < HB_PACE_GROUPS; i++) {
		hb_list_init(&pace->groups[i].node);
		hb_list_init(&pace->groups[i].items);
	}
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
	if (!hb_timer_is_running(&pace->timer))
		hb_loop_timer_start(pace->loop, &pace->timer, 0);
}

void hb_pace_leave(struct hb_pace_item *item)
{
	hb_list_remove(&item->node);
}

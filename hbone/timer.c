/*
 * timer: the wheel. Level l has 64 slots of 64^l milliseconds; a timer sits on the lowest level
 * whose round is long enough, and moves down as its time comes near.
 */
#include <hbone/timer.h>

#include <assert.h>

#define LEVEL_BITS 6
#define ROUND_MAX  ((uint64_t)1 << (LEVEL_BITS * HB_WHEEL_LEVELS))

void hb_timer_init(struct hb_timer *timer, hb_timer_fn on_time)
{
	*timer = (struct hb_timer){ .on_time = on_time };
	hb_list_init(&timer->node);
}

bool hb_timer_is_running(const struct hb_timer *timer)
{
	return !hb_list_is_empty(&timer->node);
}

void hb_wheel_init(struct hb_wheel *wheel, uint64_t now_ms)
{
	*wheel = (struct hb_wheel){ .now_ms = now_ms };
	hb_list_init(&wheel->next);
	hb_list_init(&wheel->due);
	for (size_t level = 0; level < HB_WHEEL_LEVELS; level++)
		for (size_t slot = 0; slot < HB_WHEEL_SLOTS; slot++)
			hb_list_init(&wheel->slots[level][slot]);
}

static void move_all(struct hb_list *to, struct hb_list *from)
{
	struct hb_list *node;

	while ((node = hb_list_shift(from)))
		hb_list_add(to, node);
}

/* Files by at_ms, which is not before now_ms. What lies beyond the last round is filed at its end,
 * and again from there. */
static void file(struct hb_wheel *wheel, struct hb_timer *timer)
{
	uint64_t after = timer->at_ms - wheel->now_ms;
	uint64_t at = after <= ROUND_MAX ? timer->at_ms : wheel->now_ms + ROUND_MAX;
	size_t level = 0, slot;

	while (level < HB_WHEEL_LEVELS - 1 && after >> (LEVEL_BITS * (level + 1)) > 0)
		level++;
	slot = (at >> (LEVEL_BITS * level)) % HB_WHEEL_SLOTS;
	hb_list_add(&wheel->slots[level][slot], &timer->node);
	wheel->occupied[level] |= (uint64_t)1 << slot;
}

void hb_wheel_start(struct hb_wheel *wheel, struct hb_timer *timer, uint64_t after_ms)
{
	hb_wheel_stop(wheel, timer);
	wheel->timers++;
	if (after_ms > UINT64_MAX / 2)
		after_ms = UINT64_MAX / 2;
	timer->at_ms = wheel->now_ms + after_ms;
	if (after_ms == 0)
		hb_list_add(&wheel->next, &timer->node);
	else
		file(wheel, timer);
}

void hb_wheel_stop(struct hb_wheel *wheel, struct hb_timer *timer)
{
	struct hb_list *left = timer->node.next;
	size_t index;

	if (!hb_timer_is_running(timer))
		return;
	wheel->timers--;
	hb_list_remove(&timer->node);
	/* A neighbour that is now alone is the head of a list that has become empty. */
	if (!hb_list_is_empty(left) || left == &wheel->next || left == &wheel->due)
		return;
	index = (size_t)(left - &wheel->slots[0][0]);
	wheel->occupied[index / HB_WHEEL_SLOTS] &= ~((uint64_t)1 << index % HB_WHEEL_SLOTS);
}

/* The next time at which a slot of @level comes up, or UINT64_MAX. On level 0 it fires then, above
 * it is filed anew. */
static uint64_t next_on_level(const struct hb_wheel *wheel, size_t level)
{
	unsigned shift = LEVEL_BITS * (unsigned)level;
	unsigned first = (unsigned)((wheel->now_ms >> shift) + 1) % HB_WHEEL_SLOTS;
	uint64_t bits = wheel->occupied[level];

	if (!bits)
		return UINT64_MAX;
	if (first)
		bits = bits >> first | bits << (HB_WHEEL_SLOTS - first);
	return ((wheel->now_ms >> shift) + 1 + (unsigned)__builtin_ctzll(bits)) << shift;
}

static uint64_t next_event(const struct hb_wheel *wheel)
{
	uint64_t at = UINT64_MAX;

	for (size_t level = 0; level < HB_WHEEL_LEVELS; level++) {
		uint64_t t = next_on_level(wheel, level);

		if (t < at)
			at = t;
	}
	return at;
}

/* Takes a slot that came up: fires on level 0, else files anew. */
static void open_slot(struct hb_wheel *wheel, size_t level)
{
	size_t slot = (wheel->now_ms >> (LEVEL_BITS * level)) % HB_WHEEL_SLOTS;
	struct hb_list taken = HB_LIST_INIT(taken);
	struct hb_list *node;

	if (!(wheel->occupied[level] & (uint64_t)1 << slot))
		return;
	wheel->occupied[level] &= ~((uint64_t)1 << slot);
	if (level == 0) {
		move_all(&wheel->due, &wheel->slots[0][slot]);
		return;
	}
	move_all(&taken, &wheel->slots[level][slot]);
	while ((node = hb_list_shift(&taken)))
		file(wheel, hb_container_of(node, struct hb_timer, node));
}

void hb_wheel_advance(struct hb_wheel *wheel, uint64_t now_ms)
{
	struct hb_list *node;
	uint64_t at;

	assert(hb_list_is_empty(&wheel->due));
	move_all(&wheel->due, &wheel->next);
	while ((at = next_event(wheel)) <= now_ms) {
		wheel->now_ms = at;
		for (size_t level = HB_WHEEL_LEVELS; level-- > 0;)
			if (at % ((uint64_t)1 << (LEVEL_BITS * level)) == 0)
				open_slot(wheel, level);
	}
	if (now_ms > wheel->now_ms)
		wheel->now_ms = now_ms;

	while ((node = hb_list_shift(&wheel->due))) {
		struct hb_timer *timer = hb_container_of(node, struct hb_timer, node);

		wheel->timers--;
		timer->on_time(timer); /* may free it */
	}
}

uint64_t hb_wheel_next_ms(const struct hb_wheel *wheel)
{
	uint64_t at;

	if (!hb_list_is_empty(&wheel->next))
		return 0;
	at = next_event(wheel);
	return at == UINT64_MAX ? UINT64_MAX : at - wheel->now_ms;
}

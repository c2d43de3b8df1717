/*
 * newcomers: a list for each group, and the sum of their lengths.
 */
#include "proxy/newcomers.h"

#include <string.h>

void newcomers_init(struct newcomers *all, uint64_t secret)
{
	all->secret = secret;
	all->count = 0;
	for (size_t i = 0; i < NEWCOMERS_GROUPS; i++) {
		hb_list_init(&all->groups[i].list);
		all->groups[i].count = 0;
	}
}

/* splitmix64's last steps: every bit of @x in every bit of the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint32_t newcomers_group(const struct newcomers *all, const struct hb_ip *ip)
{
	uint64_t half[2];

	memcpy(half, ip->b, sizeof(half));
	return (uint32_t)(mix(mix(all->secret ^ half[0]) ^ half[1]) % NEWCOMERS_GROUPS);
}

static uint32_t largest(const struct newcomers *all)
{
	uint32_t most = 0;

	for (uint32_t i = 1; i < NEWCOMERS_GROUPS; i++)
		if (all->groups[i].count > all->groups[most].count)
			most = i;
	return most;
}

bool newcomers_add(struct newcomers *all, struct newcomer *newcomer, const struct hb_ip *ip)
{
	uint32_t group = newcomers_group(all, ip), crowd = NEWCOMERS_GROUPS;

	if (all->groups[group].count >= NEWCOMERS_GROUP_MAX)
		crowd = group;
	else if (all->count >= NEWCOMERS_MAX)
		crowd = largest(all);
	if (crowd < NEWCOMERS_GROUPS) {
		struct newcomer *oldest =
		    hb_container_of(all->groups[crowd].list.next, struct newcomer, node);

		newcomers_remove(oldest);
		oldest->on_shed(oldest);
	}
	newcomer->all = all;
	newcomer->group = group;
	hb_list_add(&all->groups[group].list, &newcomer->node);
	all->groups[group].count++;
	all->count++;
	return crowd < NEWCOMERS_GROUPS;
}

void newcomers_remove(struct newcomer *newcomer)
{
	struct newcomers *all = hb_take(&newcomer->all);

	if (!all)
		return;
	hb_list_remove(&newcomer->node);
	all->groups[newcomer->group].count--;
	all->count--;
}

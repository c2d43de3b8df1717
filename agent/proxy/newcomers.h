/*
 * newcomers: connections of peers that have not proven yet who they are: so many of one address,
 * and so many in all.
 *
 * Where one is too many, the oldest of the address that has most goes: a crowd pushes out itself.
 * Addresses are hashed with a secret into NEWCOMERS_GROUPS; two that share a group share its room.
 * Nothing is allocated. Thread: the worker's own.
 */
#pragma once

#include <hbone/addr.h>
#include <hbone/list.h>

#define NEWCOMERS_GROUPS    256u
#define NEWCOMERS_GROUP_MAX 256u
#define NEWCOMERS_MAX       2048u

struct newcomer; /* embedded by its owner, zeroed or removed when it is added */
struct newcomer {
	struct hb_list node;   /* its group's, the oldest first */
	struct newcomers *all; /* NULL: not among them */
	uint32_t group;
	/* It was removed, and is to end; inside newcomers_add() of another. */
	void (*on_shed)(struct newcomer *newcomer);
};

struct newcomers {
	uint64_t secret;
	unsigned count;
	struct {
		struct hb_list list;
		unsigned count;
	} groups[NEWCOMERS_GROUPS];
};

void newcomers_init(struct newcomers *all, uint64_t secret);
/* The group of an address, before or after; also for who shares turns (hb_pace). */
uint32_t newcomers_group(const struct newcomers *all, const struct hb_ip *ip);
/* Makes room first, by shedding at most one. True: it did. */
bool newcomers_add(struct newcomers *all, struct newcomer *newcomer, const struct hb_ip *ip);
void newcomers_remove(struct newcomer *newcomer); /* also when it is not among them */

/*
 * facts: a hash table of counted blocks that find themselves again.
 */
#include "proxy/facts.h"

#include <string.h>

struct facts {
	struct facts *next; /* in its bucket */
	uint32_t refs;
	uint32_t hash; /* of at and text */
	uint32_t size; /* bytes of text */
	uint16_t at[FLOW_TEXTS];
	char text[]; /* begins with the empty one, which all absent texts share */
};

static uint32_t hash_of(const struct facts *facts)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < FLOW_TEXTS; i++)
		hash = (hash ^ facts->at[i]) * 16777619u;
	for (size_t i = 0; i < facts->size; i++)
		hash = (hash ^ (uint8_t)facts->text[i]) * 16777619u;
	return hash;
}

static bool is_same(const struct facts *a, const struct facts *b)
{
	return a->hash == b->hash && a->size == b->size &&
	       memcmp(a->at, b->at, sizeof(a->at)) == 0 && memcmp(a->text, b->text, a->size) == 0;
}

static struct facts *build(const char *const *texts, const struct facts *base)
{
	const char *from[FLOW_TEXTS];
	size_t len[FLOW_TEXTS], size = 1;
	struct facts *facts;

	for (int i = 0; i < FLOW_TEXTS; i++) {
		from[i] = texts[i] ? texts[i] : facts_text(base, (enum flow_text)i);
		len[i] = strnlen(from[i], FLOW_TEXT_MAX);
		size += len[i] ? len[i] + 1 : 0;
	}
	facts = malloc(sizeof(*facts) + size);
	if (!facts)
		return NULL;
	*facts = (struct facts){ .refs = 1, .size = (uint32_t)size };
	facts->text[0] = 0;
	size = 1;
	for (int i = 0; i < FLOW_TEXTS; i++) {
		if (len[i] == 0)
			continue;
		memcpy(facts->text + size, from[i], len[i]);
		facts->text[size + len[i]] = 0;
		facts->at[i] = (uint16_t)size;
		size += len[i] + 1;
	}
	facts->hash = hash_of(facts);
	return facts;
}

const struct facts *facts_get(struct facts_table *table, const char *const *texts,
                              const struct facts *base)
{
	struct facts *facts = build(texts, base);
	struct facts **bucket;

	if (!facts)
		return NULL;
	bucket = &table->buckets[facts->hash % FACTS_BUCKETS];
	for (struct facts *old = *bucket; old; old = old->next) {
		if (!is_same(old, facts))
			continue;
		free(facts);
		old->refs++;
		return old;
	}
	facts->next = *bucket;
	*bucket = facts;
	table->blocks++;
	return facts;
}

void facts_put(struct facts_table *table, const struct facts *facts)
{
	struct facts **at;

	if (!facts)
		return;
	at = &table->buckets[facts->hash % FACTS_BUCKETS];
	while (*at != facts)
		at = &(*at)->next;
	if (--(*at)->refs > 0)
		return;
	table->blocks--;
	*at = facts->next;
	free((void *)(uintptr_t)facts);
}

const struct facts *facts_ref(const struct facts *facts)
{
	((struct facts *)(uintptr_t)facts)->refs++;
	return facts;
}

const char *facts_text(const struct facts *facts, enum flow_text which)
{
	return facts ? facts->text + facts->at[which] : "";
}

size_t facts_bytes(const struct facts *facts)
{
	return facts ? sizeof(*facts) + facts->size : 0;
}

/*
 * texts: a chained table that grows; a word leaves it with its last reference.
 */
#include "mesh/texts.h"

#include <assert.h>
#include <string.h>

#include "mesh/hash.h"

#define ROOM_MIN 256u

const char text_none[] = "";

struct text {
	struct counted counted;
	uint32_t hash, len;
	struct text *next;
	char word[];
};

static struct text **bucket_of(struct texts *texts, uint32_t hash)
{
	return &texts->buckets[hash & (texts->room - 1)];
}

static void on_done(struct heap *heap, struct counted *counted)
{
	struct text *text = hb_container_of(counted, struct text, counted);
	struct text **at = bucket_of(heap->texts, text->hash);

	while (*at != text)
		at = &(*at)->next;
	*at = text->next;
	heap->texts->count--;
}

void texts_init(struct texts *texts, struct heap *heap)
{
	*texts = (struct texts){ 0 };
	heap->texts = texts;
	heap->done[COUNTED_TEXT] = on_done;
}

void texts_done(struct texts *texts)
{
	assert(texts->count == 0);
	free(texts->buckets);
	*texts = (struct texts){ 0 };
}

static int grow(struct heap *heap, struct texts *texts)
{
	struct texts more = { .room = texts->room ? texts->room * 2 : ROOM_MIN };

	more.buckets = calloc(more.room, sizeof(struct text *));
	if (!more.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < texts->room; i++) {
		struct text *next;

		for (struct text *text = texts->buckets[i]; text; text = next) {
			struct text **at = bucket_of(&more, text->hash);

			next = text->next;
			text->next = *at;
			*at = text;
		}
	}
	free(texts->buckets);
	texts->buckets = more.buckets;
	texts->room = more.room;
	return 0;
}

const char *text_new_len(struct heap *heap, const char *word, size_t len)
{
	struct texts *texts = heap->texts;
	uint32_t hash = (uint32_t)hash_bytes(word, len);
	struct text *text;

	if (!len)
		return text_none;
	if (texts->count >= texts->room && grow(heap, texts) < 0)
		return NULL;
	for (text = *bucket_of(texts, hash); text; text = text->next) {
		if (text->hash == hash && text->len == len && memcmp(text->word, word, len) == 0) {
			counted_ref(text);
			return text->word;
		}
	}
	if (len >= UINT32_MAX)
		return NULL;
	text = heap_new(heap, COUNTED_TEXT, sizeof(*text) + len + 1);
	if (!text)
		return NULL;
	text->hash = hash;
	text->len = (uint32_t)len;
	memcpy(text->word, word, len);
	text->next = *bucket_of(texts, hash);
	*bucket_of(texts, hash) = text;
	texts->count++;
	return text->word;
}

const char *text_new(struct heap *heap, const char *word)
{
	return text_new_len(heap, word ? word : "", word ? strlen(word) : 0);
}

const char *text_ref(const char *word)
{
	if (word != text_none)
		counted_ref((char *)(uintptr_t)word - offsetof(struct text, word));
	return word;
}

void text_unref(struct heap *heap, const char *word)
{
	if (word && word != text_none)
		counted_unref(heap, (char *)(uintptr_t)word - offsetof(struct text, word));
}

/*
 * texts: words that many objects have in common (namespaces, nodes, identities ...), stored once
 * and counted. Equal words are the same pointer. Thread: the heap's.
 */
#pragma once

#include "mesh/heap.h"

struct text;

struct texts {
	struct text **buckets;
	size_t count, room;
};

void texts_init(struct texts *texts, struct heap *heap);
void texts_done(struct texts *texts); /* all words have been let go */

extern const char text_none[]; /* what "" and NULL become; not counted */

/* One reference. NULL: no memory. */
const char *text_new(struct heap *heap, const char *word);
const char *text_new_len(struct heap *heap, const char *word, size_t len);
/* One reference more, to the word itself; also of text_none. */
const char *text_ref(const char *word);
/* Takes NULL and text_none. */
void text_unref(struct heap *heap, const char *word);

/*
 * laststate_own: what laststate.c (records, and the file that is found) and laststate_write.c (the
 * next file) share.
 */
#pragma once

#include <hbone/list.h>

#include "control/laststate.h"

struct state_file {
	int fd;
	size_t refs;    /* entries, and the state itself */
	uint64_t bytes; /* that it has, once it is no longer written */
};

struct entry {
	struct hb_list node; /* of all, in the order of the file */
	struct entry *next;  /* of its bucket */
	uint64_t hash, sum;
	uint8_t *record;         /* or NULL: it lies in */
	struct state_file *file; /* at */
	uint64_t offset;
	uint32_t bytes; /* of the record */
	uint8_t type;   /* index of types */
	char name[];
};

struct laststate {
	char *dir, *path, *path_new, *path_aside;
	char source[LASTSTATE_SOURCE_MAX + 1]; /* NULs after it */
	char *types[LASTSTATE_TYPES_MAX];
	struct hb_list entries;
	struct entry **buckets; /* a power of two of them */
	size_t buckets_count, count;
	uint64_t bytes;             /* of all records */
	struct state_file *file;    /* that has the name; NULL: none */
	struct laststate_head head; /* of it */
	struct state_file *spool;   /* without a name: what has been put since; NULL: none */
	/* Without a name too: not needed any more. Letting 40 MiB go takes 10 ms, so it goes by
	 * and by. */
	struct state_file *retired[2];
	bool has_no_spool; /* it cannot be made: what is put is in memory until a file is written */
	uint64_t changes, written; /* ever; when the file was begun */
	bool has_news;             /* since the last step, from whoever knows */
	uint64_t as_of_ms;         /* what a file that is begun now would say */
	uint64_t due_ms;           /* no file is begun before */
	uint8_t *scratch;          /* a record that is put, or that laststate_next() gave */
	size_t scratch_bytes;
	struct laststate_report report;

	struct { /* the file that is being written */
		struct state_file *file;
		struct hb_list *at, *first; /* next to be taken; first that is in the buffer */
		uint8_t *buffer;
		size_t filled;
		uint64_t changes; /* when it was begun */
		struct laststate_head head;
	} out;
};

void laststate_wipe_free(void *memory, size_t size); /* takes NULL */
struct state_file *state_file_new(int fd);           /* NULL: no memory, and @fd is still open */
void state_file_unref(struct state_file *file);      /* takes NULL */

/* All of it, or -errno. */
int state_file_write(int fd, const uint8_t *bytes, size_t len, uint64_t offset);

/* The bytes of @entry's record: its own, or read into @into. NULL: they cannot be read. */
const uint8_t *entry_bytes(const struct entry *entry, uint8_t *into, int *ret_err);
/* What it has of memory or of a file. */
void entry_let_go(struct entry *entry);
/* It cannot be read: it is left out from here on. */
void entry_lose(struct laststate *state, struct entry *entry, int err);

/* What is under way is given up; nothing of it is left. */
void laststate_write_stop(struct laststate *state);

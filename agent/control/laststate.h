/*
 * laststate: what a control plane said last, on disk, for an agent that starts while it is away:
 * resources of the mesh as they came, or certificates with their keys. Each kind of thing has a
 * file of its own: stateDir/<name>.state.
 *
 * Names and sums are in memory, what was said lies in the file, or in one without a name until the
 * next is written (in memory where there can be none). A file is written whole, beside the
 * old one, and takes its place by rename(): a slice in each laststate_step(), only when something
 * has changed, and so that no more than LASTSTATE_RATE bytes are written per second over time. What
 * changes while it is being written is in it or in the next one.
 *
 * It is not synced: an agent that dies loses nothing by that, and where the machine loses its power
 * a torn file is found out by its sums, and everything else on the machine has begun anew too.
 *
 * A file that cannot be trusted (damaged, of another version, of another source, another user's, or
 * open to others) is renamed to <name>.state.aside and named in one sentence of the log; the agent
 * goes on without. Knows nothing of what the values mean. Wipes all memory that held them. Thread:
 * the control loop's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/laststate_format.h"

#define LASTSTATE_INTERVAL_MS 5000u        /* between the beginnings of two files */
#define LASTSTATE_RATE        (1u << 20)   /* bytes per second, over time */
#define LASTSTATE_SLICE       (128u << 10) /* bytes written in a step, and one record more */
#define LASTSTATE_RETRY_MS    30000u       /* after a file could not be written */
#define LASTSTATE_CONFIRM_MS  60000u       /* so often at most a file that did not change says so */
#define LASTSTATE_TYPES_MAX   8            /* of records in one file */
#define LASTSTATE_IDLE        UINT32_MAX

struct laststate;

/*
 * Reads @dir/@name.state; @dir is made if it is not there. A file that is not there, or was set
 * aside, is no failure. @source: whose word it will be, which stands in the file: one that another
 * has said is set aside. It is a text for people, up to LASTSTATE_SOURCE_MAX bytes of it. NULL: no
 * memory.
 */
struct laststate *laststate_open(const char *dir, const char *name, const char *source);
/* What has not been written stays so. Takes NULL. */
void laststate_close(struct laststate *state);

/*
 * @record is copied; one of the same type and name is replaced, or, if it says the same, left as it
 * is. 0; -EINVAL: above a limit of laststate_format.h; -ENOSPC: the file would be larger than
 * LASTSTATE_BYTES_MAX, or has LASTSTATE_TYPES_MAX types; -ENOMEM. Nothing has changed then.
 */
int laststate_put(struct laststate *state, const struct laststate_record *record);
/* False: there was none. */
bool laststate_remove(struct laststate *state, const char *type, const char *name);
/* All that there is was true at @now_ms (Unix time), as whoever says it has just said. */
void laststate_confirm(struct laststate *state, uint64_t now_ms);

/*
 * Does the work that is due, one slice. @now_ms: Unix time. Returns how many milliseconds later it
 * wants to be called again: 0 while a file is being written, LASTSTATE_IDLE when only a change can
 * make work. Failures are logged, and tried again.
 */
uint32_t laststate_step(struct laststate *state, uint64_t now_ms);
/* Writes at once what has changed, whole: for the end. 0 or -errno, also logged. */
int laststate_flush(struct laststate *state, uint64_t now_ms);

/*
 * Goes through all records. @cursor begins with { 0 }. 1 and the record, which is good until the
 * next call; 0 after the last. What the disk does not give back any more is left out, dropped and
 * logged. Nothing may be put, removed or stepped between the calls.
 */
struct laststate_cursor {
	void *at;
};
int laststate_next(struct laststate *state, struct laststate_cursor *cursor,
                   struct laststate_record *ret_record);

struct laststate_report {
	const char *path;
	uint64_t
	    restored_as_of_ms; /* of the file that was found; 0: there was none to be trusted */
	uint64_t as_of_ms;     /* of the file as it is now; 0: there is none */
	size_t records;
	uint64_t bytes; /* that a file of them has */
	uint64_t files, confirmations, failures,
	    lost; /* written; heads renewed; not written; records */
	bool is_dirty, is_writing;
};
struct laststate_report laststate_report(const struct laststate *state);

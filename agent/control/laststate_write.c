/*
 * laststate_write: the next file, in slices.
 *
 *   AT REST --changed, and due--> WRITING --all records, head, rename--> AT REST
 *                                    | cannot be written
 *                                    v
 *                                 AT REST, due in LASTSTATE_RETRY_MS
 *
 * begin() and give_up() and complete() alone go from one to another.
 */
#define LOG_SCOPE "state"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control/crc64.h"
#include "control/laststate_own.h"
#include "log.h"

#define PAUSE_MAX_MS (LASTSTATE_BYTES_MAX * 1000 / LASTSTATE_RATE)
#define SHRINK_BYTES (4u << 20)

static bool is_writing(const struct laststate *state)
{
	return state->out.file != NULL;
}

static bool is_dirty(const struct laststate *state)
{
	return state->changes != state->written;
}

static void out_done(struct laststate *state)
{
	laststate_wipe_free(state->out.buffer, LASTSTATE_SLICE);
	state_file_unref(state->out.file);
	memset(&state->out, 0, sizeof(state->out));
}

void laststate_write_stop(struct laststate *state)
{
	if (is_writing(state))
		(void)unlink(state->path_new);
	out_done(state);
}

static int give_up(struct laststate *state, uint64_t now_ms, int err)
{
	log_warn("the last known state cannot be written, trying again later",
	         "path=%s after_ms=%u: %s", state->path, LASTSTATE_RETRY_MS, strerror(-err));
	(void)unlink(state->path_new);
	laststate_write_stop(state);
	state->report.failures++;
	state->due_ms = now_ms + LASTSTATE_RETRY_MS;
	return err;
}

static int begin(struct laststate *state)
{
	int fd = open(state->path_new, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err = fd < 0 ? -errno : 0;

	if (err < 0)
		return err;
	state->out.file = state_file_new(fd);
	state->out.buffer = malloc(LASTSTATE_SLICE);
	if (!state->out.file) {
		close(fd);
		return -ENOMEM;
	}
	if (!state->out.buffer)
		return -ENOMEM;
	state->out.at = state->entries.next;
	state->out.changes = state->changes;
	state->out.head.as_of_ms = state->as_of_ms;
	memcpy(state->out.head.source, state->source, sizeof(state->source));
	return 0;
}

/* An entry whose record now stands in the new file, after all before it. */
static void entry_moved(struct laststate *state, struct entry *entry)
{
	struct laststate_head *head = &state->out.head;
	uint8_t sum[8];

	entry_let_go(entry);
	entry->file = state->out.file;
	entry->file->refs++;
	entry->offset = LASTSTATE_HEAD_BYTES + head->body_bytes;
	head->body_bytes += entry->bytes;
	head->records++;
	for (unsigned i = 0; i < sizeof(sum); i++)
		sum[i] = (uint8_t)(entry->sum >> 8 * i);
	head->sum = crc64(head->sum, sum, sizeof(sum));
}

/* Writes @bytes, which are the records from @first up to the next to be taken. */
static int put_out(struct laststate *state, const uint8_t *bytes, size_t len, struct hb_list *first,
                   struct hb_list *end)
{
	int err = state_file_write(state->out.file->fd, bytes, len,
	                           LASTSTATE_HEAD_BYTES + state->out.head.body_bytes);

	for (struct hb_list *node = first; err == 0 && node != end; node = node->next)
		entry_moved(state, hb_container_of(node, struct entry, node));
	return err;
}

static int put_out_buffer(struct laststate *state)
{
	size_t filled = state->out.filled;

	state->out.filled = 0;
	return filled == 0
	           ? 0
	           : put_out(state, state->out.buffer, filled, state->out.first, state->out.at);
}

/* A record that is larger than the buffer goes by itself. */
static int take_large(struct laststate *state, struct entry *entry)
{
	uint8_t *memory = entry->record ? NULL : malloc(entry->bytes);
	const uint8_t *bytes = NULL;
	size_t size = entry->bytes;
	int err = put_out_buffer(state);

	if (err == 0 && !entry->record && !memory)
		err = -ENOMEM;
	if (err == 0) {
		int lost = 0;

		bytes = entry_bytes(entry, memory, &lost);
		if (bytes) {
			err = put_out(state, bytes, size, &entry->node, entry->node.next);
			state->out.at = entry->node.next;
		} else {
			entry_lose(state, entry, lost);
		}
	}
	laststate_wipe_free(memory, size);
	return err;
}

/* The next record, into the buffer. */
static int take_one(struct laststate *state)
{
	struct entry *entry = hb_container_of(state->out.at, struct entry, node);
	uint8_t *at = state->out.buffer + state->out.filled;
	const uint8_t *bytes;
	int lost = 0;

	if (entry->bytes > LASTSTATE_SLICE)
		return take_large(state, entry);
	if (entry->bytes > LASTSTATE_SLICE - state->out.filled)
		return put_out_buffer(state);
	bytes = entry_bytes(entry, at, &lost);
	if (!bytes) {
		entry_lose(state, entry, lost);
		return 0;
	}
	if (bytes != at)
		memcpy(at, bytes, entry->bytes);
	if (state->out.filled == 0)
		state->out.first = state->out.at;
	state->out.filled += entry->bytes;
	state->out.at = entry->node.next;
	return 0;
}

static void retire(struct laststate *state, struct state_file *file) /* takes NULL */
{
	for (unsigned i = 0; file && i < HB_ARRAY_LEN(state->retired); i++) {
		if (file->bytes > SHRINK_BYTES && !state->retired[i])
			state->retired[i] = hb_take(&file);
	}
	state_file_unref(file);
}

/* Lets go a slice of what is not needed any more; false: there is nothing. */
static bool shrink(struct laststate *state)
{
	for (unsigned i = 0; i < HB_ARRAY_LEN(state->retired); i++) {
		struct state_file *file = state->retired[i];

		if (!file)
			continue;
		/* An entry may still refer to it; then whoever lets go last closes it. */
		if (file->refs == 1 && file->bytes > SHRINK_BYTES &&
		    ftruncate(file->fd, (off_t)(file->bytes - SHRINK_BYTES)) == 0)
			file->bytes -= SHRINK_BYTES;
		else
			state_file_unref(hb_take(&state->retired[i]));
		return true;
	}
	return false;
}

/* The head, and the name. */
static int complete(struct laststate *state, uint64_t now_ms)
{
	uint8_t head[LASTSTATE_HEAD_BYTES];
	uint64_t pause_ms;
	int err;

	laststate_head_encode(&state->out.head, head);
	err = state_file_write(state->out.file->fd, head, sizeof(head), 0);
	if (err == 0 && rename(state->path_new, state->path) < 0)
		err = -errno;
	if (err < 0)
		return err;
	state->out.file->bytes = LASTSTATE_HEAD_BYTES + state->out.head.body_bytes;
	retire(state, hb_take(&state->file));
	if (state->spool && state->spool->refs == 1)
		retire(state, hb_take(&state->spool));
	state->file = state->out.file;
	state->file->refs++;
	state->head = state->out.head;
	state->written = state->out.changes;
	state->has_no_spool = false;
	state->report.files++;
	pause_ms = state->head.body_bytes * 1000 / LASTSTATE_RATE;
	state->due_ms =
	    now_ms + (pause_ms > LASTSTATE_INTERVAL_MS ? pause_ms : LASTSTATE_INTERVAL_MS);
	out_done(state);
	return 0;
}

/* Records, @limit bytes of them, and when there are no more the rest. */
static int go_on(struct laststate *state, uint64_t now_ms, uint64_t limit)
{
	uint64_t begun = state->out.head.body_bytes;
	int err = 0;

	while (err == 0 && state->out.at != &state->entries &&
	       state->out.head.body_bytes + state->out.filled - begun < limit)
		err = take_one(state);
	/* Nothing stays in the buffer: an entry in it may change before the next step. */
	if (err == 0)
		err = put_out_buffer(state);
	if (err == 0 && state->out.at == &state->entries)
		err = complete(state, now_ms);
	return err < 0 ? give_up(state, now_ms, err) : 0;
}

/* The file that did not change says that it is true later, too. */
static int renew_head(struct laststate *state)
{
	struct laststate_head head = state->head;
	uint8_t bytes[LASTSTATE_HEAD_BYTES];
	int err;

	head.as_of_ms = state->as_of_ms;
	laststate_head_encode(&head, bytes);
	err = state_file_write(state->file->fd, bytes, sizeof(bytes), 0);
	if (err < 0) {
		/* It may be torn now: another one has to be written. */
		state->changes++;
		return err;
	}
	state->head = head;
	state->report.confirmations++;
	return 0;
}

static void take_news(struct laststate *state, uint64_t now_ms)
{
	if (state->has_news)
		state->as_of_ms = now_ms;
	state->has_news = false;
	/* Unix time may be set back. */
	if (state->due_ms > now_ms + PAUSE_MAX_MS)
		state->due_ms = now_ms;
}

uint32_t laststate_step(struct laststate *state, uint64_t now_ms)
{
	int err;

	take_news(state, now_ms);
	if (shrink(state))
		return 0;
	if (!is_writing(state) && !is_dirty(state)) {
		if (state->file && state->as_of_ms >= state->head.as_of_ms + LASTSTATE_CONFIRM_MS)
			(void)renew_head(state);
		return is_dirty(state) ? 0 : LASTSTATE_IDLE;
	}
	if (!is_writing(state)) {
		if (now_ms < state->due_ms)
			return (uint32_t)(state->due_ms - now_ms);
		err = begin(state);
		if (err < 0) {
			(void)give_up(state, now_ms, err);
			return LASTSTATE_RETRY_MS;
		}
	}
	(void)go_on(state, now_ms, LASTSTATE_SLICE);
	if (is_writing(state) || state->retired[0] || state->retired[1])
		return 0;
	return is_dirty(state) ? (uint32_t)(state->due_ms - now_ms) : LASTSTATE_IDLE;
}

int laststate_flush(struct laststate *state, uint64_t now_ms)
{
	int err = 0;

	take_news(state, now_ms);
	/* Twice at most: what is under way, and what has changed since it was begun. */
	while (err == 0 && (is_writing(state) || is_dirty(state))) {
		if (!is_writing(state)) {
			err = begin(state);
			if (err < 0)
				return give_up(state, now_ms, err);
		}
		err = go_on(state, now_ms, UINT64_MAX);
	}
	if (err == 0 && state->file && state->as_of_ms > state->head.as_of_ms)
		err = renew_head(state);
	return err;
}

struct laststate_report laststate_report(const struct laststate *state)
{
	struct laststate_report report = state->report;

	report.path = state->path;
	report.as_of_ms = state->file ? state->head.as_of_ms : 0;
	report.records = state->count;
	report.bytes = LASTSTATE_HEAD_BYTES + state->bytes;
	report.is_dirty = is_dirty(state);
	report.is_writing = is_writing(state);
	return report;
}

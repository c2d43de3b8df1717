/*
 * laststate: records by type and name, and the file that is found.
 *
 * An entry's record is in memory (it has changed) or in a file (it was read from there, or written
 * to). While a file is being written its entries refer to two files, and after one that failed for
 * a while to three: a file is closed when nothing refers to it any more, whatever its name is by
 * then.
 */
#define LOG_SCOPE "state"
#include "control/laststate_own.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "mesh/hash.h"

#define BUCKETS_FIRST 64u

/* ---- memory and files ---- */

void laststate_wipe_free(void *memory, size_t size)
{
	if (memory)
		explicit_bzero(memory, size);
	free(memory);
}

struct state_file *state_file_new(int fd)
{
	struct state_file *file = calloc(1, sizeof(*file));

	if (file)
		*file = (struct state_file){ .fd = fd, .refs = 1 };
	return file;
}

void state_file_unref(struct state_file *file)
{
	if (!file || --file->refs > 0)
		return;
	close(file->fd);
	free(file);
}

int state_file_write(int fd, const uint8_t *bytes, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}
	return 0;
}

static int read_all(int fd, uint8_t *bytes, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pread(fd, bytes, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}
	return 0;
}

/* ---- entries ---- */

void entry_let_go(struct entry *entry)
{
	laststate_wipe_free(hb_take(&entry->record), entry->bytes);
	state_file_unref(hb_take(&entry->file));
}

static struct entry **find(const struct laststate *state, uint8_t type, const char *name,
                           uint64_t hash)
{
	struct entry **at = &state->buckets[hash & (state->buckets_count - 1)];

	while (*at && ((*at)->hash != hash || (*at)->type != type || strcmp((*at)->name, name)))
		at = &(*at)->next;
	return at;
}

static void drop(struct laststate *state, struct entry **at)
{
	struct entry *entry = *at;

	if (state->out.at == &entry->node)
		state->out.at = entry->node.next;
	*at = entry->next;
	hb_list_remove(&entry->node);
	state->count--;
	state->bytes -= entry->bytes;
	entry_let_go(entry);
	free(entry);
}

void entry_lose(struct laststate *state, struct entry *entry, int err)
{
	log_warn("a record of the last known state cannot be read again and is left out",
	         "path=%s type=%s name=%s: %s", state->path, state->types[entry->type], entry->name,
	         strerror(-err));
	state->report.lost++;
	state->changes++;
	drop(state, find(state, entry->type, entry->name, entry->hash));
}

/* Twice as many buckets; with too little memory chains grow longer instead. */
static void grow(struct laststate *state)
{
	size_t count = state->buckets_count * 2;
	struct entry **buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return;
	free(state->buckets);
	state->buckets = buckets;
	state->buckets_count = count;
	hb_list_for_each (node, &state->entries) {
		struct entry *entry = hb_container_of(node, struct entry, node);
		struct entry **at = &buckets[entry->hash & (count - 1)];

		entry->next = *at;
		*at = entry;
	}
}

/* The number of @type, which is a new one if need be; -ENOSPC or -ENOMEM. */
static int type_number(struct laststate *state, const char *type)
{
	for (int i = 0; i < LASTSTATE_TYPES_MAX; i++) {
		if (!state->types[i])
			state->types[i] = strdup(type);
		if (!state->types[i])
			return -ENOMEM;
		if (!strcmp(state->types[i], type))
			return i;
	}
	return -ENOSPC;
}

static struct entry *entry_add(struct laststate *state, uint8_t type, const char *name,
                               uint64_t hash)
{
	size_t size = strlen(name) + 1;
	struct entry *entry = calloc(1, sizeof(*entry) + size), **bucket;

	if (!entry)
		return NULL;
	entry->type = type;
	entry->hash = hash;
	memcpy(entry->name, name, size);
	if (state->count >= state->buckets_count)
		grow(state);
	bucket = &state->buckets[hash & (state->buckets_count - 1)];
	entry->next = *bucket;
	*bucket = entry;
	hb_list_add(&state->entries, &entry->node);
	/* The writer is past the end, or was about to be: what is added now comes next. */
	if (state->out.at == &state->entries)
		state->out.at = &entry->node;
	state->count++;
	return entry;
}

static bool scratch_reserve(struct laststate *state, size_t bytes)
{
	if (bytes <= state->scratch_bytes)
		return true;
	laststate_wipe_free(state->scratch, state->scratch_bytes);
	state->scratch = malloc(bytes);
	state->scratch_bytes = state->scratch ? bytes : 0;
	return state->scratch != NULL;
}

/*
 * Where a record waits for the next file: at the end of a file without a name. In memory a first
 * push of 100,000 would leave 40 MiB of holes behind. False: not there.
 */
static bool spool(struct laststate *state, const uint8_t *bytes, size_t len, uint64_t *ret_offset)
{
	if (!state->spool && !state->has_no_spool) {
		int fd = open(state->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

		state->spool = fd < 0 ? NULL : state_file_new(fd);
		if (fd >= 0 && !state->spool)
			close(fd);
		state->has_no_spool = !state->spool;
	}
	if (!state->spool)
		return false;
	if (state->spool->bytes + len > LASTSTATE_BYTES_MAX ||
	    state_file_write(state->spool->fd, bytes, len, state->spool->bytes) < 0)
		return false;
	*ret_offset = state->spool->bytes;
	state->spool->bytes += len;
	return true;
}

/* What was in @entry, if anything, is replaced by the record of @bytes. */
static void entry_set(struct laststate *state, struct entry *entry, size_t bytes, uint64_t sum)
{
	entry_let_go(entry);
	state->bytes += bytes - entry->bytes;
	state->changes++;
	state->has_news = true;
	entry->bytes = (uint32_t)bytes;
	entry->sum = sum;
}

int laststate_put(struct laststate *state, const struct laststate_record *record)
{
	uint64_t hash = hash_pair(record->type, record->name), sum, offset = 0;
	size_t bytes = laststate_record_bytes(record);
	int type = type_number(state, record->type);
	struct entry *entry;
	uint8_t *copy = NULL;

	if (bytes == 0 || type < 0)
		return bytes == 0 ? -EINVAL : type;
	if (state->bytes + bytes > LASTSTATE_BYTES_MAX - LASTSTATE_HEAD_BYTES)
		return -ENOSPC;
	if (!scratch_reserve(state, bytes))
		return -ENOMEM;
	sum = laststate_record_encode(record, state->scratch);
	entry = *find(state, (uint8_t)type, record->name, hash);
	if (entry && entry->sum == sum && entry->bytes == bytes)
		return 0;
	if (!spool(state, state->scratch, bytes, &offset)) {
		copy = malloc(bytes);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, state->scratch, bytes);
	}
	if (!entry)
		entry = entry_add(state, (uint8_t)type, record->name, hash);
	if (!entry) {
		laststate_wipe_free(copy, bytes);
		return -ENOMEM;
	}
	entry_set(state, entry, bytes, sum);
	entry->record = copy;
	if (!copy) {
		entry->file = state->spool;
		entry->file->refs++;
		entry->offset = offset;
	}
	return 0;
}

bool laststate_remove(struct laststate *state, const char *type, const char *name)
{
	for (uint8_t i = 0; i < LASTSTATE_TYPES_MAX && state->types[i]; i++) {
		struct entry **at;

		if (strcmp(state->types[i], type) != 0)
			continue;
		at = find(state, i, name, hash_pair(type, name));
		if (!*at)
			return false;
		drop(state, at);
		state->changes++;
		state->has_news = true;
		return true;
	}
	return false;
}

void laststate_confirm(struct laststate *state, uint64_t now_ms)
{
	state->as_of_ms = now_ms;
}

const uint8_t *entry_bytes(const struct entry *entry, uint8_t *into, int *ret_err)
{
	struct laststate_record record;
	size_t bytes;
	uint64_t sum;

	if (entry->record)
		return entry->record;
	*ret_err = read_all(entry->file->fd, into, entry->bytes, entry->offset);
	if (*ret_err == 0 &&
	    (laststate_record_decode(into, entry->bytes, &record, &bytes, &sum) < 0 ||
	     sum != entry->sum))
		*ret_err = -EBADMSG;
	return *ret_err < 0 ? NULL : into;
}

int laststate_next(struct laststate *state, struct laststate_cursor *cursor,
                   struct laststate_record *ret_record)
{
	struct hb_list *node = cursor->at ? cursor->at : state->entries.next;

	while (node != &state->entries) {
		struct entry *entry = hb_container_of(node, struct entry, node);
		const uint8_t *bytes = NULL;
		int err = -ENOMEM;
		uint64_t sum;
		size_t size;

		node = node->next;
		if (entry->record || scratch_reserve(state, entry->bytes))
			bytes = entry_bytes(entry, state->scratch, &err);
		if (!bytes) {
			entry_lose(state, entry, err);
			continue;
		}
		cursor->at = node;
		(void)laststate_record_decode(bytes, entry->bytes, ret_record, &size, &sum);
		return 1;
	}
	cursor->at = node;
	return 0;
}

/* ---- the file that is found ---- */

struct found {
	struct laststate *state;
	struct state_file *file;
};

static int on_record(void *owner, const struct laststate_record *record, size_t offset,
                     size_t bytes, uint64_t sum)
{
	struct found *found = owner;
	struct laststate *state = found->state;
	uint64_t hash = hash_pair(record->type, record->name);
	int type = type_number(state, record->type);
	struct entry *entry;

	if (type < 0)
		return type;
	if (*find(state, (uint8_t)type, record->name, hash))
		return -EEXIST;
	entry = entry_add(state, (uint8_t)type, record->name, hash);
	if (!entry)
		return -ENOMEM;
	entry->sum = sum;
	entry->bytes = (uint32_t)bytes;
	entry->offset = offset;
	entry->file = found->file;
	found->file->refs++;
	state->bytes += bytes;
	return 0;
}

/* 0 and the file's size; or -errno and why it is not to be trusted. */
static int check_file(int fd, size_t *ret_size, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)LASTSTATE_BYTES_MAX)
		snprintf(why, why_size, "it is not a file of up to %llu bytes",
		         LASTSTATE_BYTES_MAX);
	else if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		snprintf(why, why_size, "it is another user's, or others may open it");
	*ret_size = (size_t)st.st_size;
	return why[0] ? -EPERM : 0;
}

static void entries_clear(struct laststate *state)
{
	while (!hb_list_is_empty(&state->entries)) {
		struct entry *entry = hb_container_of(state->entries.next, struct entry, node);

		drop(state, find(state, entry->type, entry->name, entry->hash));
	}
}

/* Takes over what the file says, or nothing. */
static int take_file(struct laststate *state, int fd, char *why, size_t why_size)
{
	struct found found = { .state = state };
	struct laststate_head head;
	uint8_t *bytes = NULL;
	size_t size = 0;
	int err = check_file(fd, &size, why, why_size);

	if (err == 0) {
		bytes = malloc(size + 1); /* an empty one too */
		found.file = state_file_new(fd);
		if (!bytes || !found.file)
			err = -ENOMEM;
	}
	if (err == 0)
		err = read_all(fd, bytes, size, 0);
	if (err == 0)
		err = laststate_parse(bytes, size, &head, on_record, &found, why, why_size);
	laststate_wipe_free(bytes, size);
	if (err == 0 && strcmp(head.source, state->source) != 0) {
		snprintf(why, why_size, "it is the word of %s, and now %s is asked", head.source,
		         state->source);
		err = -EXDEV;
	}
	if (err == -EEXIST)
		snprintf(why, why_size, "it has a record twice");
	else if (err == -ENOSPC)
		snprintf(why, why_size, "it has more than %d types of records",
		         LASTSTATE_TYPES_MAX);
	if (err < 0) {
		entries_clear(state);
		if (found.file)
			state_file_unref(found.file);
		else
			close(fd);
		return err;
	}
	state->file = found.file;
	state->file->bytes = size;
	state->head = head;
	state->as_of_ms = state->report.restored_as_of_ms = head.as_of_ms;
	return 0;
}

static void set_aside(struct laststate *state, int err, const char *why)
{
	bool is_moved = rename(state->path, state->path_aside) == 0;

	log_warn(is_moved ? "the last known state is not to be trusted, and was set aside"
	                  : "the last known state is not to be trusted, and cannot be set aside",
	         "path=%s aside=%s: %s", state->path, state->path_aside,
	         why[0] ? why : strerror(-err));
}

static void read_found(struct laststate *state)
{
	int fd = open(state->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char why[2 * LASTSTATE_SOURCE_MAX + 64] = "";
	int err = fd < 0 ? -errno : take_file(state, fd, why, sizeof(why));

	/* Without memory nothing is known of it. */
	if (err == -ENOMEM)
		log_warn("the last known state cannot be read", "path=%s: no memory", state->path);
	else if (err < 0 && err != -ENOENT)
		set_aside(state, err, why);
}

static char *path_of(const char *dir, const char *name, const char *suffix)
{
	char *path;

	return asprintf(&path, "%s/%s.state%s", dir, name, suffix) < 0 ? NULL : path;
}

struct laststate *laststate_open(const char *dir, const char *name, const char *source)
{
	struct laststate *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	hb_list_init(&state->entries);
	state->buckets_count = BUCKETS_FIRST;
	state->buckets = calloc(BUCKETS_FIRST, sizeof(struct entry *));
	state->dir = strdup(dir);
	memcpy(state->source, source, strnlen(source, LASTSTATE_SOURCE_MAX));
	state->path = path_of(dir, name, "");
	state->path_new = path_of(dir, name, ".new");
	state->path_aside = path_of(dir, name, ".aside");
	if (!state->buckets || !state->dir || !state->path || !state->path_new ||
	    !state->path_aside) {
		laststate_close(state);
		return NULL;
	}
	/* What is wrong with it is said when a file cannot be written. */
	(void)mkdir(dir, 0700);
	(void)unlink(state->path_new); /* of an agent that died as it wrote */
	read_found(state);
	return state;
}

void laststate_close(struct laststate *state)
{
	if (!state)
		return;
	laststate_write_stop(state);
	if (state->buckets)
		entries_clear(state);
	state_file_unref(state->file);
	state_file_unref(state->spool);
	for (unsigned i = 0; i < HB_ARRAY_LEN(state->retired); i++)
		state_file_unref(state->retired[i]);
	laststate_wipe_free(state->scratch, state->scratch_bytes);
	for (unsigned i = 0; i < LASTSTATE_TYPES_MAX; i++)
		free(state->types[i]);
	free(state->buckets);
	free(state->dir);
	free(state->path);
	free(state->path_new);
	free(state->path_aside);
	free(state);
}

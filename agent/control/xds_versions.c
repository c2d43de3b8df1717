/*
 * xds_versions: a hash table of names, each in one allocation with its version.
 */
#include "control/xds_versions.h"

#include <string.h>

#include <hbone/base.h>

#include "mesh/hash.h"

#define FIELD_VERSIONS ((5u << 3) | 2u) /* initial_resource_versions */
#define FIELD_KEY      ((1u << 3) | 2u)
#define FIELD_VALUE    ((2u << 3) | 2u)
#define VERSION_MAX    255u

struct xds_version {
	uint32_t hash;
	uint8_t version_len;
	uint8_t seen; /* in this round */
	bool gone;
	char text[]; /* version, NUL, name, NUL */
};

static const char *name_of(const struct xds_version *entry)
{
	return entry->text + entry->version_len + 1;
}

static size_t varint_size(size_t number)
{
	size_t size = 1;

	for (; number >= 0x80; number >>= 7)
		size++;
	return size;
}

static size_t pair_size(size_t name_len, size_t version_len)
{
	size_t size = 1 + varint_size(name_len) + name_len;

	return version_len ? size + 1 + varint_size(version_len) + version_len : size;
}

size_t xds_versions_wire_size(size_t name_len, size_t version_len)
{
	size_t pair = pair_size(name_len, version_len);

	return 1 + varint_size(pair) + pair;
}

static size_t entry_size(const struct xds_version *entry)
{
	return xds_versions_wire_size(strlen(name_of(entry)), entry->version_len);
}

static void see(struct xds_versions *versions, struct xds_version *entry)
{
	versions->unseen -= entry->seen != versions->round;
	entry->seen = versions->round;
}

/* Where @name is, or would be. There is room. */
static struct xds_version **slot_of(const struct xds_versions *versions, const char *name,
                                    uint32_t hash)
{
	size_t at = hash & (versions->room - 1);

	for (;; at = (at + 1) & (versions->room - 1)) {
		struct xds_version *entry = versions->slots[at];

		if (!entry || (entry->hash == hash && strcmp(name_of(entry), name) == 0))
			return &versions->slots[at];
	}
}

static struct xds_version *lookup(const struct xds_versions *versions, const char *name)
{
	return versions->room ? *slot_of(versions, name, (uint32_t)hash_text(name)) : NULL;
}

static int grow(struct xds_versions *versions)
{
	size_t room = versions->room ? versions->room * 2 : 64;
	struct xds_version **slots = calloc(room, sizeof(struct xds_version *));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < versions->room; i++) {
		struct xds_version *entry = versions->slots[i];
		size_t at;

		if (!entry)
			continue;
		for (at = entry->hash & (room - 1); slots[at];)
			at = (at + 1) & (room - 1);
		slots[at] = entry;
	}
	free(versions->slots);
	versions->slots = slots;
	versions->room = room;
	return 0;
}

void xds_versions_done(struct xds_versions *versions)
{
	for (size_t i = 0; i < versions->room; i++)
		free(versions->slots[i]);
	free(versions->slots);
	free(versions->marks);
	*versions = (struct xds_versions){ 0 };
}

static struct xds_version *entry_new(const char *name, const char *version, uint32_t hash)
{
	size_t version_len = strlen(version), name_len = strlen(name);
	struct xds_version *entry = malloc(sizeof(*entry) + version_len + name_len + 2);

	if (!entry)
		return NULL;
	entry->hash = hash;
	entry->version_len = (uint8_t)version_len;
	entry->seen = 0;
	entry->gone = false;
	memcpy(entry->text, version, version_len + 1);
	memcpy(entry->text + version_len + 1, name, name_len + 1);
	return entry;
}

int xds_versions_put(struct xds_versions *versions, const char *name, const char *version)
{
	uint32_t hash = (uint32_t)hash_text(name);
	struct xds_version **slot, *entry;

	if (strlen(version) > VERSION_MAX)
		version = "";
	if ((versions->count + 1) * 4 > versions->room * 3 && grow(versions) < 0)
		return -ENOMEM;
	slot = slot_of(versions, name, hash);
	if (*slot && strcmp((*slot)->text, version) == 0) {
		see(versions, *slot);
		(*slot)->gone = false;
		return 0;
	}
	entry = entry_new(name, version, hash);
	if (!entry)
		return -ENOMEM;
	entry->seen = versions->round;
	if (*slot) {
		see(versions, *slot);
		versions->wire_bytes -= entry_size(*slot);
		free(*slot);
	} else {
		versions->count++;
	}
	*slot = entry;
	versions->wire_bytes += entry_size(entry);
	return 0;
}

void xds_versions_see(struct xds_versions *versions, const char *name)
{
	struct xds_version *entry = lookup(versions, name);

	if (entry)
		see(versions, entry);
}

const char *xds_versions_get(const struct xds_versions *versions, const char *name)
{
	const struct xds_version *entry = lookup(versions, name);

	return entry ? entry->text : NULL;
}

bool xds_versions_has(const struct xds_versions *versions, const char *name)
{
	return lookup(versions, name);
}

/* Empties @hole, and moves up what stood behind it only because it was taken. */
static void slot_clear(struct xds_versions *versions, size_t hole)
{
	size_t mask = versions->room - 1;
	struct xds_version *entry = versions->slots[hole];

	see(versions, entry);
	versions->wire_bytes -= entry_size(entry);
	versions->count--;
	free(entry);
	versions->slots[hole] = NULL;
	for (size_t at = (hole + 1) & mask; versions->slots[at]; at = (at + 1) & mask) {
		size_t home = versions->slots[at]->hash & mask;

		if (((at - home) & mask) < ((at - hole) & mask))
			continue; /* the hole is before its home */
		versions->slots[hole] = versions->slots[at];
		versions->slots[at] = NULL;
		hole = at;
	}
}

void xds_versions_remove(struct xds_versions *versions, const char *name)
{
	struct xds_version **slot;

	if (!versions->room)
		return;
	slot = slot_of(versions, name, (uint32_t)hash_text(name));
	if (*slot)
		slot_clear(versions, (size_t)(slot - versions->slots));
}

int xds_versions_mark_gone(struct xds_versions *versions, const char *name)
{
	struct xds_version *entry = lookup(versions, name);

	if (!entry || entry->gone)
		return 0;
	if (versions->marks_count == versions->marks_room) {
		size_t room = versions->marks_room ? versions->marks_room * 2 : 16;
		uint32_t *marks = reallocarray(versions->marks, room, sizeof(*marks));

		if (!marks)
			return -ENOMEM;
		versions->marks = marks;
		versions->marks_room = room;
	}
	versions->marks[versions->marks_count++] = entry->hash;
	entry->gone = true;
	return 0;
}

void xds_versions_unsee(struct xds_versions *versions)
{
	versions->unseen = versions->count;
	if (++versions->round)
		return;
	/* Rounds begin anew: those that were seen long ago must not look as if in this one. */
	for (size_t i = 0; i < versions->room; i++)
		if (versions->slots[i])
			versions->slots[i]->seen = 0;
	versions->round = 1;
}

const char *xds_versions_next_unseen(const struct xds_versions *versions, size_t *at, size_t steps)
{
	while (*at < versions->room && steps-- > 0) {
		const struct xds_version *entry = versions->slots[(*at)++];

		if (entry && entry->seen != versions->round && !entry->gone)
			return name_of(entry);
	}
	return NULL;
}

static void marks_drop(struct xds_versions *versions)
{
	free(versions->marks);
	versions->marks = NULL;
	versions->marks_count = versions->marks_room = 0;
}

void xds_versions_commit(struct xds_versions *versions)
{
	for (size_t i = 0; i < versions->marks_count; i++) {
		uint32_t hash = versions->marks[i];
		size_t at = hash & (versions->room - 1);
		const struct xds_version *entry;

		while ((entry = versions->slots[at]) && !(entry->hash == hash && entry->gone))
			at = (at + 1) & (versions->room - 1);
		if (entry) /* else it came back */
			slot_clear(versions, at);
	}
	marks_drop(versions);
}

void xds_versions_distrust(struct xds_versions *versions)
{
	for (size_t i = 0; i < versions->room; i++) {
		struct xds_version *entry = versions->slots[i];
		size_t name_len;

		if (!entry)
			continue;
		versions->wire_bytes -= entry_size(entry);
		name_len = strlen(name_of(entry));
		memmove(entry->text + 1, name_of(entry), name_len + 1);
		entry->text[0] = 0;
		entry->version_len = 0;
		entry->gone = false;
		versions->wire_bytes += entry_size(entry);
	}
	marks_drop(versions);
}

static uint8_t *varint_write(uint8_t *out, size_t number)
{
	for (; number >= 0x80; number >>= 7)
		*out++ = (uint8_t)(number | 0x80);
	*out++ = (uint8_t)number;
	return out;
}

static uint8_t *text_write(uint8_t *out, uint8_t tag, const char *text, size_t len)
{
	*out++ = tag;
	out = varint_write(out, len);
	memcpy(out, text, len);
	return out + len;
}

void xds_versions_encode(const struct xds_versions *versions, uint8_t *out)
{
	for (size_t i = 0; i < versions->room; i++) {
		const struct xds_version *entry = versions->slots[i];
		size_t name_len;

		if (!entry)
			continue;
		name_len = strlen(name_of(entry));
		*out++ = FIELD_VERSIONS;
		out = varint_write(out, pair_size(name_len, entry->version_len));
		out = text_write(out, FIELD_KEY, name_of(entry), name_len);
		if (entry->version_len)
			out = text_write(out, FIELD_VALUE, entry->text, entry->version_len);
	}
}

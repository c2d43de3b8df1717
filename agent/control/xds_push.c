/*
 * xds_push: slices are bounded by items and bytes, not by a clock, so that they are the same
 * everywhere; each takes a few milliseconds.
 */
#include "control/xds_push.h"

#include <stdio.h>
#include <string.h>

#include "control/xds_known.h"

#define SLICE_HEADERS 20000u      /* of SCAN, fields that are passed over, SWEEP's slots */
#define SLICE_ITEMS   128u        /* resources, removals */
#define SLICE_BYTES   (64u << 10) /* of resources */
#define REASON_MAX    400u        /* bytes of one */

enum { FIELD_RESOURCES = 2, FIELD_TYPE_URL = 4, FIELD_NONCE = 5, FIELD_REMOVED = 6 };

static const struct {
	const char *url;
	int (*put)(struct xds_reader *r, const uint8_t *bytes, size_t size);
	int (*remove)(struct store *store, const char *name);
} types[XDS_TYPES] = {
	[XDS_ADDRESS] = { "type.googleapis.com/istio.workload.Address", xds_put_address,
	                  store_remove_address },
	[XDS_AUTHORIZATION] = { "type.googleapis.com/istio.security.Authorization",
	                        xds_put_authorization, store_remove_policy },
};

const char *xds_type_url(enum xds_type type)
{
	return types[type].url;
}

void xds_push_init(struct xds_push *push, struct store *store, struct xds_versions *versions,
                   const uint8_t *bytes, size_t size)
{
	*push = (struct xds_push){
		.store = store,
		.versions = versions,
		.walk = { .bytes = bytes, .size = size },
		.type = XDS_TYPES,
	};
}

void xds_push_init_sweep(struct xds_push *push, struct store *store, struct xds_versions *versions,
                         enum xds_type type)
{
	*push = (struct xds_push){
		.phase = PUSH_SWEEP,
		.store = store,
		.versions = versions,
		.type = type,
	};
}

void xds_push_done(struct xds_push *push)
{
	hb_arena_done(&push->arena);
}

static int field_copy(const struct xds_field *field, char *out, size_t size)
{
	if (field->size >= size || memchr(field->bytes, 0, field->size))
		return -EBADMSG;
	memcpy(out, field->bytes, field->size);
	out[field->size] = 0;
	return 0;
}

static void enter(struct xds_push *push, int phase)
{
	push->phase = (unsigned)phase;
	push->walk.at = 0;
}

/*
 * SCAN: the type and the nonce stand behind the resources, and what is not whole is not begun.
 */
static int scan(struct xds_push *push)
{
	struct xds_field field;
	int more = 1, err = 0;

	for (size_t i = 0; i < SLICE_HEADERS && !err; i++) {
		more = xds_walk_next(&push->walk, &field);
		if (more <= 0)
			break;
		if (!field.has_bytes && field.number <= FIELD_REMOVED)
			err = -EBADMSG;
		else if (field.number == FIELD_NONCE)
			err = field_copy(&field, push->nonce, sizeof(push->nonce));
		else if (field.number == FIELD_TYPE_URL &&
		         field_copy(&field, push->type_url, sizeof(push->type_url)) < 0)
			snprintf(push->type_url, sizeof(push->type_url), "(a very long one)");
	}
	if (err || more < 0)
		return -EBADMSG;
	if (more)
		return 1;
	for (size_t i = 0; i < XDS_TYPES; i++)
		if (strcmp(types[i].url, push->type_url) == 0)
			push->type = (enum xds_type)i;
	enter(push, push->type == XDS_TYPES ? PUSH_DONE : PUSH_RESOURCES);
	return push->phase == PUSH_DONE ? 0 : 1;
}

/*
 * RESOURCES.
 */
/* The server takes UTF-8 alone, the log lines, and a name may have been cut inside a character. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static void reject(struct xds_push *push, const char *name, const char *why)
{
	size_t used = strlen(push->reasons), left = sizeof(push->reasons) - used;

	push->rejected++;
	if (left > REASON_MAX + 8)
		snprintf(push->reasons + used, REASON_MAX, "%s%.128s: %s", used ? "; " : "",
		         *name ? name : "(no name)", why);
	else if (left > 6 && strcmp(push->reasons + used - 3, "...") != 0)
		memcpy(push->reasons + used, "; ...", 6);
	make_plain(push->reasons + used);
}

static void note_skipped(struct xds_push *push, const char *name, size_t parts)
{
	if (parts && !push->skipped) {
		snprintf(push->skipped_of, sizeof(push->skipped_of), "%s", name);
		make_plain(push->skipped_of);
	}
	push->skipped += parts;
}

static void tell(struct xds_push *push, const char *name)
{
	if (push->on_name)
		push->on_name(push->owner, name);
}

static int resource_put(struct xds_push *push, struct xds_reader *r, const struct xds_resource *in)
{
	if (!*in->name)
		return snprintf(r->why, r->why_size, "a resource has no name"), -EINVAL;
	if (!in->value)
		return snprintf(r->why, r->why_size, "the resource has no value"), -EINVAL;
	push->value_bytes += in->value_size;
	return types[push->type].put(r, in->value, in->value_size);
}

/* Also where it is rejected: who waits for it shall not wait any longer. */
static void tell_all(struct xds_push *push, const struct xds_resource *resource)
{
	tell(push, resource->name);
	for (size_t i = 0; i < resource->aliases_count; i++)
		tell(push, resource->aliases[i]);
}

static int resource_take(struct xds_push *push, const struct xds_field *field)
{
	char why[256] = "";
	struct xds_resource resource;
	struct xds_reader r = {
		.store = push->store,
		.arena = &push->arena,
		.name = "",
		.why = why,
		.why_size = sizeof(why),
	};
	struct xds_versions *versions = &push->versions[push->type];
	int err = xds_decode_resource(&r, field->bytes, field->size, &resource);

	push->resources++;
	if (!err) {
		r.name = resource.name;
		err = resource_put(push, &r, &resource);
	}
	note_skipped(push, resource.name, r.skipped);
	if (err == -EINVAL) {
		/* Its old version stays, in the store and in the table. */
		reject(push, resource.name, why);
		xds_versions_see(versions, resource.name);
		err = 0;
	} else if (!err) {
		err = xds_versions_put(versions, resource.name, resource.version);
		xds_known_put(push->known, types[push->type].url, resource.name, resource.version,
		              resource.value, resource.value_size);
	}
	if (!err)
		tell_all(push, &resource);
	hb_arena_clear(&push->arena);
	return err;
}

static int name_remove(struct xds_push *push, const char *name)
{
	int err = types[push->type].remove(push->store, name);

	if (err == -ENOMEM)
		return err;
	xds_known_remove(push->known, types[push->type].url, name);
	push->removed++; /* one that is not there is a name that nobody has: on-demand */
	return xds_versions_mark_gone(&push->versions[push->type], name);
}

static int removed_take(struct xds_push *push, const struct xds_field *field)
{
	char *name = hb_arena_text(&push->arena, (const char *)field->bytes, field->size);
	int err = name ? 0 : -ENOMEM;

	if (name && strlen(name) != field->size)
		return 0; /* with a NUL in it, it is nobody's, and must not be read as another's */
	if (!err)
		err = name_remove(push, name);
	if (!err)
		tell(push, name);
	hb_arena_clear(&push->arena);
	return err;
}

static int walk(struct xds_push *push, uint32_t number,
                int (*take)(struct xds_push *push, const struct xds_field *field), int next)
{
	struct xds_field field;
	size_t items = 0, bytes = 0;

	for (size_t i = 0; i < SLICE_HEADERS && items < SLICE_ITEMS && bytes < SLICE_BYTES; i++) {
		int more = xds_walk_next(&push->walk, &field), err;

		if (more <= 0) {
			enter(push, next);
			return push->phase == PUSH_DONE ? 0 : 1;
		}
		if (field.number != number)
			continue;
		items++;
		bytes += field.size;
		err = take(push, &field);
		if (err)
			return err;
	}
	return 1;
}

/*
 * SWEEP.
 */
static int sweep(struct xds_push *push)
{
	const struct xds_versions *versions = &push->versions[push->type];
	const char *name;

	for (size_t i = 0; i < SLICE_ITEMS; i++) {
		name = xds_versions_next_unseen(versions, &push->sweep_at, SLICE_HEADERS);
		if (!name)
			break;
		if (name_remove(push, name) < 0)
			return -ENOMEM;
	}
	if (push->sweep_at < versions->room)
		return 1;
	push->phase = PUSH_DONE;
	return 0;
}

int xds_push_step(struct xds_push *push)
{
	store_speak_as(push->store, STORE_XDS);
	switch (push->phase) {
	case PUSH_SCAN:
		return scan(push);
	case PUSH_RESOURCES:
		return walk(push, FIELD_RESOURCES, resource_take, PUSH_REMOVED);
	case PUSH_REMOVED:
		return walk(push, FIELD_REMOVED, removed_take, PUSH_DONE);
	case PUSH_SWEEP:
		return sweep(push);
	default:
		return 0;
	}
}

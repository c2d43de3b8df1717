/*
 * xds_known: a record's type is the resource's, and its value what Any has, without the envelope.
 */
#include "control/xds_known.h"

#include <errno.h>
#include <string.h>

#include "control/xds_push.h"
#define LOG_SCOPE "xds"
#include "log.h"

#define SLICE_ITEMS 128u
#define SLICE_BYTES (64u << 10)

void xds_known_put(struct laststate *known, const char *type_url, const char *name,
                   const char *version, const uint8_t *value, size_t size)
{
	struct laststate_record record = {
		.type = type_url,
		.name = name,
		.version = version,
		.value = value,
		.size = (uint32_t)size,
	};
	int err = known ? laststate_put(known, &record) : 0;

	if (err < 0)
		log_warn("a resource is not kept for the next start", "type=%s name=%.128s: %s",
		         type_url, name, strerror(-err));
}

void xds_known_remove(struct laststate *known, const char *type_url, const char *name)
{
	if (known)
		(void)laststate_remove(known, type_url,
		                       name); /* what could not be kept is not there */
}

static int type_of(const char *url)
{
	int type = 0;

	while (type < XDS_TYPES && strcmp(xds_type_url((enum xds_type)type), url) != 0)
		type++;
	return type;
}

/* 0; -EINVAL: not this one; -ENOMEM. */
static int take(struct xds_restore *restore, struct store *store, struct xds_versions *versions,
                const struct laststate_record *record)
{
	char why[256] = "";
	struct xds_reader r = {
		.store = store,
		.arena = &restore->arena,
		.name = record->name,
		.why = why,
		.why_size = sizeof(why),
	};
	int type = type_of(record->type), err;

	if (type == XDS_TYPES)
		return 0; /* of an agent that knew more */
	err = type == XDS_ADDRESS ? xds_put_address(&r, record->value, record->size)
	                          : xds_put_authorization(&r, record->value, record->size);
	hb_arena_clear(&restore->arena);
	if (err == -EINVAL) {
		restore->refused++;
		log_warn("a resource that was kept cannot be taken", "type=%s name=%.128s: %s",
		         record->type, record->name, why);
	} else if (err == 0) {
		restore->taken++;
	}
	return err == -ENOMEM
	           ? err
	           : xds_versions_put(&versions[type], record->name, err ? "" : record->version);
}

int xds_restore_step(struct xds_restore *restore, struct store *store,
                     struct xds_versions *versions)
{
	struct laststate_record record;
	size_t bytes = 0;

	store_speak_as(store, STORE_XDS);
	for (size_t i = 0; i < SLICE_ITEMS && bytes < SLICE_BYTES; i++) {
		if (laststate_next(restore->known, &restore->at, &record) == 0)
			return 0;
		bytes += record.size;
		if (take(restore, store, versions, &record) < 0)
			return -ENOMEM;
	}
	return 1;
}

void xds_restore_done(struct xds_restore *restore)
{
	hb_arena_done(&restore->arena);
}

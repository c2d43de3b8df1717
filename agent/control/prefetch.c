/*
 * prefetch: two sorted lists, the one that was and the one that is.
 */
#include "control/prefetch.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_wanted(const struct workload *workload)
{
	return workload->native_tunnel || workload->protocol == PROTOCOL_HBONE;
}

/* The identities of the node, sorted, each once; they are the snapshot's. -ENOMEM. */
static int gather(const struct snapshot *snapshot, char ***ret_list, size_t *ret_count)
{
	const struct workload *workload;
	struct locals_iter iter;
	size_t count = 0, once = 0;
	char **list;

	snapshot_locals(snapshot, &iter);
	while ((workload = locals_next(&iter)))
		count += is_wanted(workload);
	list = calloc(count + 1, sizeof(char *));
	if (!list)
		return -ENOMEM;
	count = 0;
	snapshot_locals(snapshot, &iter);
	while ((workload = locals_next(&iter)))
		if (is_wanted(workload))
			list[count++] = (char *)(uintptr_t)workload->identity;
	qsort(list, count, sizeof(char *), by_text);
	for (size_t i = 0; i < count; i++)
		if (once == 0 || strcmp(list[once - 1], list[i]) != 0)
			list[once++] = list[i];
	*ret_count = hb_min_size(once, PREFETCH_MAX);
	*ret_list = list;
	return 0;
}

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

/* The list becomes copies of what it points to; on failure it is freed. */
static int own(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		list[i] = strdup(list[i]);
		if (!list[i]) {
			free_texts(list, i);
			return -ENOMEM;
		}
	}
	return 0;
}

int prefetch_update(struct prefetch *prefetch, struct certmanager *certs,
                    const struct snapshot *snapshot)
{
	size_t count, was = 0, is = 0;
	char **list;
	int err = gather(snapshot, &list, &count);

	if (err == 0)
		err = own(list, count);
	if (err < 0)
		return err;
	while (was < prefetch->count || is < count) {
		int order = was == prefetch->count ? 1
		            : is == count          ? -1
		                                   : strcmp(prefetch->identities[was], list[is]);

		/* What cannot be held is asked for when a pod comes. */
		if (order > 0)
			(void)certmanager_hold(certs, list[is], CERT_WARMUP);
		if (order < 0)
			certmanager_release(certs, prefetch->identities[was]);
		was += order <= 0;
		is += order >= 0;
	}
	prefetch_done(prefetch);
	prefetch->identities = list;
	prefetch->count = count;
	return 0;
}

void prefetch_done(struct prefetch *prefetch)
{
	free_texts(prefetch->identities, prefetch->count);
	*prefetch = (struct prefetch){ 0 };
}

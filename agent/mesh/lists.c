/*
 * lists: sorted copies of what is in a snapshot, made when somebody wants to read them.
 */
#include <string.h>

#include "mesh/state.h"

static int by_uid(const void *a, const void *b)
{
	const struct workload *const *x = a, *const *y = b;

	return strcmp((*x)->uid, (*y)->uid);
}

static int by_host(const void *a, const void *b)
{
	const struct service *const *x = a, *const *y = b;
	int order = strcmp((*x)->hostname, (*y)->hostname);

	return order ? order : strcmp((*x)->ns, (*y)->ns);
}

int service_order(const struct service *a, const struct service *b)
{
	int order = strcmp(a->name, b->name);

	return order ? order : by_host(&a, &b);
}

static int by_key(const void *a, const void *b)
{
	const struct policy *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static int by_endpoint(const void *a, const void *b)
{
	const struct endpoint *const *x = a, *const *y = b;

	return strcmp((*x)->workload_uid, (*y)->workload_uid);
}

static int by_staged(const void *a, const void *b)
{
	const struct staged_endpoint *x = a, *y = b;
	int order = strcmp(x->service, y->service);

	return order ? order : strcmp(x->endpoint->workload_uid, y->endpoint->workload_uid);
}

/* All items of @map, each moved on by @offset, sorted. */
static size_t list_make(const struct hamt *map, size_t offset,
                        int (*order)(const void *, const void *), void *ret_list)
{
	size_t room = hamt_count(map), count = 0;
	char **list = reallocarray(NULL, room + 1, sizeof(char *));
	struct hamt_iter iter;
	char *item;

	hamt_iter_init(&iter, map);
	while (list && (item = hamt_next(&iter)))
		list[count++] = item + offset;
	if (count)
		qsort(list, count, sizeof(char *), order);
	memcpy(ret_list, &list, sizeof(char *));
	return count;
}

size_t snapshot_workloads(const struct snapshot *s, const struct workload ***ret_by_uid)
{
	return list_make(&s->state.maps[BY_UID], offsetof(struct workload_object, workload), by_uid,
	                 ret_by_uid);
}

size_t snapshot_services(const struct snapshot *s, const struct service ***ret_by_host)
{
	return list_make(&s->state.maps[BY_SERVICE], offsetof(struct service_object, service),
	                 by_host, ret_by_host);
}

size_t snapshot_policies(const struct snapshot *s, const struct policy ***ret_by_key)
{
	return list_make(&s->state.maps[BY_POLICY], offsetof(struct policy_object, policy), by_key,
	                 ret_by_key);
}

size_t service_endpoints(const struct service *service, const struct endpoint ***ret_by_uid)
{
	return list_make(&service->endpoints, 0, by_endpoint, ret_by_uid);
}

size_t snapshot_staged(const struct snapshot *s, struct staged_endpoint **ret_sorted)
{
	const struct hamt *ghosts = &s->state.maps[GHOSTS];
	struct service_object *ghost;
	struct staged_endpoint *list;
	struct hamt_iter iter;
	size_t count = 0;

	hamt_iter_init(&iter, ghosts);
	while ((ghost = hamt_next(&iter)))
		count += ghost->service.endpoints_count;
	list = *ret_sorted = reallocarray(NULL, count + 1, sizeof(*list));
	hamt_iter_init(&iter, ghosts);
	for (count = 0; list && (ghost = hamt_next(&iter));) {
		const struct endpoint *endpoint;

		service_for_each_endpoint(endpoint, &ghost->service) list[count++] =
		    (struct staged_endpoint){ ghost->key, endpoint };
	}
	if (count)
		qsort(list, count, sizeof(*list), by_staged);
	return count;
}

/*
 * builder: what came in, in the order it came. Sorting, joining and indexing is publish.c's.
 */
#include "mesh/builder.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "mesh/identity.h"
#include "mesh/snapshot.h"

enum text_use { IS_UID = 1, IS_SERVICE = 2, IS_POLICY = 4 };

struct text_item { /* one text that is stored once */
	const char *text;
	uint32_t hash, uses;
};

struct list { /* of pointers, or of endpoints */
	void *items;
	size_t count, room;
};

struct builder {
	struct hb_arena arena;
	struct text_item *texts; /* open addressing */
	size_t texts_count, texts_room;
	struct list workloads, services, policies, joints;
};

struct builder *builder_new(void)
{
	return calloc(1, sizeof(struct builder));
}

void builder_free(struct builder *builder)
{
	if (!builder)
		return;
	free(builder->texts);
	free(builder->workloads.items);
	free(builder->services.items);
	free(builder->policies.items);
	free(builder->joints.items);
	hb_arena_done(&builder->arena);
	free(builder);
}

void *builder_array(struct builder *builder, size_t count, size_t size)
{
	return hb_arena_array(&builder->arena, count, size);
}

/* A place for one more item of @size bytes at the end; NULL: no memory. */
static void *list_add(struct list *list, size_t size)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		void *items = reallocarray(list->items, room, size);

		if (!items)
			return NULL;
		list->items = items;
		list->room = room;
	}
	return (char *)list->items + list->count++ * size;
}

static struct text_item *text_slot(struct text_item *texts, size_t room, const char *text,
                                   size_t len, uint32_t hash)
{
	size_t i = hash & (room - 1);

	while (texts[i].text && (texts[i].hash != hash || strncmp(texts[i].text, text, len) != 0 ||
	                         texts[i].text[len]))
		i = (i + 1) & (room - 1);
	return &texts[i];
}

static int texts_grow(struct builder *builder)
{
	size_t room = builder->texts_room ? builder->texts_room * 2 : 1024;
	struct text_item *texts = calloc(room, sizeof(*texts));

	if (!texts)
		return -ENOMEM;
	for (size_t i = 0; i < builder->texts_room; i++) {
		const struct text_item *old = &builder->texts[i];

		if (old->text)
			*text_slot(texts, room, old->text, strlen(old->text), old->hash) = *old;
	}
	free(builder->texts);
	builder->texts = texts;
	builder->texts_room = room;
	return 0;
}

static struct text_item *text_item(struct builder *builder, const char *text, size_t len)
{
	uint32_t hash;
	struct text_item *slot;

	len = strnlen(text, len);
	hash = index_hash(text, len);
	if (builder->texts_count * 2 >= builder->texts_room && texts_grow(builder) < 0)
		return NULL;
	slot = text_slot(builder->texts, builder->texts_room, text, len, hash);
	if (!slot->text) {
		slot->text = hb_arena_text(&builder->arena, text, len);
		if (!slot->text)
			return NULL;
		slot->hash = hash;
		builder->texts_count++;
	}
	return slot;
}

const char *builder_text(struct builder *builder, const char *text, size_t len)
{
	const struct text_item *item = text_item(builder, text, len);

	return item ? item->text : NULL;
}

/* Gives @text its one use of this kind; the stored text, or NULL with -EEXIST or -ENOMEM. */
static int text_claim(struct builder *builder, const char *text, enum text_use use,
                      const char **ret_text)
{
	struct text_item *item = text_item(builder, text, strlen(text));

	if (!item)
		return -ENOMEM;
	if (item->uses & use)
		return -EEXIST;
	item->uses |= use;
	*ret_text = item->text;
	return 0;
}

static char *pair_format(const char *ns, const char *name)
{
	char *text;

	return asprintf(&text, "%s/%s", ns, name) < 0 ? NULL : text;
}

static void set_missing(void *base, const size_t *offsets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char **text = (const char **)((char *)base + offsets[i]);

		if (!*text)
			*text = "";
	}
}

static void ref_set_missing(struct mesh_ref *ref)
{
	static const size_t texts[] = {
		offsetof(struct mesh_ref, network),
		offsetof(struct mesh_ref, ns),
		offsetof(struct mesh_ref, hostname),
	};

	set_missing(ref, texts, HB_ARRAY_LEN(texts));
}

static int identity_set(struct builder *builder, struct workload *w)
{
	hb_cleanup(hb_free_ptr) char *text = NULL;

	if (*w->identity)
		return 0;
	text = identity_format(w->trust_domain, w->ns, w->service_account);
	if (!text)
		return -ENOMEM;
	w->identity = builder_text(builder, text, strlen(text));
	return w->identity ? 0 : -ENOMEM;
}

int builder_workload(struct builder *builder, const struct workload *workload)
{
#define TEXT(name) offsetof(struct workload, name)
	static const size_t texts[] = {
		TEXT(uid),
		TEXT(name),
		TEXT(ns),
		TEXT(trust_domain),
		TEXT(cluster_id),
		TEXT(network),
		TEXT(node),
		TEXT(hostname),
		TEXT(workload_name),
		TEXT(workload_type),
		TEXT(region),
		TEXT(canonical_revision),
		TEXT(zone),
		TEXT(subzone),
		TEXT(canonical_name),
		TEXT(identity),
		TEXT(service_account),
	};
#undef TEXT
	struct workload *copy = builder_array(builder, 1, sizeof(*copy));
	struct workload **place;
	int err;

	if (!copy)
		return -ENOMEM;
	*copy = *workload;
	set_missing(copy, texts, HB_ARRAY_LEN(texts));
	ref_set_missing(&copy->waypoint);
	ref_set_missing(&copy->gateway);
	err = identity_set(builder, copy);
	if (!err)
		err = text_claim(builder, copy->uid, IS_UID, &copy->uid);
	if (err)
		return err;
	place = list_add(&builder->workloads, sizeof(*place));
	if (!place)
		return -ENOMEM;
	*place = copy;
	return 0;
}

static bool is_exact(const struct mesh_vip *vip)
{
	return vip->prefix == (hb_ip_is_v4(&vip->ip) ? 32 : 128);
}

/* model.h promises exact VIPs before CIDRs; both keep their order. */
static int vips_set(struct builder *builder, struct service *service)
{
	struct mesh_vip *vips = builder_array(builder, service->vips_count, sizeof(*vips));
	size_t count = 0;

	if (!vips)
		return -ENOMEM;
	for (int exact = 1; exact >= 0; exact--) {
		for (size_t i = 0; i < service->vips_count; i++) {
			if (is_exact(&service->vips[i]) == (bool)exact)
				vips[count++] = service->vips[i];
		}
	}
	service->vips = vips;
	return 0;
}

int builder_service(struct builder *builder, const struct service *service)
{
	static const size_t texts[] = {
		offsetof(struct service, name),
		offsetof(struct service, ns),
		offsetof(struct service, hostname),
	};
	struct service *copy = builder_array(builder, 1, sizeof(*copy)), **place;
	hb_cleanup(hb_free_ptr) char *key = NULL;
	const char *stored_key;
	int err;

	if (!copy)
		return -ENOMEM;
	*copy = *service;
	copy->endpoints = NULL;
	copy->endpoints_count = 0;
	set_missing(copy, texts, HB_ARRAY_LEN(texts));
	ref_set_missing(&copy->waypoint);
	key = pair_format(copy->ns, copy->hostname);
	err = key ? vips_set(builder, copy) : -ENOMEM;
	if (!err)
		err = text_claim(builder, key, IS_SERVICE, &stored_key);
	if (err)
		return err;
	place = list_add(&builder->services, sizeof(*place));
	if (!place)
		return -ENOMEM;
	*place = copy;
	return 0;
}

int builder_policy(struct builder *builder, const struct policy *policy)
{
	static const size_t texts[] = {
		offsetof(struct policy, name),
		offsetof(struct policy, ns),
		offsetof(struct policy, key),
	};
	struct policy *copy = builder_array(builder, 1, sizeof(*copy)), **place;
	hb_cleanup(hb_free_ptr) char *key = NULL;
	int err;

	if (!copy)
		return -ENOMEM;
	*copy = *policy;
	set_missing(copy, texts, HB_ARRAY_LEN(texts));
	key = *copy->key ? strdup(copy->key) : pair_format(copy->ns, copy->name);
	err = key ? text_claim(builder, key, IS_POLICY, &copy->key) : -ENOMEM;
	if (err)
		return err;
	place = list_add(&builder->policies, sizeof(*place));
	if (!place)
		return -ENOMEM;
	*place = copy;
	return 0;
}

int builder_endpoint(struct builder *builder, const char *ns_host, const struct endpoint *endpoint,
                     enum endpoint_source source)
{
	const char *key = builder_text(builder, ns_host, strlen(ns_host));
	const char *uid =
	    builder_text(builder, endpoint->workload_uid, strlen(endpoint->workload_uid));
	struct joint *joint = key && uid ? list_add(&builder->joints, sizeof(*joint)) : NULL;

	if (!joint)
		return -ENOMEM;
	*joint = (struct joint){
		.service_key = key,
		.endpoint = *endpoint,
		.order = (uint64_t)source << 63 | builder->joints.count,
	};
	joint->endpoint.workload_uid = uid;
	return 0;
}

int builder_publish(struct builder *builder, struct snapshot **ret_snapshot)
{
	struct contents contents = {
		.workloads = builder->workloads.items,
		.workloads_count = builder->workloads.count,
		.services = builder->services.items,
		.services_count = builder->services.count,
		.policies = builder->policies.items,
		.policies_count = builder->policies.count,
		.joints = builder->joints.items,
		.joints_count = builder->joints.count,
	};
	int err = snapshot_build(&contents, &builder->arena, ret_snapshot);

	builder_free(builder);
	return err;
}

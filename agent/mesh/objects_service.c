/*
 * objects_service: services. What only its endpoints change in is shared as a body by all versions
 * of a service.
 */
#include <string.h>

#include "mesh/hash.h"
#include "mesh/objects_parts.h"
#include "mesh/pack.h"
#include "mesh/texts.h"

struct body_words { /* the arrays of a body that refer to texts, for its end */
	struct body body;
	struct mesh_vip *vips;
	struct weighted_waypoint *weighted;
	size_t vips_count, weighted_count; /* grow as their texts are kept */
};

static struct body_words *words_of_body(struct body *body)
{
	return hb_container_of(body, struct body_words, body);
}

bool vip_is_exact(const struct mesh_vip *vip)
{
	return vip->prefix == (hb_ip_is_v4(&vip->ip) ? 32 : 128);
}

uint64_t service_key_hash(const char *key)
{
	size_t ns_len = strcspn(key, "/");
	const char *host = key[ns_len] ? key + ns_len + 1 : key + ns_len;

	return hash_mix(hash_bytes(key, ns_len), hash_text(host));
}

uint64_t vip_hash(const char *network, const struct hb_ip *ip, uint8_t prefix)
{
	unsigned int bits = hb_ip_is_v4(ip) ? 96u + prefix : prefix;
	struct hb_ip net = *ip;

	if (bits < 128) {
		memset(net.b + (bits + 7) / 8, 0, sizeof(net.b) - (bits + 7) / 8);
		if (bits % 8)
			net.b[bits / 8] &= (uint8_t)(0xff00u >> bits % 8);
	}
	return hash_mix(hash_ip(network, &net), bits);
}

static void body_done(struct heap *heap, struct counted *counted)
{
	struct body_words *words = words_of_body(hb_container_of(counted, struct body, counted));

	for (size_t i = 0; i < words->vips_count; i++)
		text_unref(heap, words->vips[i].network);
	for (size_t i = 0; i < words->weighted_count; i++)
		ref_drop(heap, &words->weighted[i].destination);
}

static void service_done(struct heap *heap, struct counted *counted)
{
	struct service_object *object = hb_container_of(counted, struct service_object, counted);

	hamt_drop(heap, &object->service.endpoints);
	text_unref(heap, object->service.ns);
	ref_drop(heap, &object->service.waypoint);
	text_unref(heap, object->key);
	counted_unref(heap, object->body);
}

static void given_done(struct heap *heap, struct counted *counted)
{
	text_unref(heap, hb_container_of(counted, struct given_object, counted)->service);
}

void service_objects_init_heap(struct heap *heap)
{
	heap->done[COUNTED_BODY] = body_done;
	heap->done[COUNTED_SERVICE] = service_done;
	heap->done[COUNTED_GIVEN] = given_done;
}

/* Exact VIPs before CIDRs, as model.h promises; both keep their order. */
static void vips_copy(const struct service *in, struct mesh_vip *out)
{
	for (int exact = 1; exact >= 0; exact--) {
		for (size_t i = 0; i < in->vips_count; i++) {
			if (vip_is_exact(&in->vips[i]) != (bool)exact)
				continue;
			out->ip = in->vips[i].ip;
			out->prefix = in->vips[i].prefix;
			out++;
		}
	}
}

static const struct endpoint *given_pack(struct pack *p, const struct endpoint *given, size_t count)
{
	struct endpoint *out = PACK(p, given, count);

	for (size_t i = 0; i < count; i++) {
		const struct mesh_port *ports = PACK(p, given[i].ports, given[i].ports_count);
		const char *uid = pack_text(p, given[i].workload_uid);

		if (!out)
			continue;
		memset(&out[i], 0, sizeof(out[i]));
		out[i].workload_uid = uid;
		out[i].ports = ports;
		out[i].ports_count = given[i].ports_count;
		out[i].status = given[i].status;
	}
	return out;
}

struct source { /* what a body is made of */
	const struct service *service;
	const struct endpoint *given;
	size_t given_count;
};

static void body_pack(struct pack *p, const struct source *in, struct body_words *words,
                      struct service *out)
{
	const struct service *from = in->service;
	const char **sans = PACK(p, from->sans, from->sans_count);

	words->body.vips =
	    pack_copy(p, from->vips, from->vips_count, sizeof(uint64_t), sizeof(uint64_t));
	words->vips = PACK(p, from->vips, from->vips_count);
	words->weighted = PACK(p, from->weighted_waypoints, from->weighted_waypoints_count);
	words->body.given = given_pack(p, in->given, in->given_count);
	out->ports = PACK(p, from->ports, from->ports_count);
	for (size_t i = 0; i < from->sans_count; i++) {
		const char *text = pack_text(p, from->sans[i]);

		if (sans)
			sans[i] = text;
	}
	out->sans = sans;
	out->name = pack_text(p, from->name);
	out->hostname = pack_text(p, from->hostname);
	out->vips = words->vips;
	out->weighted_waypoints = words->weighted;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void vip_hashes_set(struct body_words *words)
{
	uint64_t *hashes = (uint64_t *)(uintptr_t)words->body.vips;
	size_t count = 0;

	for (size_t i = 0; i < words->vips_count; i++)
		hashes[i] =
		    vip_hash(words->vips[i].network, &words->vips[i].ip, words->vips[i].prefix);
	if (words->vips_count > 1)
		qsort(hashes, words->vips_count, sizeof(*hashes), by_number);
	for (size_t i = 0; i < words->vips_count; i++) {
		if (!count || hashes[count - 1] != hashes[i])
			hashes[count++] = hashes[i];
	}
	words->body.vips_count = count;
}

static int body_texts_keep(struct heap *heap, const struct service *in, struct body_words *words)
{
	size_t at = 0;

	/* In the order of vips_copy(). */
	for (int exact = 1; exact >= 0; exact--) {
		for (size_t i = 0; i < in->vips_count; i++) {
			if (vip_is_exact(&in->vips[i]) != (bool)exact)
				continue;
			words->vips[at].network = text_new(heap, in->vips[i].network);
			if (!words->vips[at].network)
				return -ENOMEM;
			words->vips_count = ++at;
		}
	}
	for (size_t i = 0; i < in->weighted_waypoints_count; i++, words->weighted_count++) {
		const struct weighted_waypoint *from = &in->weighted_waypoints[i];

		words->weighted[i].weight = from->weight;
		if (ref_keep(heap, &from->destination, &words->weighted[i].destination) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Sets what of @out points into the body. */
static struct body *body_new(struct heap *heap, const struct source *in, struct service *out)
{
	struct pack p = { .at = sizeof(struct body_words) };
	struct body_words measured = { 0 }, *words;
	const struct service *from = in->service;

	body_pack(&p, in, &measured, out);
	words = heap_new(heap, COUNTED_BODY, p.at);
	if (!words)
		return NULL;
	p = (struct pack){ .base = (char *)words, .at = sizeof(*words) };
	body_pack(&p, in, words, out);
	if (from->vips_count) {
		memset(words->vips, 0, from->vips_count * sizeof(*words->vips));
		vips_copy(from, words->vips);
	}
	if (from->weighted_waypoints_count)
		memset(words->weighted, 0,
		       from->weighted_waypoints_count * sizeof(*words->weighted));
	words->body.given_count = in->given_count;
	if (body_texts_keep(heap, from, words) < 0) {
		counted_unref(heap, words);
		return NULL;
	}
	vip_hashes_set(words);
	return &words->body;
}

static const char *key_new(struct heap *heap, const char *ns, const char *hostname)
{
	size_t ns_len = strlen(ns), size = ns_len + strlen(hostname) + 2;
	hb_cleanup(hb_free_ptr) char *key = malloc(size);

	if (!key)
		return NULL;
	memcpy(key, ns, ns_len);
	key[ns_len] = '/';
	memcpy(key + ns_len + 1, hostname, size - ns_len - 1);
	return text_new_len(heap, key, size - 1);
}

struct service_object *service_object_new(struct heap *heap, const struct service *service,
                                          const struct endpoint *given, size_t given_count)
{
	struct source source = { service, given, given_count };
	struct service_object *object = heap_new(heap, COUNTED_SERVICE, sizeof(*object));
	struct service *out;

	if (!object)
		return NULL;
	out = &object->service;
	*out = *service;
	out->ns = NULL;
	out->waypoint = (struct mesh_ref){ 0 };
	out->endpoints = (struct hamt){ .borrows = true };
	out->endpoints_count = 0;
	object->batch = heap->batch;
	object->body = body_new(heap, &source, out);
	out->ns = text_new(heap, service->ns);
	object->key =
	    out->ns ? key_new(heap, out->ns, service->hostname ? out->hostname : "") : NULL;
	if (!object->body || !object->key ||
	    ref_keep(heap, &service->waypoint, &out->waypoint) < 0) {
		counted_unref(heap, object);
		return NULL;
	}
	return object;
}

struct service_object *ghost_object_new(struct heap *heap, const char *key)
{
	struct service_object *object = heap_new(heap, COUNTED_SERVICE, sizeof(*object));

	if (!object)
		return NULL;
	object->batch = heap->batch;
	object->service.endpoints.borrows = true;
	object->service.name = object->service.hostname = object->service.ns = text_none;
	object->key = text_new(heap, key);
	if (!object->key) {
		counted_unref(heap, object);
		return NULL;
	}
	return object;
}

struct service_object *service_object_copy(struct heap *heap, const struct service_object *old)
{
	struct service_object *object = heap_new(heap, COUNTED_SERVICE, sizeof(*object));
	const struct service *from = &old->service;

	if (!object)
		return NULL;
	object->service = *from;
	object->service.ns = text_ref(from->ns);
	object->service.waypoint = (struct mesh_ref){ 0 };
	(void)ref_keep(heap, &from->waypoint, &object->service.waypoint); /* its texts are there */
	object->service.endpoints = hamt_share(&from->endpoints);
	object->batch = heap->batch;
	object->origin = old->origin;
	object->key = text_ref(old->key);
	object->body = old->body ? counted_ref(old->body) : NULL;
	return object;
}

struct given_object *given_object_new(struct heap *heap, const char *service,
                                      const struct endpoint *endpoint,
                                      const struct workload *workload)
{
	struct pack p = { .at = sizeof(struct given_object) };
	struct given_object *object;

	(void)given_pack(&p, endpoint, 1);
	object = heap_new(heap, COUNTED_GIVEN, p.at);
	if (!object)
		return NULL;
	p = (struct pack){ .base = (char *)object, .at = sizeof(*object) };
	object->endpoint = *given_pack(&p, endpoint, 1);
	object->endpoint.workload = workload;
	object->service = text_new(heap, service);
	if (!object->service) {
		counted_unref(heap, object);
		return NULL;
	}
	return object;
}

bool service_object_equal(const struct service_object *a, const struct service_object *b)
{
	size_t begin = sizeof(struct counted), size = (size_t)a->body->counted.units * 8;
	struct words x = words_of(a->body, begin, a->body, size),
		     y = words_of(b->body, begin, b->body, size);

	if (a->body->counted.units != b->body->counted.units || !words_equal(&x, &y, size - begin))
		return false;
	x.at = (const uintptr_t *)(const void *)&a->service;
	y.at = (const uintptr_t *)(const void *)&b->service;
	return words_equal(&x, &y, offsetof(struct service, endpoints_count));
}

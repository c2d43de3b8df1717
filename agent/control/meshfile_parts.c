/*
 * meshfile_parts: what the sections of a mesh file share.
 */
#include "control/meshfile_parts.h"

#include <string.h>

const struct word health_words[] = {
	{ "Healthy", HEALTH_HEALTHY },
	{ "Unhealthy", HEALTH_UNHEALTHY },
	{ NULL, 0 },
};

int ports_read(struct reader *r, const struct yaml_node *node, const struct mesh_port **ret_ports,
               size_t *ret_count)
{
	static const char expected[] = "a map from service port to target port, each 0 to 65535";
	int err = reader_map(r, node, expected);
	struct mesh_port *ports;

	if (err)
		return err;
	if (node->count > UINT16_MAX)
		return reader_fail(r, node->line, "\"%s\" has %zu ports, expected at most %u",
		                   r->key, node->count, UINT16_MAX);
	ports = reader_array(r, node, node->count, sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < node->count; i++) {
		const struct yaml_node *target = node->items[i];
		uint32_t from, to;

		if (number_parse(target->key, UINT16_MAX, &from) < 0)
			return reader_fail(r, target->key_line,
			                   "\"%s\" has the port \"%.64s\", expected %s", r->key,
			                   target->key, expected);
		if (target->kind != YAML_SCALAR || *target->tag || target->quoted ||
		    number_parse(target->text, UINT16_MAX, &to) < 0)
			return reader_expect(r, target, expected);
		ports[i] = (struct mesh_port){ (uint16_t)from, (uint16_t)to };
	}
	*ret_ports = ports;
	*ret_count = node->count;
	return 0;
}

int texts_read(struct reader *r, const struct yaml_node *node, const char *expected,
               const char *const **ret_texts, size_t *ret_count)
{
	int err = reader_list(r, node, expected);
	const char **texts;

	if (err)
		return err;
	texts = reader_array(r, node, node->count, sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	for (size_t i = 0; i < node->count; i++) {
		err = reader_text(r, node->items[i], expected, &texts[i]);
		if (err)
			return err;
	}
	*ret_texts = texts;
	*ret_count = node->count;
	return 0;
}

int net_ip_parse(struct reader *r, const char *text, const char **ret_network, struct hb_ip *ret_ip)
{
	const char *slash = strchr(text, '/');

	if (!slash || hb_ip_parse(slash + 1, strlen(slash + 1), ret_ip) < 0)
		return -EINVAL;
	*ret_network = hb_arena_text(r->arena, text, (size_t)(slash - text));
	return *ret_network ? 0 : -ENOMEM;
}

static int destination_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const char expected[] = "\"network/ip\" or \"namespace/hostname\"";
	struct mesh_ref *ref = member;
	const char *slash = strchr(node->text, '/'), *network;
	struct hb_ip ip;
	int err = reader_scalar(r, node, expected);

	if (err)
		return err;
	if (!slash)
		return reader_expect(r, node, expected);
	err = net_ip_parse(r, node->text, &network, &ip);
	if (err == 0) {
		ref->kind = REF_ADDRESS;
		ref->network = network;
		ref->ip = ip;
		return 0;
	}
	if (err == -EINVAL) {
		ref->kind = REF_HOSTNAME;
		ref->ns = hb_arena_text(r->arena, node->text, (size_t)(slash - node->text));
		ref->hostname = slash + 1;
	}
	return ref->ns ? 0 : reader_no_memory(r, node->line);
}

int ref_read(struct reader *r, const struct yaml_node *node, void *member)
{
	static const struct field fields[] = {
		{ "destination", FIELD_OTHER, .need = REQUIRED, .read = destination_read },
		{ "hboneMtlsPort", FIELD_PORT, FIELD_AT(struct mesh_ref, port), REQUIRED },
	};

	return fields_read(r, node, "a waypoint or gateway", fields, HB_ARRAY_LEN(fields), member);
}

int cidr_parse(const char *text, struct hb_ip *ret_ip, uint8_t *ret_prefix)
{
	const char *slash = strchr(text, '/');
	struct hb_ip ip;
	uint32_t prefix, bits;

	if (!slash || hb_ip_parse(text, (size_t)(slash - text), &ip) < 0)
		return -EINVAL;
	bits = memchr(text, ':', (size_t)(slash - text)) ? 128 : 32;
	if (number_parse(slash + 1, bits, &prefix) < 0)
		return -EINVAL;
	/*
	 * ::ffff:10.0.0.0/8 is written as IPv6 and covers few or no IPv4 addresses, but held as an
	 * hb_ip it would look like 10.0.0.0/8: without its host bits it no longer does, unless 96
	 * bits or more are fixed, and those cidr_contains() knows.
	 */
	if (bits == 128 && hb_ip_is_v4(&ip) && prefix < 96) {
		memset(ip.b + (prefix + 7) / 8, 0, sizeof(ip.b) - (prefix + 7) / 8);
		if (prefix % 8)
			ip.b[prefix / 8] &= (uint8_t)(0xff00u >> (prefix % 8));
	}
	*ret_ip = ip;
	*ret_prefix = (uint8_t)prefix;
	return 0;
}

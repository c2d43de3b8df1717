/*
 * meshfile_parts: what the sections of a mesh file share: ports, references, lists of texts.
 */
#pragma once

#include "control/fields.h"

/* What makes an item unique in its section; texts of a builder compare as pointers. */
struct item_key {
	const char *ns, *name; /* a workload: uid in name */
	int line;
};

/* Each reads one item into the builder. -EEXIST: @ret_key was there before. */
int meshfile_workload(struct reader *r, const struct yaml_node *node, struct item_key *ret_key);
int meshfile_service(struct reader *r, const struct yaml_node *node, struct item_key *ret_key);
int meshfile_policy(struct reader *r, const struct yaml_node *node, struct item_key *ret_key);

/* {80: 8080} */
int ports_read(struct reader *r, const struct yaml_node *node, const struct mesh_port **ret_ports,
               size_t *ret_count);
/* [text, text] */
int texts_read(struct reader *r, const struct yaml_node *node, const char *expected,
               const char *const **ret_texts, size_t *ret_count);
/* {destination: net/ip or ns/host, hboneMtlsPort: n}; @member: struct mesh_ref */
int ref_read(struct reader *r, const struct yaml_node *node, void *member);
/* "net/ip" */
int net_ip_parse(struct reader *r, const char *text, const char **ret_network,
                 struct hb_ip *ret_ip);
/* "ip/prefix" */
int cidr_parse(const char *text, struct hb_ip *ret_ip, uint8_t *ret_prefix);

extern const struct word health_words[];

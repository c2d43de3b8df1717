/*
 * meshfile_parts: what the sections of a mesh file share: ports, references, lists of texts.
 */
#pragma once

#include "control/fields.h"
#include "mesh/store.h"

/* Each reads one item and puts it into the store, whose result it gives. */
int meshfile_workload(struct reader *r, const struct yaml_node *node);
int meshfile_service(struct reader *r, const struct yaml_node *node);
int meshfile_policy(struct reader *r, const struct yaml_node *node);

/* {80: 8080} */
int ports_read(struct reader *r, const struct yaml_node *node, const struct mesh_port **ret_ports,
               size_t *ret_count); /* at most 65,535 */
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

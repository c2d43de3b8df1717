/*
 * zds_codec: packets of the ZDS socket from and to bytes (reference/controlplane 3.8). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZDS_PACKET_MAX 1024u /* bytes, either way (reference/controlplane 6.1) */

enum zds_kind { ZDS_ADD, ZDS_KEEP, ZDS_DEL, ZDS_SNAPSHOT_SENT };

struct zds_request { /* what istio-cni says; texts live in it, "" is absent */
	enum zds_kind kind;
	bool has_info; /* ADD: name, ns and service_account were given */
	const char *uid, *name, *ns, *service_account;
	char text[ZDS_PACKET_MAX + 4];
};

/*
 * 0; or -EBADMSG (no such message, or a text with anything but printable ASCII, or a name with a
 * '/'), -EMSGSIZE or -ENOMEM. The request must stay in place: it points into itself.
 */
int zds_decode(const uint8_t *bytes, size_t len, struct zds_request *ret_request);
/* Bytes written. */
size_t zds_encode_hello(uint8_t out[ZDS_PACKET_MAX]);
/* @error "": success. A long one is cut; what is not printable ASCII becomes '?'. */
size_t zds_encode_ack(const char *error, uint8_t out[ZDS_PACKET_MAX]);

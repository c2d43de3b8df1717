/*
 * target_text: what a CONNECT leads to, as one line, for tables.
 */
#pragma once

#include <stdio.h>

#include "proxy/target.h"
#include "unit/agent/mesh/mesh_text.h"

/* "app dial", then "src", then "proxy" and its destination; or status and words. */
static inline void target_format(const struct target *target, char *out, size_t size)
{
	char app[HB_ADDR_STRLEN], dial[HB_ADDR_STRLEN], dst[HB_ADDR_STRLEN];

	if (target->status)
		snprintf(out, size, "%d %s", target->status, target->words);
	else
		snprintf(out, size, "%s %s%s%s%s", hb_addr_format(&target->app, app, sizeof(app)),
		         hb_addr_format(&target->dial, dial, sizeof(dial)),
		         target->keep_src ? " src" : "", target->proxy ? " proxy " : "",
		         target->proxy ? hb_addr_format(&target->proxy_dst, dst, sizeof(dst)) : "");
}

/* At the pod of workload @uid, whose address @local the tunnel came to, in network n1. */
static inline void target_text(const struct snapshot *s, const char *uid, const char *local,
                               const char *authority, bool localhost_tunnels, char *out,
                               size_t size)
{
	struct target_query query = {
		.snapshot = s,
		.workload = snapshot_workload_by_uid(s, uid),
		.network = "n1",
		.local = ip_of(local),
		.localhost_tunnels = localhost_tunnels,
	};
	struct hb_tunnel_authority parsed;
	struct target target;

	ck_assert_int_eq(hb_tunnel_authority_parse(authority, strlen(authority), &parsed), 0);
	target_find(&query, &parsed, &target);
	target_format(&target, out, size);
	ck_assert_msg(!target.status == !target.code, "%s: %d", authority, target.code);
}

/*
 * grpc_config: what a channel is told, taken apart: the URL, the roots, the token, the headers
 * (reference/controlplane 2.1, 2.2). Reads files where it says so; no sockets.
 */
#pragma once

#include <hbone/h2.h>
#include <hbone/tls.h>

#include "control/grpc.h"

#define GRPC_HOST_MAX  253       /* bytes of a name (RFC 1035 2.3.4, without the root) */
#define GRPC_TOKEN_MAX 65536     /* bytes of a token's file */
#define GRPC_ROOTS_MAX (1 << 20) /* and of the roots' */

struct grpc_target {
	char host[GRPC_HOST_MAX + 1];           /* as written, an IPv6 address without brackets */
	char authority[GRPC_HOST_MAX + 1 + 10]; /* "host:port", with brackets */
	bool is_address;
	struct hb_addr addr; /* the port always; the address if it is one */
};

/* A channel's own copy of what it was told. */
struct grpc_settings {
	struct grpc_target target;
	char *roots, *alt_host, *token, *cluster_id; /* NULL: none */
	bool token_is_path;
	char **names, **values; /* names in lower case */
	size_t headers_count;
	struct hb_tls_profile profile;
	uint32_t connect_ms, handshake_ms, keepalive_ms, keepalive_timeout_ms, window;
	struct grpc_resolver resolver;
};

/* 0; -EINVAL with a clause in @why. */
int grpc_target_parse(const char *url, struct grpc_target *ret_target, char *why, size_t why_size);
/* 0; -EINVAL or -ENOMEM with a sentence in @why. Looks whether the token names a file. */
int grpc_settings_init(struct grpc_settings *settings, const struct grpc_channel_config *config,
                       char *why, size_t why_size);
void grpc_settings_done(struct grpc_settings *settings); /* wipes the token; zeroed is fine */

/*
 * The value of the header authorization, to be wiped by its length and freed; NULL with 0: there is
 * to be none. -errno with a sentence in @why, that has nothing of the token in it.
 */
int grpc_bearer(const struct grpc_settings *settings, char **ret_bearer, char *why,
                size_t why_size);
/* A context with the roots as they are now. 0; -errno with a sentence in @why. */
int grpc_roots(const struct grpc_settings *settings, struct hb_tls_ctx **ret_ctx, char *why,
               size_t why_size);

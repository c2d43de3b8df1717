/*
 * podnet: sockets of ours in a pod's namespace, by how its traffic comes to them.
 *
 *   BPF    our programs capture it (redirect.h): getsockname() says what was dialled, our own
 *          sockets are exempted one by one
 *   RULES  packet filter rules redirect it that somebody else made there, istio-cni for one
 *          (reference/controlplane 6.8): SO_ORIGINAL_DST says what was dialled, a mark exempts
 *
 * Immutable once made; any thread.
 */
#pragma once

#include <hbone/addr.h>

struct redirect;

enum podnet_capture { PODNET_BPF, PODNET_RULES };
/* Whether the app is to see its client's address: as far as we may, or no pod without, or not. */
enum podnet_source { PODNET_SOURCE_TRY, PODNET_SOURCE_MUST, PODNET_SOURCE_NEVER };

struct podnet {
	enum podnet_capture capture;
	struct redirect *redirect; /* BPF */
	/* RULES */
	uint32_t mark; /* SO_MARK of all our sockets; 0: none */
	enum podnet_source source;
	bool no_port_reuse; /* listeners without SO_REUSEPORT */
	bool socks5;        /* a SOCKS5 listener too */
	bool tunnels_only;  /* nothing is captured: 15008 is all there is */
};

/* A socket for a connection of our own that is not captured. Descriptor or -errno. */
int podnet_socket(const struct podnet *net, int netns_fd, int family);
/* Mark and transparency of a listener by RULES. 0 or -errno; *ret_keeps_source: connections to the
 * app may carry the client's address. */
int podnet_prepare_listener(const struct podnet *net, int fd, bool *ret_keeps_source);
/* Gives an unconnected socket an address that is not of its namespace. 0 or -errno. */
int podnet_bind_foreign(int fd, const struct hb_ip *ip);
/* What was dialled on an accepted connection. 0 or -errno. */
int podnet_orig_dst(const struct podnet *net, int fd, struct hb_addr *ret_addr);

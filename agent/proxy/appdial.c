/*
 * appdial: a socket of the pod, a loopback source, the client's name on it, connect.
 */
#include "proxy/appdial.h"

#include <netinet/in.h>
#include <string.h>

#define LOG_SCOPE "proxy"
#include "log.h"
#include "node/netns.h"
#include "node/redirect.h"
#include "proxy/pod.h"

/*
 * Not ::1: Linux has no way back to it for the reset with which it answers where nobody listens (it
 * looks for ::1 behind the device that has the pod's address), and the dial hung for its 10 s.
 */
struct hb_addr appdial_source(const struct hb_ip *app, uint32_t turn)
{
	struct hb_addr addr = { .ip = *app };
	uint32_t n = turn % (254u * 256u * 254u);

	if (!hb_ip_is_v4(app))
		return addr;
	memset(&addr, 0, sizeof(addr));
	addr.ip.b[10] = addr.ip.b[11] = 0xff;
	addr.ip.b[12] = 127;
	addr.ip.b[13] = (uint8_t)(1 + n / (256u * 254u));
	addr.ip.b[14] = (uint8_t)(n / 254u % 256u);
	addr.ip.b[15] = (uint8_t)(1 + n % 254u);
	return addr;
}

static int bind_source(int fd, const struct hb_addr *source)
{
	struct sockaddr_storage sa;
	socklen_t len = hb_addr_to_sockaddr(source, &sa);
	int one = 1;

	/* The port is chosen at connect, per 4-tuple: one source address serves many dials. */
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) < 0)
		return -errno;
	return bind(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* Descriptor or -errno. */
static int captured_socket(const struct appdial_target *target)
{
	bool v4 = hb_ip_is_v4(&target->app->ip);
	struct hb_addr source = appdial_source(&target->app->ip, target->turn);
	int fd = netns_socket(target->pod->netns_fd, v4 ? AF_INET : AF_INET6, SOCK_STREAM);
	int err;

	if (fd < 0)
		return fd;
	err = target->client ? bind_source(fd, &source) : 0;
	if (err == 0)
		err = redirect_exempt(target->pod->net->redirect, fd, target->client);
	if (err < 0)
		close(fd);
	return err < 0 ? err : fd;
}

/* Descriptor or -errno. A client's name that cannot be had is said, and the app served without. */
static int ruled_socket(const struct appdial_target *target)
{
	const struct hb_ip *app = &target->app->ip, *client;
	bool v4 = hb_ip_is_v4(app);
	int fd = podnet_socket(target->pod->net, target->pod->netns_fd, v4 ? AF_INET : AF_INET6);
	char text[HB_IP_STRLEN];
	int err;

	if (fd < 0 || !target->client || !target->pod->keeps_source)
		return fd;
	/* A pod that calls itself, or over the other family, could not be answered. */
	client = &target->client->ip;
	if (hb_ip_equal(client, app) || hb_ip_is_v4(client) != v4)
		return fd;
	err = podnet_bind_foreign(fd, client);
	if (err < 0)
		log_warn("the app will not see its client's address", "pod=%s client=%s: %s",
		         target->pod->key, hb_ip_format(client, text, sizeof(text)),
		         hb_strerror(err));
	return fd;
}

int appdial_start(struct hb_dial *dial, struct hb_loop *loop, const struct appdial_target *target,
                  hb_dial_done on_done)
{
	bool bpf = target->pod->net->capture == PODNET_BPF;
	int fd = bpf ? captured_socket(target) : ruled_socket(target);

	if (fd < 0)
		return fd;
	hb_dial_start(dial, loop, fd, target->app, DIAL_DEADLINE_MS, on_done);
	return 0;
}

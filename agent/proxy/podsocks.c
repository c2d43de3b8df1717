/*
 * podsocks: reads as many bytes as the request wants and not one more, so that the socket can be
 * handed on as it is.
 *
 *   poll --readable--> recv, socks5_take --more--> poll
 *     | deadline, abort                 '--said, refused, gone--> freed
 *     '--> ended, poll cancelled --kernel lets go--> freed
 */
#include "proxy/podsocks.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "config/settings.h"
#include "proxy/discard.h"
#include "proxy/outbound.h"
#include "proxy/pod.h"
#include "proxy/socks5.h"
#include "proxy/worker.h"

struct session {
	struct hb_list node;
	struct hb_op readable;
	struct hb_timer deadline;
	struct pod *pod;
	int fd;
	bool ended;
	struct socks5 socks;
};

/* Its descriptor; the session is gone. */
static int take(struct session *session)
{
	int fd = session->fd;

	hb_loop_timer_stop(session->pod->worker->loop, &session->deadline);
	hb_list_remove(&session->node);
	session->pod->socks_count--;
	worker_settle(session->pod->worker);
	free(session);
	return fd;
}

static void end(struct session *session)
{
	if (session->ended)
		return;
	session->ended = true;
	hb_loop_cancel(session->pod->worker->loop, &session->readable);
}

/* The address of a service by that name, as the pod may see it. */
static bool resolve(const struct pod *pod, struct socks5 *socks)
{
	const struct service *service;
	const struct mesh_vip *vip = NULL;

	if (!pod->workload)
		return false;
	service = snapshot_service_by_host(pod->worker->snapshot, socks->name, pod->workload->ns);
	for (size_t i = 0; service && i < service->vips_count; i++) {
		const struct mesh_vip *at = &service->vips[i];
		bool v4 = hb_ip_is_v4(&at->ip);

		if (strcmp(at->network, pod->worker->options.settings->network) != 0 ||
		    at->prefix != (v4 ? 32 : 128))
			continue;
		if (!vip || (v4 && !hb_ip_is_v4(&vip->ip)))
			vip = at;
	}
	if (!vip)
		return false;
	socks->dst.ip = vip->ip;
	return true;
}

/* A client that does not read the few bytes of an answer will not read ours either: they are lost.
 */
static void answer(int fd, const void *bytes, size_t len)
{
	(void)send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void reply(int fd, enum socks5_reply code)
{
	uint8_t bytes[SOCKS5_REPLY_LEN];

	socks5_format_reply(code, bytes);
	answer(fd, bytes, sizeof(bytes));
}

static void finish(struct session *session, enum socks5_next next)
{
	struct pod *pod = session->pod;
	struct socks5 socks = session->socks;
	int fd = take(session);

	if (next == SOCKS5_CONNECT && *socks.name && !resolve(pod, &socks)) {
		socks.reply = SOCKS5_HOST_UNREACHABLE;
		next = SOCKS5_REFUSED;
	}
	if (next == SOCKS5_CONNECT) {
		reply(fd, SOCKS5_SUCCEEDED);
		outbound_accept(pod, fd, &socks.dst);
		return;
	}
	reply(fd, socks.reply);
	close(fd); /* and not a reset: the reply is to be read */
}

/* What is there of what is wanted. False: it is not being read any more. */
static bool read_some(struct session *session)
{
	uint8_t bytes[sizeof(session->socks.bytes)];
	enum socks5_next next;

	for (;;) {
		size_t wants = socks5_wants(&session->socks);
		ssize_t n = recv(session->fd, bytes, wants, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0) {
			close(take(session));
			return false;
		}
		next = socks5_take(&session->socks, bytes, (size_t)n);
		if (next == SOCKS5_GREETED)
			answer(session->fd, SOCKS5_GREETING, SOCKS5_GREETING_LEN);
		if (next == SOCKS5_CONNECT || next == SOCKS5_REFUSED) {
			finish(session, next);
			return false;
		}
	}
}

static void on_readable(struct hb_op *op, int res)
{
	struct session *session = hb_container_of(op, struct session, readable);
	struct hb_loop *loop = session->pod->worker->loop;

	if (session->ended || res < 0)
		discard_fd(take(session));
	else if (read_some(session))
		hb_loop_poll(loop, op, session->fd, POLLIN);
}

static void on_deadline(struct hb_timer *timer)
{
	end(hb_container_of(timer, struct session, deadline));
}

void podsocks_accept(struct pod *pod, int fd)
{
	struct session *session =
	    pod->socks_count < PODSOCKS_MAX ? calloc(1, sizeof(*session)) : NULL;
	struct hb_loop *loop = pod->worker->loop;

	if (!session) {
		discard_fd(fd);
		return;
	}
	session->pod = pod;
	session->fd = fd;
	session->readable.done = on_readable;
	socks5_init(&session->socks);
	hb_list_add(&pod->socks, &session->node);
	pod->socks_count++;
	hb_timer_init(&session->deadline, on_deadline);
	hb_loop_timer_start(loop, &session->deadline, PODSOCKS_MS);
	hb_loop_poll(loop, &session->readable, fd, POLLIN);
}

void podsocks_abort(struct pod *pod)
{
	hb_list_for_each (node, &pod->socks)
		end(hb_container_of(node, struct session, node));
}

/*
 * loop_epoll_watch: which descriptors are watched.
 *
 * A watch ends with its last user and tells the kernel nothing: owners close their sockets next,
 * which unregisters them. A descriptor that is still open and used again is found registered, and
 * is registered anew, which makes the kernel report what is there. So nothing is remembered about
 * a descriptor that nobody uses: it may have been closed, and its number given to another socket.
 */
#include <assert.h>
#include <string.h>
#include <sys/epoll.h>

#include "loop_epoll.h"

#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

static int make_room(struct hb_epoll *epoll, int fd)
{
	size_t len = epoll->watches_len ? epoll->watches_len : 64;
	struct hb_watch **watches;

	while (len <= (size_t)fd)
		len *= 2;
	if (len == epoll->watches_len)
		return 0;
	watches = realloc(epoll->watches, len * sizeof(struct hb_watch *));
	if (!watches)
		return -ENOMEM;
	memset(watches + epoll->watches_len, 0,
	       (len - epoll->watches_len) * sizeof(struct hb_watch *));
	epoll->watches = watches;
	epoll->watches_len = len;
	return 0;
}

static int enlist(const struct hb_epoll *epoll, const struct hb_watch *watch)
{
	struct epoll_event event = {
		.events = EVENTS,
		.data.u64 = (uint64_t)watch->generation << 32 | (uint32_t)watch->fd,
	};

	if (epoll_ctl(epoll->fd, EPOLL_CTL_ADD, watch->fd, &event) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	return epoll_ctl(epoll->fd, EPOLL_CTL_MOD, watch->fd, &event) < 0 ? -errno : 0;
}

int hb_watch_get(struct hb_epoll *epoll, int fd, struct hb_watch **ret_watch, bool *ret_is_new)
{
	struct hb_watch *watch = hb_watch_lookup(epoll, fd);
	int r;

	if (watch) {
		*ret_watch = watch;
		*ret_is_new = false;
		return 0;
	}
	r = fd < 0 ? -EBADF : make_room(epoll, fd);
	if (r < 0)
		return r;
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->fd = fd;
	watch->generation = ++epoll->generation;
	hb_list_init(&watch->polls);
	r = enlist(epoll, watch);
	if (r < 0) {
		free(watch);
		return r;
	}
	epoll->watches[fd] = watch;
	*ret_watch = watch;
	*ret_is_new = true;
	return 0;
}

struct hb_watch *hb_watch_lookup(struct hb_epoll *epoll, int fd)
{
	return fd >= 0 && (size_t)fd < epoll->watches_len ? epoll->watches[fd] : NULL;
}

void hb_watch_put(struct hb_epoll *epoll, struct hb_watch *watch)
{
	if (watch->recv || watch->accept || watch->out || !hb_list_is_empty(&watch->polls))
		return;
	epoll->watches[watch->fd] = NULL;
	free(watch);
}

struct hb_watch *hb_watch_of_event(struct hb_epoll *epoll, uint64_t data)
{
	struct hb_watch *watch = hb_watch_lookup(epoll, (int)(uint32_t)data);

	return watch && watch->generation == data >> 32 ? watch : NULL;
}

void hb_watch_free_all(struct hb_epoll *epoll)
{
	for (size_t fd = 0; fd < epoll->watches_len; fd++)
		free(epoll->watches[fd]);
	free(hb_take(&epoll->watches));
	epoll->watches_len = 0;
}

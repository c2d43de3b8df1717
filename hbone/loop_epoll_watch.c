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

#define LEN_MIN 64u
#define EVENTS  (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

static int make_room(struct hb_epoll *epoll, int fd)
{
	size_t len = epoll->watches_len ? epoll->watches_len : LEN_MIN;
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
	watch = hb_slab_get(epoll->slabs, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->fd = fd;
	watch->generation = ++epoll->generation;
	hb_list_init(&watch->polls);
	r = enlist(epoll, watch);
	if (r < 0) {
		hb_slab_put(watch);
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
	hb_slab_put(watch);
}

struct hb_watch *hb_watch_of_event(struct hb_epoll *epoll, uint64_t data)
{
	struct hb_watch *watch = hb_watch_lookup(epoll, (int)(uint32_t)data);

	return watch && watch->generation == data >> 32 ? watch : NULL;
}

void hb_watch_free_all(struct hb_epoll *epoll)
{
	for (size_t fd = 0; fd < epoll->watches_len; fd++)
		hb_slab_put(epoll->watches[fd]);
	free(hb_take(&epoll->watches));
	epoll->watches_len = 0;
}

void hb_watch_trim(struct hb_epoll *epoll)
{
	size_t used = epoll->watches_len, len = epoll->watches_len;
	struct hb_watch **watches;

	while (used > 0 && !epoll->watches[used - 1])
		used--;
	while (len / 2 >= LEN_MIN && len / 2 >= used)
		len /= 2;
	if (len == epoll->watches_len)
		return;
	watches = realloc(epoll->watches, len * sizeof(struct hb_watch *));
	if (!watches)
		return; /* then it stays as it is */
	epoll->watches = watches;
	epoll->watches_len = len;
}

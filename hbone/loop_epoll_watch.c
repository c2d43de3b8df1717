/*
 * loop_epoll_watch: which descriptors are watched, and for whom.
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

#define ALONE         1u
#define ADDRESS       (((uint64_t)1 << 48) - 8)
#define GENERATION_AT 48

/* Few times as many as there are, in few steps. */
static size_t len_for(size_t descriptors)
{
	size_t len = LEN_MIN;

	while (len < descriptors)
		len += len / 8 / LEN_MIN * LEN_MIN + LEN_MIN;
	return len;
}

static int set_len(struct hb_epoll *epoll, size_t len)
{
	uint64_t *watched = realloc(epoll->watched, len * sizeof(*watched));

	if (!watched)
		return -ENOMEM;
	if (len > epoll->watched_len)
		memset(watched + epoll->watched_len, 0,
		       (len - epoll->watched_len) * sizeof(*watched));
	epoll->watched = watched;
	epoll->watched_len = len;
	return 0;
}

static uint64_t entry_of(const struct hb_epoll *epoll, int fd)
{
	return fd >= 0 && (size_t)fd < epoll->watched_len ? epoll->watched[fd] : 0;
}

/* Registered already: who waits for it has changed. */
static void set_entry(struct hb_epoll *epoll, int fd, const void *who, unsigned alone)
{
	uint64_t *entry = &epoll->watched[fd];

	assert(((uintptr_t)who & ~ADDRESS) == 0);
	*entry = *entry >> GENERATION_AT << GENERATION_AT | (uintptr_t)who | alone;
}

/* 0, and there is an entry with a generation of its own; or -errno. */
static int enlist(struct hb_epoll *epoll, int fd)
{
	uint16_t generation = ++epoll->generation;
	struct epoll_event event = {
		.events = EVENTS,
		.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd,
	};
	int r = fd < 0 ? -EBADF : 0;

	if (r == 0 && (size_t)fd >= epoll->watched_len)
		r = set_len(epoll, len_for((size_t)fd + 1));
	if (r == 0 && epoll_ctl(epoll->fd, EPOLL_CTL_ADD, fd, &event) < 0)
		r = -errno;
	if (r == -EEXIST)
		r = epoll_ctl(epoll->fd, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
	if (r == 0)
		epoll->watched[fd] = (uint64_t)generation << GENERATION_AT;
	return r;
}

static struct hb_watch *watch_of(uint64_t entry)
{
	return entry & ALONE ? NULL : (struct hb_watch *)(uintptr_t)(entry & ADDRESS);
}

static struct hb_recv *alone_of(uint64_t entry)
{
	return entry & ALONE ? (struct hb_recv *)(uintptr_t)(entry & ADDRESS) : NULL;
}

struct hb_watch *hb_watch_lookup(struct hb_epoll *epoll, int fd)
{
	return watch_of(entry_of(epoll, fd));
}

int hb_watch_get(struct hb_epoll *epoll, int fd, struct hb_watch **ret_watch, bool *ret_is_new)
{
	uint64_t entry = entry_of(epoll, fd);
	struct hb_recv *alone = alone_of(entry);
	struct hb_watch *watch = watch_of(entry);
	int r = 0;

	*ret_is_new = false;
	if (watch) {
		*ret_watch = watch;
		return 0;
	}
	watch = hb_slab_get(epoll->slabs, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->fd = fd;
	hb_list_init(&watch->polls);
	if (alone) {
		watch->recv = alone;
		watch->ends = alone->ends;
	} else {
		r = enlist(epoll, fd);
	}
	if (r < 0) {
		hb_slab_put(watch);
		return r;
	}
	set_entry(epoll, fd, watch, 0);
	*ret_watch = watch;
	*ret_is_new = !alone;
	return 0;
}

void hb_watch_put(struct hb_epoll *epoll, struct hb_watch *watch)
{
	if (watch->accept || watch->out || !hb_list_is_empty(&watch->polls))
		return;
	if (watch->recv)
		set_entry(epoll, watch->fd, watch->recv, ALONE);
	else
		epoll->watched[watch->fd] = 0;
	hb_slab_put(watch);
}

int hb_watch_recv(struct hb_epoll *epoll, struct hb_recv *recv, bool *ret_is_new)
{
	int fd = hb_recv_fd(recv), r;
	uint64_t entry = entry_of(epoll, fd);
	struct hb_watch *watch = watch_of(entry);

	*ret_is_new = false;
	if (alone_of(entry) == recv || (watch && watch->recv == recv))
		return 0;
	assert(!alone_of(entry) && !(watch && watch->recv)); /* one at a time */
	if (watch) {
		watch->recv = recv;
		recv->ends = watch->ends;
		recv->is_dry = false;
		return 0;
	}
	r = enlist(epoll, fd);
	if (r < 0)
		return r;
	set_entry(epoll, fd, recv, ALONE);
	recv->ends = false;
	*ret_is_new = true;
	return 0;
}

void hb_watch_forget(struct hb_epoll *epoll, struct hb_recv *recv)
{
	uint64_t entry = entry_of(epoll, hb_recv_fd(recv));
	struct hb_watch *watch = watch_of(entry);

	if (alone_of(entry) == recv) {
		epoll->watched[hb_recv_fd(recv)] = 0;
	} else if (watch && watch->recv == recv) {
		watch->recv = NULL;
		hb_watch_put(epoll, watch);
	}
}

void hb_watch_of_event(struct hb_epoll *epoll, uint64_t data, struct hb_watch **ret_watch,
                       struct hb_recv **ret_alone)
{
	uint64_t entry = entry_of(epoll, (int)(uint32_t)data);

	if (entry >> GENERATION_AT != data >> 32)
		entry = 0;
	*ret_watch = watch_of(entry);
	*ret_alone = alone_of(entry);
}

void hb_watch_free_all(struct hb_epoll *epoll)
{
	for (size_t fd = 0; fd < epoll->watched_len; fd++)
		hb_slab_put(watch_of(epoll->watched[fd]));
	free(hb_take(&epoll->watched));
	epoll->watched_len = 0;
}

void hb_watch_trim(struct hb_epoll *epoll)
{
	size_t used = epoll->watched_len;

	while (used > 0 && !epoll->watched[used - 1])
		used--;
	if (len_for(used) < epoll->watched_len)
		(void)set_len(epoll, len_for(used)); /* else it stays as it is */
}

/*
 * log: lines from all threads through one bounded queue to one writer thread.
 *
 * Before log_init() and after log_done() a line is written at once by its caller.
 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "log_filter.h"
#include "log_format.h"
#include "log_limit.h"

#define LINES_MAX    10000u
#define BYTES_MAX    (4u << 20)
#define ACCESS_SHARE 4 / 5 /* of both; the rest is for lines that say what is wrong */
#define BATCH        64
#define PREFIX_BYTES 40
#define MOMENT_MS    20   /* what a thread waits for room at most */
#define FAREWELL_MS  2000 /* what log_done() waits for a reader that does not read */

struct log_line {
	struct log_line *next;
	size_t len;
	char text[];
};

enum log_state { LOG_STOPPED, LOG_RUNNING, LOG_STOPPING };

/*
 * One lock for the queue and the filter; held for a few instructions, never around a write. The
 * noisiest level is read without it, so that a line nobody wants costs one load.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t came, room, ended; /* lines came; lines left; the writer is gone */
	enum log_state state;
	struct log_filter filter;
	struct log_limit limit;
	struct log_line *first, **last;
	size_t lines, bytes;
	bool stalled; /* somebody waited in vain, and the writer has not moved since */
	pthread_t writer;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .filter = { .level = LOG_INFO, .most = LOG_INFO } };

static atomic_bool json;
static atomic_int most = LOG_INFO;
static atomic_uint_fast64_t dropped;

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct timespec after_ms(unsigned ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	at.tv_sec += ms / 1000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

/* Writes all of @iov to stdout. A reader that is gone takes nothing more: the lines are lost. */
static void write_all(struct iovec *iov, int count)
{
	while (count > 0) {
		ssize_t n = writev(STDOUT_FILENO, iov, count);

		if (n < 0 && errno == EAGAIN) {
			/* Somebody made our stdout non-blocking; wait for it as if it were not. */
			(void)poll(&(struct pollfd){ .fd = STDOUT_FILENO, .events = POLLOUT }, 1,
			           -1);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			atomic_fetch_add(&dropped, (uint_fast64_t)count);
			return;
		}
		for (; count > 0 && (size_t)n >= iov->iov_len; iov++, count--)
			n -= (ssize_t)iov->iov_len;
		if (count > 0) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
}

/* Takes up to a batch off the queue. With the lock held. */
static struct log_line *take_batch(int *ret_count)
{
	struct log_line *first = sink.first, *line = first, *end = NULL;
	int count = 0;

	for (; line && count < BATCH; line = line->next, count++) {
		sink.lines--;
		sink.bytes -= line->len;
		end = line;
	}
	sink.first = line;
	if (!line)
		sink.last = &sink.first;
	if (end)
		end->next = NULL;
	*ret_count = count;
	return first;
}

static void write_batch(struct log_line *line)
{
	struct log_line *first = line;
	struct iovec iov[BATCH];
	int count = 0;

	for (; line; line = line->next)
		iov[count++] = (struct iovec){ line->text, line->len };
	write_all(iov, count);
	while (first) {
		line = first;
		first = line->next;
		free(line);
	}
}

static size_t format_event(const struct log_event *event, char out[LOG_LINE_BYTES])
{
	return atomic_load_explicit(&json, memory_order_relaxed) ? log_format_json(event, out)
	                                                         : log_format_plain(event, out);
}

/* Tells the reader, once the queue has emptied, that there is a gap. Returns what was told. */
static uint64_t write_gap(uint64_t told)
{
	uint64_t count = atomic_load(&dropped);
	struct log_field field = { "lines", LOG_NUMBER, NULL, count - told };
	struct log_event event = { now_us(), LOG_WARN, "log", "log lines were dropped",
		                   NULL,     &field,   1 };
	char text[LOG_LINE_BYTES];

	if (count != told)
		write_all(&(struct iovec){ text, format_event(&event, text) }, 1);
	return count;
}

static void *writer_main(void *arg)
{
	uint64_t told = atomic_load(&dropped);
	int count;

	(void)arg;
	pthread_setname_np(pthread_self(), "log");
	/* A line is in no hurry. Where it shares a CPU with a worker it ran at once after each of
	 * a thousand lines, and the worker's turn took half as long again. Fails nowhere; and if
	 * it did, lines would be written all the same. */
	(void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
	pthread_mutex_lock(&sink.lock);
	for (;;) {
		struct log_line *batch = take_batch(&count);

		if (!batch && sink.state == LOG_STOPPING)
			break;
		if (!batch) {
			pthread_cond_wait(&sink.came, &sink.lock);
			continue;
		}
		pthread_mutex_unlock(&sink.lock);
		write_batch(batch);
		pthread_mutex_lock(&sink.lock);
		sink.stalled = false;
		pthread_cond_broadcast(&sink.room);
		if (!sink.first) {
			pthread_mutex_unlock(&sink.lock);
			told = write_gap(told);
			pthread_mutex_lock(&sink.lock);
		}
	}
	sink.state = LOG_STOPPED;
	pthread_cond_broadcast(&sink.ended);
	pthread_mutex_unlock(&sink.lock);
	return NULL;
}

static void init_conditions(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&sink.came, &attr);
	pthread_cond_init(&sink.room, &attr);
	pthread_cond_init(&sink.ended, &attr);
	pthread_condattr_destroy(&attr);
}

/* The writer takes no signals: not those meant for the program, and no SIGPIPE from its own. */
static int start_writer(void)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&sink.writer, NULL, writer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

int log_init(const char *directives, bool as_json, char *why, size_t why_size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct log_filter filter;
	int err;

	log_filter_init(&filter);
	err = log_filter_add(&filter, directives, why, why_size);
	if (err)
		return -EINVAL;
	pthread_once(&once, init_conditions);
	pthread_mutex_lock(&sink.lock);
	if (sink.state != LOG_STOPPED) {
		pthread_mutex_unlock(&sink.lock);
		snprintf(why, why_size, "the log runs already");
		return -EINVAL;
	}
	sink.filter = filter;
	sink.last = &sink.first;
	sink.stalled = false;
	atomic_store(&json, as_json);
	atomic_store(&most, (int)filter.most);
	err = start_writer();
	if (err)
		snprintf(why, why_size, "the log's thread does not start: %s", strerror(err));
	else
		sink.state = LOG_RUNNING;
	pthread_mutex_unlock(&sink.lock);
	return -err;
}

void log_done(void)
{
	struct timespec until = after_ms(FAREWELL_MS);
	pthread_t writer;
	bool ended;
	int err = 0;

	pthread_mutex_lock(&sink.lock);
	if (sink.state != LOG_RUNNING) {
		pthread_mutex_unlock(&sink.lock);
		return;
	}
	writer = sink.writer;
	sink.state = LOG_STOPPING;
	pthread_cond_signal(&sink.came);
	while (sink.state == LOG_STOPPING && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&sink.ended, &sink.lock, &until);
	ended = sink.state == LOG_STOPPED;
	pthread_mutex_unlock(&sink.lock);
	/* A writer stuck on a stdout that nobody reads is left behind; the process is ending. */
	if (ended)
		pthread_join(writer, NULL);
	else
		pthread_detach(writer);
}

int log_set_levels(const char *directives, char *why, size_t why_size)
{
	struct log_filter filter;

	log_filter_init(&filter);
	if (log_filter_add(&filter, directives, why, why_size) < 0)
		return -EINVAL;
	pthread_mutex_lock(&sink.lock);
	sink.filter = filter;
	atomic_store(&most, (int)filter.most);
	pthread_mutex_unlock(&sink.lock);
	return 0;
}

const char *log_levels(char *out)
{
	struct log_filter filter;

	pthread_mutex_lock(&sink.lock);
	filter = sink.filter;
	pthread_mutex_unlock(&sink.lock);
	return log_filter_text(&filter, out);
}

bool log_enabled(const char *scope, enum log_level level)
{
	bool enabled;

	if ((int)level > atomic_load_explicit(&most, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&sink.lock);
	enabled = level <= log_filter_level(&sink.filter, scope);
	pthread_mutex_unlock(&sink.lock);
	return enabled;
}

uint64_t log_dropped(void)
{
	return atomic_load(&dropped);
}

static bool fits(size_t len, bool is_access)
{
	size_t lines = LINES_MAX, bytes = BYTES_MAX;

	if (is_access) {
		lines = lines * ACCESS_SHARE;
		bytes = bytes * ACCESS_SHARE;
	}
	return sink.lines < lines && sink.bytes + len <= bytes;
}

/*
 * Room for a line, perhaps after a moment. Only the first to find a stalled reader waits: were it
 * each line, a full queue would stop the data path. With the lock held.
 */
static bool await_room(size_t len, bool is_access)
{
	struct timespec until;
	int err = 0;

	if (fits(len, is_access))
		return true;
	if (is_access || sink.stalled)
		return false;
	until = after_ms(MOMENT_MS);
	while (!fits(len, false) && sink.state == LOG_RUNNING && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&sink.room, &sink.lock, &until);
	if (err == ETIMEDOUT)
		sink.stalled = true;
	return sink.state == LOG_RUNNING && fits(len, false);
}

/* Takes @line. */
static void enqueue(struct log_line *line, bool is_access)
{
	pthread_mutex_lock(&sink.lock);
	if (sink.state != LOG_RUNNING) {
		bool stopped = sink.state == LOG_STOPPED;

		pthread_mutex_unlock(&sink.lock);
		if (stopped)
			write_all(&(struct iovec){ line->text, line->len }, 1);
		else
			atomic_fetch_add(&dropped, 1);
		free(line);
		return;
	}
	if (!await_room(line->len, is_access)) {
		pthread_mutex_unlock(&sink.lock);
		atomic_fetch_add(&dropped, 1);
		free(line);
		return;
	}
	*sink.last = line;
	sink.last = &line->next;
	sink.lines++;
	sink.bytes += line->len;
	pthread_mutex_unlock(&sink.lock);
	pthread_cond_signal(&sink.came); /* without the lock, which it would wake up to wait for */
}

static void log_event(const struct log_event *event)
{
	char text[LOG_LINE_BYTES];
	struct log_line *line;
	size_t len;

	if (!log_enabled(event->scope, event->level))
		return;
	len = format_event(event, text);
	line = malloc(sizeof(*line) + len);
	if (!line) {
		atomic_fetch_add(&dropped, 1);
		return;
	}
	line->next = NULL;
	line->len = len;
	memcpy(line->text, text, len);
	enqueue(line, strcmp(event->scope, "access") == 0);
}

uint64_t log_suppressed(void)
{
	uint64_t count;

	pthread_mutex_lock(&sink.lock);
	count = sink.limit.left_out;
	pthread_mutex_unlock(&sink.lock);
	return count;
}

/*
 * Warnings only: an error must not be missed, and the others are rare or asked for. False: leave it
 * out. Else @ret_prefix, "" or a field with a blank, goes in front of the others.
 */
static bool limit_warning(const char *scope, const char *message, char *ret_prefix)
{
	struct timespec now;
	uint64_t left_out;
	bool write;

	if (!log_enabled(scope, LOG_WARN))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&sink.lock);
	write = log_limit_take(&sink.limit, message,
	                       (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
	                       &left_out);
	pthread_mutex_unlock(&sink.lock);
	if (write && left_out)
		snprintf(ret_prefix, PREFIX_BYTES, "suppressed=%llu ",
		         (unsigned long long)left_out);
	return write;
}

void log_write(enum log_level level, const char *scope, const char *message, const char *fields,
               ...)
{
	struct log_event event = { now_us(), level, scope, message, NULL, NULL, 0 };
	char text[LOG_LINE_BYTES / 2] = "";
	va_list args;
	size_t used;

	if ((int)level > atomic_load_explicit(&most, memory_order_relaxed))
		return;
	if (level == LOG_WARN && !limit_warning(scope, message, text))
		return;
	used = strlen(text);
	va_start(args, fields);
	vsnprintf(text + used, sizeof(text) - used, fields, args);
	va_end(args);
	event.text = text;
	log_event(&event);
}

void log_fields(enum log_level level, const char *scope, const char *message,
                const struct log_field *fields, size_t count)
{
	struct log_event event = { now_us(), level, scope, message, NULL, fields, count };

	log_event(&event);
}

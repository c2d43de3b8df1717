/*
 * loop_pipes: the pool.
 */
#include "loop_internal.h"

#include <fcntl.h>
#include <signal.h>

/* One for each stream that is spliced and whose reader is slow; the others share one. */
#define PIPES_MAX  64
#define FREES_KEPT 4
#define REST_MS    1000u
/* Bytes; the kernel's default is a quarter, and stays where a user's pipes are many. */
#define PIPE_SIZE (256 * 1024)

static bool sigpipe_is_harmless(void)
{
	struct sigaction action;

	return sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler != SIG_DFL;
}

static void close_pipe(struct hb_pipe *pipe)
{
	hb_close_fd(&pipe->read_fd);
	hb_close_fd(&pipe->write_fd);
	free(pipe);
}

static struct hb_pipe *open_pipe(void)
{
	struct hb_pipe *pipe = malloc(sizeof(*pipe));
	int fds[2], size;

	if (!pipe)
		return NULL;
	if (!sigpipe_is_harmless() || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(pipe);
		return NULL;
	}
	*pipe = (struct hb_pipe){ .read_fd = fds[0], .write_fd = fds[1] };
	size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (size < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	if (size <= 0) {
		close_pipe(pipe);
		return NULL;
	}
	pipe->size = (uint32_t)size;
	return pipe;
}

static void on_rest(struct hb_timer *timer)
{
	struct hb_pipes *pipes = hb_container_of(timer, struct hb_pipes, rest);
	struct hb_loop *loop = hb_container_of(pipes, struct hb_loop, pipes);

	if (!pipes->used)
		hb_pipes_close(pipes);
	pipes->used = false;
	if (pipes->free)
		hb_wheel_start(&loop->wheel, timer, REST_MS);
}

void hb_pipes_init(struct hb_pipes *pipes)
{
	hb_timer_init(&pipes->rest, on_rest);
}

struct hb_pipe *hb_pipe_get(struct hb_loop *loop)
{
	struct hb_pipes *pipes = &loop->pipes;
	struct hb_pipe *pipe = pipes->free;

	pipes->used = true;
	if (pipe) {
		pipes->free = pipe->next;
		pipes->frees--;
	} else if (pipes->out >= PIPES_MAX || !(pipe = open_pipe())) {
		return NULL;
	}
	pipes->out++;
	return pipe;
}

void hb_pipe_put(struct hb_loop *loop, struct hb_pipe *pipe, bool empty)
{
	struct hb_pipes *pipes = &loop->pipes;

	pipes->out--;
	if (!empty || pipes->frees >= FREES_KEPT) {
		close_pipe(pipe);
		return;
	}
	pipe->next = pipes->free;
	pipes->free = pipe;
	pipes->frees++;
	if (!hb_timer_is_running(&pipes->rest))
		hb_wheel_start(&loop->wheel, &pipes->rest, REST_MS);
}

void hb_pipe_count(struct hb_loop *loop, uint64_t bytes)
{
	loop->pipes.bytes += bytes;
}

void hb_pipes_close(struct hb_pipes *pipes)
{
	while (pipes->free) {
		struct hb_pipe *pipe = pipes->free;

		pipes->free = pipe->next;
		close_pipe(pipe);
	}
	pipes->frees = 0;
}

uint64_t hb_loop_spliced_bytes(const struct hb_loop *loop)
{
	return loop->pipes.bytes;
}

/*
 * loop_pipes: pipes to splice through, borrowed for as long as bytes are in them. Bounded; the
 * few that are free are kept open until none was asked for in a second or two, or the loop is
 * trimmed or goes.
 */
#pragma once

#include <hbone/loop.h>

struct hb_pipe {
	int read_fd, write_fd; /* neither blocks */
	uint32_t size;         /* bytes that it holds at most */
	struct hb_pipe *next;  /* among the free ones */
};

struct hb_pipes {
	struct hb_pipe *free;
	unsigned frees, out;
	bool used;            /* since the timer was started */
	struct hb_timer rest; /* runs while there are free ones */
	uint64_t bytes;       /* that went through them */
};

void hb_pipes_init(struct hb_pipes *pipes);
/*
 * An empty one, or NULL: the bound, no descriptors, no memory; or SIGPIPE would end the process:
 * splice(2) has no MSG_NOSIGNAL.
 */
struct hb_pipe *hb_pipe_get(struct hb_loop *loop);
/* Takes it. One that is not empty is closed. */
void hb_pipe_put(struct hb_loop *loop, struct hb_pipe *pipe, bool empty);
void hb_pipe_count(struct hb_loop *loop, uint64_t bytes);
void hb_pipes_close(struct hb_pipes *pipes); /* the free ones */

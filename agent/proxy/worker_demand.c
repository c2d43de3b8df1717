/*
 * worker_demand: what a worker is told of names that its connections wait for.
 */
#include <string.h>

#include "proxy/worker.h"

struct told_name {
	struct hb_msg msg;
	struct worker *worker;
	int err;
	char name[];
};

static void on_name(struct hb_msg *msg)
{
	struct told_name *told = hb_container_of(msg, struct told_name, msg);

	demand_answer(&told->worker->demand, told->name, told->err);
	free(told);
}

int worker_answer_name(struct worker *worker, const char *name, int err)
{
	size_t size = strlen(name) + 1;
	struct told_name *told = calloc(1, sizeof(*told) + size);

	if (!told)
		return -ENOMEM;
	told->msg.run = on_name;
	told->worker = worker;
	told->err = err;
	memcpy(told->name, name, size);
	hb_loop_post(worker->loop, &told->msg);
	return 0;
}

/*
 * worker_report: what a worker tells of itself to whoever asks: its flows, its numbers.
 */
#include "proxy/flowdump.h"

#include <stdio.h>
#include <stdlib.h>

#include "metrics.h"
#include "proxy/flow_metrics.h"
#include "proxy/worker.h"

static void add_piece(struct worker_dump *dump, const struct flow *flow, uint64_t now_ms)
{
	struct worker_piece *piece;
	size_t size;
	FILE *out;

	if (dump->count == WORKER_DUMP_MAX) {
		dump->dropped++;
		return;
	}
	piece = &dump->pieces[dump->count];
	out = open_memstream(&piece->text, &size);
	if (!out) {
		dump->dropped++;
		return;
	}
	if (dump->kind == DUMP_STATE)
		flowdump_state(out, flow);
	else
		flowdump_connection(out, flow, now_ms);
	if (fclose(out) != 0) {
		free(hb_take(&piece->text));
		dump->dropped++;
		return;
	}
	piece->order = dump->kind == DUMP_RECENT ? flow->outcome->end_ms : flow->id;
	piece->outbound = flow->direction == FLOW_OUTBOUND;
	piece->pod_index = flow_pod(flow) ? flow_pod(flow)->spec->index : 0;
	dump->count++;
}

static int by_age(const void *a, const void *b)
{
	const struct flow *const *x = a, *const *y = b;

	return (*x)->id < (*y)->id ? -1 : (*x)->id > (*y)->id;
}

/* The oldest first: where there are too many, the young ones are left out. */
static void add_live(struct worker_dump *dump, struct flows *flows, uint64_t now_ms)
{
	const struct flow **all = calloc(flows->count + 1, sizeof(*all));
	size_t count = 0;

	if (!all) {
		dump->dropped = flows->count;
		return;
	}
	hb_clutch_for_each(struct flow, flow, &flows->live) all[count++] = flow;
	qsort(all, count, sizeof(*all), by_age);
	for (size_t i = 0; i < count; i++)
		add_piece(dump, all[i], now_ms);
	free(all);
}

static void on_dump(struct hb_msg *msg)
{
	struct worker_ask *ask = hb_container_of(msg, struct worker_ask, msg);
	struct worker_dump *dump = hb_container_of(ask, struct worker_dump, ask);
	struct worker *worker = ask->worker;
	uint64_t now_ms = hb_loop_now_ms(worker->loop);
	const struct flow *flow;

	dump->pieces = calloc(WORKER_DUMP_MAX, sizeof(*dump->pieces));
	if (!dump->pieces)
		dump->dropped =
		    dump->kind == DUMP_RECENT ? worker->flows.kept : worker->flows.count;
	if (dump->pieces && dump->kind == DUMP_RECENT)
		for (size_t i = 0; (flow = flows_recent(&worker->flows, i)); i++)
			add_piece(dump, flow, now_ms);
	else if (dump->pieces)
		add_live(dump, &worker->flows, now_ms);
	worker_answer(ask);
}

void worker_dump(struct worker *worker, struct worker_dump *dump)
{
	worker_ask(worker, &dump->ask, on_dump);
}

/* Accepted ones: an app's, a plain client's, and a peer's with all its tunnels. */
static void add_sockets(const struct worker *worker, struct metrics *metrics)
{
	const char *source = "source", *destination = "destination";
	const struct flows *flows = &worker->flows;
	uint64_t peers = 0;

	hb_list_for_each (node, &worker->pods)
		peers += hb_container_of(node, struct pod, node)->inbounds_count;
	*metrics_at(metrics, METRIC_SOCKETS_OPEN, &source) += flows->counts[FLOW_OUTBOUND];
	*metrics_at(metrics, METRIC_SOCKETS_OPEN, &destination) +=
	    flows->counts[FLOW_PASSTHROUGH] + peers;
}

static void show_longest_turn(struct worker *worker)
{
	char index[12];
	const char *values[] = { index };

	snprintf(index, sizeof(index), "%u", worker->options.index);
	*metrics_at(worker->metrics, METRIC_LONGEST_TURN, values) =
	    hb_loop_longest_turn_us(worker->loop);
}

static void on_metrics(struct hb_msg *msg)
{
	struct worker_ask *ask = hb_container_of(msg, struct worker_ask, msg);
	struct worker_metrics *question = hb_container_of(ask, struct worker_metrics, ask);

	*metrics_at(ask->worker->metrics, METRIC_HANDSHAKES_PACED, NULL) =
	    ask->worker->handshakes.queued;
	*metrics_at(ask->worker->metrics, METRIC_DIALS_PACED, NULL) = ask->worker->dials.queued;
	question->copy = metrics_new();
	question->flows = flow_metrics_new();
	show_longest_turn(ask->worker);
	if (question->copy)
		metrics_merge(question->copy, ask->worker->metrics);
	if (question->copy)
		add_sockets(ask->worker, question->copy);
	if (question->flows && flow_metrics_merge(question->flows, ask->worker->flow_metrics) < 0) {
		flow_metrics_free(question->flows); /* better none than wrong ones */
		question->flows = NULL;
	}
	worker_answer(ask);
}

void worker_metrics(struct worker *worker, struct worker_metrics *question)
{
	worker_ask(worker, &question->ask, on_metrics);
}

void worker_dump_done(struct worker_dump *dump)
{
	for (size_t i = 0; i < dump->count; i++)
		free(dump->pieces[i].text);
	free(dump->pieces);
	dump->pieces = NULL;
	dump->count = 0;
}

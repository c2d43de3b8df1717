/*
 * reports: what is known here is written at once; what the workers know is asked of all of them,
 * and the answer is built when the last one has spoken.
 */
#include "reports.h"

#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "agent.h"
#include "certreport.h"
#include "log.h"
#include "log_filter.h"
#include "mesh/dump.h"
#include "podlist.h"
#include "proxy/flowdump.h"
#include "scrape.h"

#define JSON "application/json"

struct text { /* a stream into memory */
	FILE *out;
	char *bytes;
	size_t len;
};

static bool text_open(struct text *text)
{
	text->bytes = NULL;
	text->out = open_memstream(&text->bytes, &text->len);
	return text->out;
}

static void reply(struct admin_request *request, int status, const char *type, const char *body)
{
	admin_reply(request, status, type, body, strlen(body));
}

static void text_reply(struct text *text, struct admin_request *request)
{
	if (fclose(text->out) == 0)
		admin_reply(request, 200, JSON, text->bytes, text->len);
	else
		reply(request, 500, "text/plain", "no memory\n");
	free(text->bytes);
}

static void no_memory(struct admin_request *request)
{
	reply(request, 500, "text/plain", "no memory\n");
}

struct listing { /* of pods */
	FILE *out;
	const char *comma;
	const struct worker_piece **pieces; /* their flows, ordered */
	size_t count;
};

static void write_health(const struct pod_view *pod, void *arg)
{
	struct listing *list = arg;

	fprintf(list->out, "%s{\"pod\":", list->comma);
	flowdump_text(list->out, pod->pod);
	fprintf(list->out, ",\"state\":\"%s\",\"reason\":", pod->up ? "up" : "waiting");
	flowdump_text(list->out, pod->reason);
	fputc('}', list->out);
	list->comma = ",";
}

/* In the order in which a source is chosen (certfeed). */
static const char *certs_from(const struct settings *settings)
{
	if (settings->fake_ca)
		return "built-in, not for production";
	return *settings->cert_file ? settings->cert_file : settings->ca_address;
}

static void handle_health(struct admin_request *request, void *owner)
{
	const struct agent *agent = owner;
	const char *fallback;
	struct text text;

	if (!text_open(&text)) {
		no_memory(request);
		return;
	}
	fprintf(text.out,
	        "{\"status\":\"%s\",\"version\":\"%s\",\"backend\":\"%s\",\"workers\":%u,",
	        podlist_pending(agent) ? "waiting" : "ok", CULVERT_VERSION,
	        worker_backend(agent->workers[0]), agent->workers_count);
	fallback = worker_fallback_reason(agent->workers[0]);
	if (fallback) {
		fputs("\"noIoUring\":", text.out);
		flowdump_text(text.out, fallback);
		fputc(',', text.out);
	}
	fputs("\"xds\":", text.out);
	xdsfeed_write(text.out, agent);
	fputs(",\"pods\":[", text.out);
	podlist_each(agent, write_health, &(struct listing){ .out = text.out, .comma = "" });
	fputs("],\"ca\":", text.out);
	flowdump_text(text.out, certs_from(agent->settings));
	fputs("}\n", text.out);
	text_reply(&text, request);
}

/* 200 once every pod is in the mesh: the answer that a readiness probe wants. */
static void handle_ready(struct admin_request *request, void *owner)
{
	const char *pending = podlist_pending(owner);
	char body[64];

	if (!pending) {
		reply(request, 200, "text/plain", "ready\n");
		return;
	}
	snprintf(body, sizeof(body), "not ready, pending: %s\n", pending);
	reply(request, 500, "text/plain", body);
}

/*
 * Answers of workers.
 */
struct gather {
	struct agent *agent;
	struct admin_request *request;
	void (*finish)(struct gather *gather, struct text *text);
	unsigned waiting, count;
	struct worker_dump dumps[];
};

static int by_order(const void *a, const void *b)
{
	const struct worker_piece *const *x = a, *const *y = b;

	return (*x)->order < (*y)->order ? -1 : (*x)->order > (*y)->order;
}

/* All pieces in one array, ordered, or NULL: none, or no memory. */
static const struct worker_piece **sorted_pieces(const struct gather *gather, size_t *ret_count)
{
	const struct worker_piece **pieces;
	size_t count = 0;

	for (unsigned i = 0; i < gather->count; i++)
		count += gather->dumps[i].count;
	*ret_count = 0;
	pieces = count ? calloc(count, sizeof(struct worker_piece *)) : NULL;
	if (!pieces)
		return NULL;
	for (unsigned i = 0; i < gather->count; i++)
		for (size_t k = 0; k < gather->dumps[i].count; k++)
			pieces[(*ret_count)++] = &gather->dumps[i].pieces[k];
	qsort(pieces, count, sizeof(struct worker_piece *), by_order);
	return pieces;
}

static void finish_connections(struct gather *gather, struct text *text)
{
	bool newest_first = gather->dumps[0].kind == DUMP_RECENT;
	size_t count, dropped = 0;
	const struct worker_piece **pieces = sorted_pieces(gather, &count);

	for (unsigned i = 0; i < gather->count; i++)
		dropped += gather->dumps[i].dropped;
	fputs("{\"connections\":[", text->out);
	for (size_t i = 0; i < count; i++)
		fprintf(text->out, "%s%s", i ? ",\n" : "\n",
		        pieces[newest_first ? count - 1 - i : i]->text);
	fprintf(text->out, "],\"notShown\":%zu}\n", dropped);
	free(pieces);
}

static void write_flows(FILE *out, const struct worker_piece **pieces, size_t count,
                        uint32_t pod_index, bool outbound)
{
	const char *comma = "";

	fprintf(out, "\"%s\":[", outbound ? "outbound" : "inbound");
	for (size_t i = 0; i < count; i++) {
		if (pieces[i]->pod_index != pod_index || pieces[i]->outbound != outbound)
			continue;
		fprintf(out, "%s%s", comma, pieces[i]->text);
		comma = ",";
	}
	fputc(']', out);
}

static void write_state(const struct pod_view *pod, void *arg)
{
	struct listing *list = arg;
	FILE *out = list->out;

	fputs(list->comma, out);
	list->comma = ",";
	flowdump_text(out, pod->id);
	fprintf(out, ":{\"state\":\"%s\",", pod->up ? "Up" : "Pending");
	if (pod->up) {
		fputs("\"connections\":{", out);
		write_flows(out, list->pieces, list->count, pod->index, false);
		fputc(',', out);
		write_flows(out, list->pieces, list->count, pod->index, true);
		fputs("},", out);
	}
	fputs("\"info\":{\"name\":", out);
	flowdump_text(out, pod->name);
	fputs(",\"namespace\":", out);
	flowdump_text(out, pod->ns);
	fputs(",\"serviceAccount\":", out);
	flowdump_text(out, pod->service_account);
	fputs("}}", out);
}

static void write_states(struct gather *gather, FILE *out)
{
	struct listing list = { .out = out, .comma = "" };

	list.pieces = sorted_pieces(gather, &list.count);
	fputc('{', out);
	podlist_each(gather->agent, write_state, &list);
	fputc('}', out);
	free(list.pieces);
}

/* Takes @json. */
static void write_member(FILE *out, const char *key, char *json)
{
	fprintf(out, "\"%s\":%s,\n", key, json ? json : "null");
	free(json);
}

static void finish_config(struct gather *gather, struct text *text)
{
	const struct agent *agent = gather->agent;
	FILE *out = text->out;

	fputs("{", out);
	write_member(out, "workloads", mesh_dump(agent->snapshot, DUMP_WORKLOADS));
	write_member(out, "services", mesh_dump(agent->snapshot, DUMP_SERVICES));
	write_member(out, "policies", mesh_dump(agent->snapshot, DUMP_POLICIES));
	write_member(out, "stagedServices", mesh_dump(agent->snapshot, DUMP_STAGED));
	fputs("\"certificates\":", out);
	certreport_write(out, agent->certs);
	fputs(",\n\"workloadState\":", out);
	write_states(gather, out);
	fputs(",\n\"xds\":", out);
	xdsfeed_write(out, agent);
	fputs(",\n", out);
	write_member(out, "config", settings_dump(agent->settings));
	fprintf(out, "\"version\":{\"version\":\"%s\",\"program\":\"culvertd\",\"istioVersion\":",
	        CULVERT_VERSION);
	flowdump_text(out, agent->settings->istio_version);
	fputs("}}\n", out);
}

static void on_answer(struct worker_ask *ask)
{
	struct worker_dump *dump = hb_container_of(ask, struct worker_dump, ask);
	unsigned index = ask->worker->options.index;
	struct gather *gather = hb_container_of(dump - index, struct gather, dumps);
	struct text text;

	if (--gather->waiting > 0)
		return;
	if (text_open(&text)) {
		gather->finish(gather, &text);
		text_reply(&text, gather->request);
	} else {
		no_memory(gather->request);
	}
	for (unsigned i = 0; i < gather->count; i++)
		worker_dump_done(&gather->dumps[i]);
	free(gather);
}

static void gather_start(struct agent *agent, struct admin_request *request,
                         enum worker_dump_kind kind,
                         void (*finish)(struct gather *gather, struct text *text))
{
	unsigned count = agent->workers_count;
	struct gather *gather = calloc(1, sizeof(*gather) + count * sizeof(gather->dumps[0]));

	if (agent->phase == AGENT_STOP || !gather) {
		free(gather);
		reply(request, 503, "text/plain", "shutting down, or no memory\n");
		return;
	}
	gather->agent = agent;
	gather->request = request;
	gather->finish = finish;
	gather->waiting = gather->count = count;
	for (unsigned i = 0; i < count; i++) {
		gather->dumps[i].kind = kind;
		gather->dumps[i].ask.on_answer = on_answer;
		worker_dump(agent->workers[i], &gather->dumps[i]);
	}
}

static void handle_connections(struct admin_request *request, void *owner)
{
	const char *recent = admin_query(request, "recent");
	bool ended = recent && strcmp(recent, "0") != 0;

	gather_start(owner, request, ended ? DUMP_RECENT : DUMP_LIVE, finish_connections);
}

static void handle_config(struct admin_request *request, void *owner)
{
	gather_start(owner, request, DUMP_STATE, finish_config);
}

static void handle_shutdown(struct admin_request *request, void *owner)
{
	reply(request, 200, "text/plain", "shutdown now\n");
	agent_shutdown(owner);
}

static const char logging_usage[] =
    "Invalid HTTP method\n"
    "usage: POST /logging                        (the current levels)\n"
    "usage: POST /logging?level=<level>          (for all that is not named)\n"
    "usage: POST /logging?level=<target>=<level>,<target>=<level>\n"
    "usage: POST /logging?reset                  (back to those of the start)\n"
    "hint: levels are off|error|warn|info|debug|trace\n";

/* Empty parts are forgiven at start, but whoever asks for nothing here has lost something. */
static bool has_empty_part(const char *level)
{
	size_t len = strlen(level);

	return level[0] == ',' || level[len - 1] == ',' || strstr(level, ",,");
}

/* reference/operations 5.1; istioctl says level=a:debug where ztunnel wants level=a=debug. */
static void handle_logging(struct admin_request *request, void *owner)
{
	const struct agent *agent = owner;
	const char *level = admin_query(request, "level");
	char body[LOG_LEVELS_BYTES + 64], why[192] = "a part is empty";
	char now[LOG_LEVELS_BYTES], text[LOG_LEVELS_BYTES + 1024];

	snprintf(text, sizeof(text), "%s%s%s",
	         admin_query(request, "reset") ? agent->settings->log : log_levels(now),
	         level && *level ? "," : "", level ? level : "");
	if (level && *level &&
	    (strlen(level) > 1000 || has_empty_part(level) ||
	     log_set_levels(text, why, sizeof(why)) < 0)) {
		snprintf(body, sizeof(body), "Invalid level provided: %.1000s\n%s\n%s", level, why,
		         strchr(logging_usage, '\n') + 1);
		reply(request, 400, "text/plain", body);
		return;
	}
	(void)log_set_levels(text, why, sizeof(why)); /* reset: they were good at start */
	snprintf(body, sizeof(body), "current log level is %s\n", log_levels(now));
	reply(request, 200, "text/plain", body);
}

/* clang-format off */
static const struct admin_route routes[] = {
	{ "*", "/", admin_index, "this page", NULL },
	{ "GET", "/healthz", handle_health, "state of the agent and of each pod", NULL },
	{ "GET", "/healthz/ready", handle_ready, "200 when every pod is in the mesh", NULL },
	{ "GET", "/connections", handle_connections, "live connections; ?recent=1: those that ended last", NULL },
	{ "GET", "/metrics", scrape_handle, "what was counted, for Prometheus", NULL },
	{ "*", "/config_dump", handle_config, "all that is known: mesh, certificates, pods, settings", NULL },
	{ "POST", "/logging", handle_logging, "log levels: ?level=info or ?level=access=debug, ?reset", logging_usage },
	{ "POST", "/quitquitquit", handle_shutdown, "end gracefully", NULL },
};
/* What the network may see: nothing that tells or changes more than ready or not. */
static const struct admin_route ready_routes[] = {
	{ "GET", "/healthz/ready", handle_ready, "200 when every pod is in the mesh", NULL },
};
static const struct admin_route stats_routes[] = {
	{ "*", "/metrics", scrape_handle, "what was counted, for Prometheus", NULL },
	{ "*", "/stats/prometheus", scrape_handle, "the same", NULL },
};
/* clang-format on */

struct network_port {
	const char *name;
	uint32_t port; /* 0: off */
	const struct admin_route *routes;
	size_t routes_count;
};

/* A server of one report, for the network. */
static int listen_network(struct agent *agent, const struct network_port *port,
                          struct admin **admin, char *why, size_t why_size)
{
	char address[64];
	int err;

	if (!port->port)
		return 0;
	*admin = admin_new(agent->loop, port->routes, port->routes_count, agent);
	if (!*admin) {
		snprintf(why, why_size, "%s: no memory", port->name);
		return -ENOMEM;
	}
	agent->admins_open++;
	snprintf(address, sizeof(address), "%s:%u", agent->settings->ipv6 ? "[::]" : "0.0.0.0",
	         port->port);
	err = admin_listen_tcp(*admin, address);
	if (err < 0)
		snprintf(why, why_size, "%s port %s: %s", port->name, address, hb_strerror(err));
	return err;
}

static int listen_networks(struct agent *agent, char *why, size_t why_size)
{
	struct network_port ready = { "readiness", agent->settings->readiness_port, ready_routes,
		                      HB_ARRAY_LEN(ready_routes) };
	struct network_port stats = { "metrics", agent->settings->stats_port, stats_routes,
		                      HB_ARRAY_LEN(stats_routes) };
	int err = listen_network(agent, &ready, &agent->ready, why, why_size);

	return err < 0 ? err : listen_network(agent, &stats, &agent->stats, why, why_size);
}

static int listen_ports(struct agent *agent, char *why, size_t why_size)
{
	const char *hosts[] = { "127.0.0.1", agent->settings->ipv6 ? "[::1]" : NULL };
	char address[64];
	int err;

	for (size_t i = 0; agent->settings->admin_port && i < HB_ARRAY_LEN(hosts); i++) {
		if (!hosts[i])
			continue;
		snprintf(address, sizeof(address), "%s:%u", hosts[i], agent->settings->admin_port);
		err = admin_listen_tcp(agent->admin, address);
		if (err < 0 && !(i == 1 && err == -EADDRNOTAVAIL)) {
			snprintf(why, why_size, "admin port %s: %s", address, hb_strerror(err));
			return err;
		}
	}
	return listen_networks(agent, why, why_size);
}

int reports_start(struct agent *agent, char *why, size_t why_size)
{
	const char *path = agent->settings->admin_socket;
	int err;

	agent->admin = admin_new(agent->loop, routes, HB_ARRAY_LEN(routes), agent);
	if (!agent->admin) {
		snprintf(why, why_size, "admin: no memory");
		return -ENOMEM;
	}
	agent->admins_open++;
	err = admin_listen_unix(agent->admin, path);
	if (err < 0) {
		snprintf(why, why_size, "admin socket %s: %s", path, hb_strerror(err));
		return err;
	}
	return listen_ports(agent, why, why_size);
}

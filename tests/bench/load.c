/*
 * load: load generator of the benchmark: epoll, plain sockets, one thread, client or server.
 *
 * Prints one line of key=value; `load --help` tells the rest.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: load server --sink ADDR --echo ADDR --source ADDR --far FILE\n"
    "       load bulk|pull|pingpong|connect|open --to ADDR [--conns N] [--size BYTES]\n"
    "            [--rate N] [--seconds S] [--warm S] [--far FILE] [--agent PID]... [--app PID]...\n"
    "       load hold --to ADDR [--conns N]\n"
    "\n"
    "ADDR is 10.0.0.1:80 or [fd00::1]:80. FILE is shared by server and client: the bytes that\n"
    "arrived. --agent names processes whose run time is counted as the agents', --app those that\n"
    "belong to the measurement as the client does. bulk writes to the sink, pull reads from the\n"
    "source, the others talk to the echo. open sends --rate messages a second whether echoes came\n"
    "or not, and counts from the time at which each was due. hold opens N, says so with the time\n"
    "that took each, and keeps them until its standard input ends.\n";

struct arguments {
	const char *role, *to, *sink, *echo, *source, *far;
	struct load_client_options client;
};

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "load: %s: %s\n%s", what, value ? value : "missing", usage);
	return 2;
}

static bool parse_number(const char *text, double min, double max, double *ret_number)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || !(number >= min && number <= max))
		return false;
	*ret_number = number;
	return true;
}

static const struct option long_options[] = {
	{ "to", required_argument, NULL, 't' },    { "sink", required_argument, NULL, 's' },
	{ "echo", required_argument, NULL, 'e' },  { "far", required_argument, NULL, 'f' },
	{ "conns", required_argument, NULL, 'n' }, { "size", required_argument, NULL, 'b' },
	{ "warm", required_argument, NULL, 'w' },  { "seconds", required_argument, NULL, 'd' },
	{ "agent", required_argument, NULL, 'a' }, { "app", required_argument, NULL, 'p' },
	{ "rate", required_argument, NULL, 'r' },  { "source", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },        { 0 },
};

static bool take_pid(struct measure_pids *pids, const char *text)
{
	double number;

	if (pids->count == MEASURE_PIDS_MAX || !parse_number(text, 1, INT_MAX, &number))
		return false;
	pids->pid[pids->count++] = (pid_t)number;
	return true;
}

static bool take_number(struct load_client_options *client, int option, const char *text)
{
	double number;

	switch (option) {
	case 'n':
		if (!parse_number(text, 1, 1000000, &number))
			return false;
		client->conns = (unsigned int)number;
		return true;
	case 'b':
		if (!parse_number(text, sizeof(uint32_t), LOAD_MESSAGE_MAX, &number))
			return false;
		client->size = (unsigned int)number;
		return true;
	case 'w':
		return parse_number(text, 0, 600, &client->warm);
	case 'd':
		return parse_number(text, 0.01, 600, &client->seconds);
	case 'r':
		return parse_number(text, 1, 1e6, &client->rate);
	case 'a':
		return take_pid(&client->measure.agents, text);
	default: /* 'p' */
		return take_pid(&client->measure.apps, text);
	}
}

/* 0, or the exit status plus one. */
static int parse_arguments(int argc, char **argv, struct arguments *args)
{
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case 't':
			args->to = optarg;
			break;
		case 's':
			args->sink = optarg;
			break;
		case 'e':
			args->echo = optarg;
			break;
		case 'o':
			args->source = optarg;
			break;
		case 'f':
			args->far = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 1;
		case '?':
			fputs("load --help tells what there is\n", stderr);
			return 3;
		default:
			if (!take_number(&args->client, option, optarg))
				return 1 + bad("out of range, not a number, or too many", optarg);
		}
	}
	if (optind != argc - 1)
		return 1 + bad("expected one of server, bulk, pull, pingpong, connect, open, hold",
		               argv[optind]);
	args->role = argv[optind];
	return 0;
}

static int be_server(const struct arguments *args)
{
	struct load_ports ports;
	struct measure_far *far;

	if (!args->sink || net_parse(args->sink, &ports.sink))
		return bad("--sink", args->sink);
	if (!args->echo || net_parse(args->echo, &ports.echo))
		return bad("--echo", args->echo);
	if (!args->source || net_parse(args->source, &ports.source))
		return bad("--source", args->source);
	if (!args->far)
		return bad("--far", NULL);
	far = measure_far_map(args->far);
	if (!far) {
		fprintf(stderr, "load: %s: %s\n", args->far, strerror(errno));
		return 1;
	}
	return load_server(&ports, far);
}

static int be_client(struct arguments *args, enum load_mode mode)
{
	struct load_client_options *client = &args->client;

	client->mode = mode;
	if (!args->to || net_parse(args->to, &client->to))
		return bad("--to", args->to);
	if (mode == LOAD_BULK && !args->far)
		return bad("--far", NULL);
	if (args->far) {
		client->measure.far = measure_far_map(args->far);
		if (!client->measure.far) {
			fprintf(stderr, "load: %s: %s\n", args->far, strerror(errno));
			return 1;
		}
	}
	return mode == LOAD_OPEN ? load_open(client) : load_client(client);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *role;
		enum load_mode mode;
		unsigned int conns, size;
	} roles[] = {
		{ "bulk", LOAD_BULK, 1, LOAD_BULK_BYTES },
		{ "pull", LOAD_PULL, 1, LOAD_BULK_BYTES },
		{ "pingpong", LOAD_PINGPONG, 1, 1024 },
		{ "connect", LOAD_CONNECT, 32, 64 },
		{ "hold", LOAD_HOLD, 2000, 64 },
		{ "open", LOAD_OPEN, 4, 1024 },
	};
	struct arguments args = { .client = { .warm = 0.3,
		                              .seconds = 2,
		                              .rate = 1000,
		                              .measure.apps = { { getpid() }, 1 } } };
	int status = parse_arguments(argc, argv, &args);

	if (status)
		return status - 1;
	if (strcmp(args.role, "server") == 0)
		return be_server(&args);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (strcmp(args.role, roles[i].role) != 0)
			continue;
		if (!args.client.conns)
			args.client.conns = roles[i].conns;
		if (!args.client.size)
			args.client.size = roles[i].size;
		return be_client(&args, roles[i].mode);
	}
	return bad("no such role", args.role);
}

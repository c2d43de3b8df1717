/*
 * culvertctl: asks the agent of this node, through its admin socket.
 *
 * Ends with 0: asked and answered; 1: no answer, or an answer that is a failure; 2: used wrongly.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/http.h"
#include "ctl/show.h"

#define DEFAULT_SOCKET "/run/culvert/admin.sock"

enum { OK = 0, FAILED = 1, MISUSED = 2 };

struct options {
	const char *socket;
	const char *method; /* raw; NULL: GET */
	bool json, recent;
};

struct command {
	const char *name, *arguments, *help;
	int arguments_count; /* exactly; -1: none or one */
	int (*run)(const struct options *options, char **arguments);
};

static int fail(const char *why)
{
	fprintf(stderr, "culvertctl: %s\n", why);
	return FAILED;
}

/* Prints the body as it came, on lines of its own. */
static void print_body(const struct http_answer *answer)
{
	fwrite(answer->body, 1, answer->len, stdout);
	if (answer->len && answer->body[answer->len - 1] != '\n')
		putchar('\n');
}

/* Asks for JSON. NULL: it was said why. */
static json_t *ask_json(const struct options *options, const char *target,
                        struct http_answer *answer)
{
	char why[512];
	json_error_t error;
	json_t *root;

	if (http_ask(options->socket, "GET", target, answer, why, sizeof(why)) < 0) {
		fail(why);
		return NULL;
	}
	root = json_loadb(answer->body, answer->len, 0, &error);
	if (json_is_object(root))
		return root;
	if (answer->status != 200)
		snprintf(why, sizeof(why), "%s answered %d: %.*s", target, answer->status,
		         (int)strcspn(answer->body, "\r\n"), answer->body);
	else
		snprintf(why, sizeof(why), "%s answered no JSON object: %s", target,
		         root ? "it is something else" : error.text);
	json_decref(root);
	free(answer->body);
	fail(why);
	return NULL;
}

static int run_status(const struct options *options, char **arguments)
{
	struct http_answer answer;
	json_t *root = ask_json(options, "/healthz", &answer);
	bool well;

	if (!root)
		return FAILED;
	if (options->json) {
		const char *status = json_string_value(json_object_get(root, "status"));

		print_body(&answer);
		well = status && strcmp(status, "ok") == 0;
	} else {
		well = show_status(root, stdout);
	}
	json_decref(root);
	free(answer.body);
	return well ? OK : FAILED;
}

/* @key: what an answer of this kind must have. */
static int ask_and_show(const struct options *options, const char *target, const char *key,
                        void (*show)(const json_t *root, FILE *out))
{
	struct http_answer answer;
	json_t *root = ask_json(options, target, &answer);
	char why[128];
	int result = OK;

	if (!root)
		return FAILED;
	if (options->json)
		print_body(&answer);
	else if (answer.status == 200 && json_object_get(root, key))
		show(root, stdout);
	if (answer.status != 200 || !json_object_get(root, key)) {
		snprintf(why, sizeof(why), "%s answered %d, and %s \"%s\"", target, answer.status,
		         json_object_get(root, key) ? "with" : "without", key);
		result = fail(why);
	}
	json_decref(root);
	free(answer.body);
	return result;
}

static int run_connections(const struct options *options, char **arguments)
{
	if (options->recent)
		return ask_and_show(options, "/connections?recent=1", "connections", show_recent);
	return ask_and_show(options, "/connections", "connections", show_connections);
}

static int run_config_dump(const struct options *options, char **arguments)
{
	return ask_and_show(options, "/config_dump", "workloads", show_config);
}

static int run_certificates(const struct options *options, char **arguments)
{
	return ask_and_show(options, "/config_dump", "certificates", show_certificates);
}

static int run_raw(const struct options *options, char **arguments)
{
	const char *method = options->method ? options->method : "GET";
	struct http_answer answer;
	char why[512];

	if (http_ask(options->socket, method, arguments[0], &answer, why, sizeof(why)) < 0)
		return fail(why);
	print_body(&answer);
	free(answer.body);
	if (answer.status >= 200 && answer.status < 300)
		return OK;
	snprintf(why, sizeof(why), "%s answered %d", arguments[0], answer.status);
	return fail(why);
}

static int run_version(const struct options *options, char **arguments)
{
	puts("culvertctl " CULVERT_VERSION);
	return OK;
}

static int run_help(const struct options *options, char **arguments);

static const struct command commands[] = {
	{ "status", "", "state of the agent and of each of its pods; 1 unless all are well", 0,
	  run_status },
	{ "connections", "[--recent]", "live connections, or those that ended last and why", 0,
	  run_connections },
	{ "config-dump", "", "workloads, services, policies and certificates that it knows", 0,
	  run_config_dump },
	{ "certificates", "", "each pod's certificate, what it leads to, and until when", 0,
	  run_certificates },
	{ "raw", "PATH", "any path of the admin socket, as it answers; -X sets the method", 1,
	  run_raw },
	{ "version", "", "version of this program", 0, run_version },
	{ "help", "[COMMAND]", "this text", -1, run_help },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_lookup(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void print_command(const struct command *command, FILE *out)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %s", command->name, command->arguments);
	fprintf(out, "  %-24s %s\n", text, command->help);
}

static void print_usage(FILE *out)
{
	fputs("usage: culvertctl [OPTION]... COMMAND\n\n", out);
	for (size_t i = 0; i < COMMANDS; i++)
		print_command(&commands[i], out);
	fputs("\n"
	      "  -s, --socket PATH        admin socket of the agent; else CULVERT_ADMIN_SOCKET,\n"
	      "                           else " DEFAULT_SOCKET "\n"
	      "  -o, --output json|table  json: as the agent says it; table: for people (default)\n"
	      "  -r, --recent             connections: those that ended last, newest first\n"
	      "  -X, --method METHOD      raw: the method, such as POST; GET by default\n"
	      "  -h, --help, --version\n",
	      out);
}

static int misuse(const char *what, const char *which)
{
	fprintf(stderr, "culvertctl: %s%s; culvertctl help lists what there is\n", what, which);
	return MISUSED;
}

static int run_help(const struct options *options, char **arguments)
{
	const struct command *command = arguments[0] ? command_lookup(arguments[0]) : NULL;

	if (arguments[0] && !command)
		return misuse("no such command: ", arguments[0]);
	if (command) {
		printf("usage: culvertctl [OPTION]... %s %s\n\n", command->name,
		       command->arguments);
		print_command(command, stdout);
	} else {
		print_usage(stdout);
	}
	return OK;
}

/* OK, or MISUSED; *ret_instead: a command that an option asks for, or NULL. */
static int parse_options(int argc, char **argv, struct options *options, const char **ret_instead)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'o' },
		{ "recent", no_argument, NULL, 'r' },
		{ "method", required_argument, NULL, 'X' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "s:o:rX:h", longs, NULL)) != -1) {
		switch (option) {
		case 's':
			options->socket = optarg;
			break;
		case 'o':
			if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
				return misuse("-o takes json or table, not ", optarg);
			options->json = strcmp(optarg, "json") == 0;
			break;
		case 'r':
			options->recent = true;
			break;
		case 'X':
			options->method = optarg;
			break;
		case 'h':
			*ret_instead = "help";
			break;
		case 'V':
			*ret_instead = "version";
			break;
		default:
			return MISUSED; /* getopt has said what is wrong */
		}
	}
	return OK;
}

static bool is_method(const char *method)
{
	return *method && strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(method);
}

/* What was given must be what the command takes: nothing is ignored in silence. */
static int check(const struct command *command, const struct options *options, int count)
{
	if (command->arguments_count == -1 ? count > 1 : count != command->arguments_count)
		return misuse("wrong number of arguments for ", command->name);
	if (options->recent && strcmp(command->name, "connections") != 0)
		return misuse("--recent does not go with ", command->name);
	if (options->method && strcmp(command->name, "raw") != 0)
		return misuse("--method does not go with ", command->name);
	if (options->method && !is_method(options->method))
		return misuse("not a method: ", options->method);
	return OK;
}

int main(int argc, char **argv)
{
	const char *from_env = getenv("CULVERT_ADMIN_SOCKET"), *instead = NULL;
	struct options options = { .socket = from_env && *from_env ? from_env : DEFAULT_SOCKET };
	const struct command *command;
	int result = parse_options(argc, argv, &options, &instead);
	char **rest = argv + optind;

	if (result != OK)
		return result;
	if (instead)
		return command_lookup(instead)->run(&options, (char *[]){ NULL });
	if (optind == argc) {
		print_usage(stderr);
		return MISUSED;
	}
	command = command_lookup(rest[0]);
	if (!command)
		return misuse("no such command: ", rest[0]);
	result = check(command, &options, argc - optind - 1);
	if (result == OK)
		result = command->run(&options, rest + 1);
	if (fflush(stdout) != 0 || ferror(stdout))
		return fail("the output could not be written");
	return result;
}

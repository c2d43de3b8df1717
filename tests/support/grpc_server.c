/*
 * grpc_server: see the header.
 */
#include "support/grpc_server.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t server;
static int server_stdin = -1;

/* Outside of tests there is nobody to fail. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

bool grpc_server_start(const char *script, unsigned *ret_port)
{
	int in[2], out[2], status;
	char line[16] = "";
	size_t len = 0;

	must(pipe(in) == 0 && pipe(out) == 0);
	server = fork();
	if (server == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl("/usr/bin/python3", "python3", "-B", script, "chain", "key", NULL);
		_exit(77);
	}
	close(in[0]);
	close(out[1]);
	server_stdin = in[1];
	/* To the line's end: who writes it must not find a broken pipe. */
	while (!strchr(line, '\n') && len + 1 < sizeof(line) && read(out[0], line + len, 1) == 1)
		len++;
	close(out[0]);
	if (len == 0) {
		must(waitpid(server, &status, 0) == server);
		must(WIFEXITED(status) && WEXITSTATUS(status) == 77);
		return false;
	}
	*ret_port = (unsigned)strtoul(line, NULL, 10);
	return true;
}

void grpc_server_stop(void)
{
	int status;

	close(server_stdin);
	(void)kill(server, SIGKILL); /* grpcio takes its time */
	(void)waitpid(server, &status, 0);
}

/*
 * http: one request to the agent's admin socket, and its whole answer.
 */
#include "ctl/http.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SILENCE_S 30

static void say_why(int error, const char *path, char *why, size_t why_size)
{
	if (error == ENOENT)
		snprintf(why, why_size,
		         "no socket at %s: is culvertd running? (--socket or CULVERT_ADMIN_SOCKET "
		         "names another)",
		         path);
	else if (error == ECONNREFUSED)
		snprintf(why, why_size, "nobody listens on %s: culvertd ended without removing it",
		         path);
	else if (error == EACCES || error == EPERM)
		snprintf(why, why_size, "%s may not be opened: only root may ask the agent", path);
	else
		snprintf(why, why_size, "%s: %s", path, strerror(error));
}

static int connect_to(const char *path, char *why, size_t why_size)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval silence = { .tv_sec = SILENCE_S };
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		snprintf(why, why_size, "%s: too long for a socket, expected at most %zu bytes",
		         path, sizeof(sun.sun_path) - 1);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence)) == 0 &&
	    connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	say_why(errno, path, why, why_size);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* Everything until the end, with a NUL behind. NULL: errno says why. */
static char *receive_all(int fd, size_t *ret_len)
{
	size_t len = 0, size = 1 << 16;
	char *bytes = malloc(size);

	while (bytes) {
		ssize_t n = recv(fd, bytes + len, size - len - 1, 0);
		char *more;

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0) {
			bytes[len] = '\0';
			*ret_len = len;
			return bytes;
		}
		if (n < 0)
			break;
		len += (size_t)n;
		if (len + 1 < size)
			continue;
		errno = EFBIG;
		more = size < HTTP_BODY_MAX ? realloc(bytes, size * 2) : NULL;
		if (!more)
			break;
		bytes = more;
		size *= 2;
	}
	free(bytes);
	return NULL;
}

/* The value of Content-Length in the head, or -1 without one. */
static long long find_length(const char *head, const char *end)
{
	static const char name[] = "\r\nContent-Length:";

	for (const char *p = head; p < end; p++)
		if (strncasecmp(p, name, sizeof(name) - 1) == 0)
			return strtoll(p + sizeof(name) - 1, NULL, 10);
	return -1;
}

/* Takes the head off the front of @bytes. */
static int split(char *bytes, size_t len, bool has_body, struct http_answer *ret_answer)
{
	const char *end = strstr(bytes, "\r\n\r\n");
	struct http_answer answer = { 0 };
	long long length;

	if (!end || sscanf(bytes, "HTTP/1.%*1d %3d", &answer.status) != 1 || answer.status < 100)
		return -1;
	length = find_length(bytes, end);
	answer.len = len - (size_t)(end + 4 - bytes);
	/* Less than was announced: the agent ended, or gave up on us. */
	if (has_body && length >= 0 && (unsigned long long)length != answer.len)
		return -1;
	memmove(bytes, end + 4, answer.len + 1);
	answer.body = bytes;
	*ret_answer = answer;
	return 0;
}

static bool is_target(const char *target)
{
	if (*target != '/')
		return false;
	for (; *target; target++)
		if ((unsigned char)*target <= ' ' || *target == 127)
			return false;
	return true;
}

int http_ask(const char *socket_path, const char *method, const char *target,
             struct http_answer *ret_answer, char *why, size_t why_size)
{
	char request[4096], *bytes = NULL;
	size_t len;
	int fd,
	    n = snprintf(request, sizeof(request),
	                 "%s %s HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\n%s\r\n", method,
	                 target, strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");

	if (!is_target(target) || n < 0 || (size_t)n >= sizeof(request)) {
		snprintf(why, why_size,
		         "\"%.64s\" is not a path, expected one that begins with / and has no "
		         "blanks",
		         target);
		return -1;
	}
	fd = connect_to(socket_path, why, why_size);
	if (fd < 0)
		return -1;
	/* A server that refuses early may answer before it has read everything: listen anyway. */
	(void)send_all(fd, request, (size_t)n);
	bytes = receive_all(fd, &len);
	if (!bytes)
		snprintf(why, why_size, "%s: no answer: %s", socket_path,
		         errno == EAGAIN ? "culvertd is silent" : strerror(errno));
	close(fd);
	if (!bytes)
		return -1;
	if (split(bytes, len, strcmp(method, "HEAD") != 0, ret_answer) < 0) {
		snprintf(why, why_size, "%s: %s", socket_path,
		         len ? "the answer is cut off or not HTTP"
		             : "culvertd ended the connection without an answer");
		free(bytes);
		return -1;
	}
	return 0;
}

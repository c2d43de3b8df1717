/*
 * grpc_files: the token and the roots, as their files are now.
 */
#include "control/grpc_config.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BEARER "Bearer "

/* The whole file in @text, which ends with NUL. The length, or -errno. */
static ssize_t read_fd(int fd, char *text, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		ssize_t n = read(fd, text + len, size - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	return len + 1 < size ? (ssize_t)len : -EFBIG;
}

/* A regular file below @size bytes; to be freed. -errno with @ret_text NULL. */
static ssize_t read_file(const char *path, size_t size, char **ret_text)
{
	hb_cleanup(hb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	text = malloc(size);
	if (!text)
		return -ENOMEM;
	n = read_fd(fd, text, size);
	if (n < 0) {
		explicit_bzero(text, size);
		free(text);
		return n;
	}
	*ret_text = text;
	return n;
}

static bool is_visible(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

/* @text without the white space around it, as a header's value. */
static int say_bearer(const char *path, const char *text, char **ret_bearer, char *why,
                      size_t why_size)
{
	size_t len, size;
	char *bearer;

	while (isspace((unsigned char)*text))
		text++;
	for (len = strlen(text); len > 0 && isspace((unsigned char)text[len - 1]);)
		len--;
	if (len == 0 || !is_visible(text, len)) {
		snprintf(why, why_size, "the token file %.300s %s", path,
		         len ? "holds bytes that no header may have" : "is empty");
		return -EINVAL;
	}
	size = sizeof(BEARER) + len;
	bearer = malloc(size);
	if (!bearer) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	memcpy(bearer, BEARER, sizeof(BEARER) - 1);
	memcpy(bearer + sizeof(BEARER) - 1, text, len);
	bearer[size - 1] = '\0';
	*ret_bearer = bearer;
	return 0;
}

int grpc_bearer(const struct grpc_settings *settings, char **ret_bearer, char *why, size_t why_size)
{
	char *text = NULL;
	ssize_t n;
	int err;

	*ret_bearer = NULL;
	if (!settings->token)
		return 0;
	if (!settings->token_is_path)
		return say_bearer("", settings->token, ret_bearer, why, why_size);
	n = read_file(settings->token, GRPC_TOKEN_MAX, &text);
	if (n < 0) {
		snprintf(why, why_size, "the token file %.300s cannot be read: %s", settings->token,
		         strerror((int)-n));
		return (int)n;
	}
	err = say_bearer(settings->token, text, ret_bearer, why, why_size);
	explicit_bzero(text, (size_t)n);
	free(text);
	return err;
}

int grpc_roots(const struct grpc_settings *settings, struct hb_tls_ctx **ret_ctx, char *why,
               size_t why_size)
{
	bool system = strcmp(settings->roots, "SYSTEM") == 0;
	bool literal = strstr(settings->roots, "-----BEGIN") != NULL;
	hb_cleanup(hb_free_ptr) char *text = NULL;
	const char *what;
	ssize_t n;
	int err;

	if (!system && !literal) {
		n = read_file(settings->roots, GRPC_ROOTS_MAX, &text);
		if (n < 0) {
			snprintf(why, why_size, "the roots' file %.300s cannot be read: %s",
			         settings->roots, strerror((int)-n));
			return (int)n;
		}
	}
	err = hb_tls_ctx_new_client(system    ? NULL
	                            : literal ? settings->roots
	                                      : text,
	                            &settings->profile, ret_ctx, &what);
	if (err < 0)
		snprintf(why, why_size, "%.300s: %s",
		         system    ? "the machine's roots"
		         : literal ? "the roots given as text"
		                   : settings->roots,
		         what);
	return err;
}

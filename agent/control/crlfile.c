/*
 * crlfile: see the header; filewatch says when.
 */
#include "control/crlfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control/filewatch.h"
#define LOG_SCOPE "culvert"
#include "log.h"

struct crlfile {
	struct hb_loop *loop;
	void (*on_change)(void *owner, struct hb_tls_crls *crls);
	void *owner;
	struct hb_tls_crls *crls; /* what was last read; NULL: nothing yet */
	struct filewatch watch;
	struct hb_timer timer;
};

/* The whole file in memory, to be freed; 0, -errno, -EFBIG, or -ENOTSUP: it is no file. */
static int slurp(int fd, char **ret_bytes, size_t *ret_len)
{
	hb_cleanup(hb_free_ptr) char *bytes = NULL;
	size_t len = 0;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	if (st.st_size > CRLFILE_BYTES_MAX)
		return -EFBIG;
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return -ENOMEM;
	/* What is appended meanwhile is read next time. */
	while (len < (size_t)st.st_size &&
	       (n = read(fd, bytes + len, (size_t)st.st_size - len)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	*ret_len = len;
	*ret_bytes = hb_take(&bytes);
	return 0;
}

int crlfile_read(const char *path, struct hb_tls_crls **ret_crls, char *why, size_t why_size)
{
	/* Not blocking: a pipe put in its place must not stop the loop. */
	hb_cleanup(hb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	hb_cleanup(hb_free_ptr) char *bytes = NULL;
	char what[128];
	size_t len = 0;
	int err;

	err = fd < 0 ? -errno : slurp(fd, &bytes, &len);
	if (err < 0)
		snprintf(what, sizeof(what), "%s",
		         err == -ENOTSUP ? "it is not a regular file" : strerror(-err));
	else
		err = hb_tls_crls_parse(bytes, len, ret_crls, what, sizeof(what));
	if (err < 0)
		snprintf(why, why_size, "%s: %s", path, what);
	return err;
}

/* True: there are new lists. */
static bool try_it(struct crlfile *file)
{
	struct hb_tls_crls *crls;
	char why[512];
	int err = crlfile_read(file->watch.path, &crls, why, sizeof(why));

	if (err < 0) {
		if (file->crls)
			log_warn("revocation lists cannot be read, the old ones are kept", "%s",
			         why);
		else
			log_warn(
			    "revocation lists cannot be read, nobody is revoked until they can",
			    "%s", why);
		return false;
	}
	log_info("revocation lists read", "file=%s lists=%zu", file->watch.path,
	         hb_tls_crls_count(crls));
	hb_tls_crls_unref(file->crls);
	file->crls = crls;
	return true;
}

static void on_time(struct hb_timer *timer)
{
	struct crlfile *file = hb_container_of(timer, struct crlfile, timer);

	hb_loop_timer_start(file->loop, &file->timer, CRLFILE_LOOK_MS);
	if (filewatch_has_changed(&file->watch) && try_it(file))
		file->on_change(file->owner, hb_tls_crls_ref(file->crls));
}

struct crlfile *crlfile_new(struct hb_loop *loop, const char *path,
                            void (*on_change)(void *owner, struct hb_tls_crls *crls), void *owner)
{
	struct crlfile *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->loop = loop;
	file->on_change = on_change;
	file->owner = owner;
	filewatch_init(&file->watch, path);
	(void)try_it(file); /* a change from here on is seen */
	hb_timer_init(&file->timer, on_time);
	hb_loop_timer_start(loop, &file->timer, CRLFILE_LOOK_MS);
	return file;
}

void crlfile_free(struct crlfile *file)
{
	if (!file)
		return;
	hb_loop_timer_stop(file->loop, &file->timer);
	hb_tls_crls_unref(file->crls);
	free(file);
}

struct hb_tls_crls *crlfile_current(const struct crlfile *file)
{
	return file->crls;
}

/*
 * tls_load: a context from files.
 */
#include <hbone/tls.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (1u << 20)

struct text {
	char *bytes; /* ended with NUL */
	size_t size;
};

/* A key may have been in it. */
static void text_done(struct text *text)
{
	if (text->bytes)
		explicit_bzero(text->bytes, text->size);
	free(text->bytes);
}

static int read_whole(int fd, struct text *text)
{
	size_t len = 0;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	if (st.st_size > FILE_MAX)
		return -EFBIG;
	text->size = (size_t)st.st_size + 1;
	text->bytes = calloc(1, text->size);
	if (!text->bytes)
		return -ENOMEM;
	while (len + 1 < text->size && (n = read(fd, text->bytes + len, text->size - 1 - len))) {
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int load(const char *path, struct text *text, char *why, size_t why_size)
{
	hb_cleanup(hb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err = fd < 0 ? -errno : read_whole(fd, text);

	if (err < 0)
		snprintf(why, why_size, "%s: %s", path, strerror(-err));
	return err;
}

int hb_tls_ctx_load(const char *chain, const char *key, const char *roots,
                    struct hb_tls_ctx **ret_ctx, char *why, size_t why_size)
{
	hb_cleanup(text_done) struct text chain_text = { 0 };
	hb_cleanup(text_done) struct text key_text = { 0 }, roots_text = { 0 };
	struct hb_tls_material material;
	const char *what;
	int err = load(chain, &chain_text, why, why_size);

	if (err == 0)
		err = load(key, &key_text, why, why_size);
	if (err == 0)
		err = load(roots, &roots_text, why, why_size);
	if (err < 0)
		return err;
	material = (struct hb_tls_material){
		.chain = chain_text.bytes,
		.key = key_text.bytes,
		.roots = roots_text.bytes,
	};
	err = hb_tls_ctx_new(&material, ret_ctx, &what);
	if (err < 0)
		snprintf(why, why_size, "%s: %s", chain, what);
	return err;
}

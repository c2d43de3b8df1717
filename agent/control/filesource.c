/*
 * filesource: see the header; filewatch says when.
 */
#include "control/filesource.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control/filewatch.h"
#include "control/issued.h"

#define FILE_MAX (1 << 20)

enum { CHAIN, KEY, ROOTS, FILES };

struct filesource {
	struct cert_source source;
	struct hb_loop *loop;
	struct filewatch watches[FILES];
	struct hb_timer look;
	struct hb_list asked;
	struct hb_timer work; /* runs while something is asked */
};

static void wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(hb_take(text));
}

/* The whole file as a string, of which what follows a NUL does not count. */
static int read_text(const char *path, char **ret_text, char *why, size_t why_size)
{
	/* Not blocking: a pipe put in its place must not stop the loop. */
	hb_cleanup(hb_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	hb_cleanup(wipe) char *text = NULL;
	size_t len = 0;
	struct stat st;
	ssize_t n = 0;
	int err = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EISDIR;
	else if (st.st_size > FILE_MAX)
		err = -EFBIG;
	else if (!(text = calloc(1, (size_t)st.st_size + 1)))
		err = -ENOMEM;
	while (err == 0 && len < (size_t)st.st_size &&
	       (n = read(fd, text + len, (size_t)st.st_size - len)) > 0)
		len += (size_t)n;
	if (err == 0 && n < 0)
		err = -errno;
	if (err < 0) {
		snprintf(why, why_size, "%s: %s", path,
		         err == -EISDIR ? "it is not a regular file" : strerror(-err));
		return err;
	}
	*ret_text = hb_take(&text);
	return 0;
}

static int load(const struct filesource *files, const char *identity, struct issued **ret_issued,
                char *why, size_t why_size)
{
	hb_cleanup(wipe) char *chain = NULL;
	hb_cleanup(wipe) char *key = NULL;
	hb_cleanup(wipe) char *roots = NULL;
	char named[2048], what[256];
	int err;

	if ((err = read_text(files->watches[CHAIN].path, &chain, why, why_size)) < 0 ||
	    (err = read_text(files->watches[KEY].path, &key, why, why_size)) < 0 ||
	    (err = read_text(files->watches[ROOTS].path, &roots, why, why_size)) < 0)
		return err;

	const char *elements[] = { chain, roots };
	struct issued_material material = {
		.elements = elements,
		.count = HB_ARRAY_LEN(elements),
		.key_pem = key,
	};

	issued_identity(chain, named, sizeof(named));
	if (*named && strcmp(named, identity) != 0) {
		snprintf(why, why_size, "%s: it is a certificate for %.200s, not for %s",
		         files->watches[CHAIN].path, named, identity);
		return -EACCES;
	}
	material.identity = identity;
	err = issued_read(&material, ret_issued, what, sizeof(what));
	if (err < 0)
		snprintf(why, why_size, "%s: %s", files->watches[CHAIN].path, what);
	return err;
}

static void on_work(struct hb_timer *timer)
{
	struct filesource *files = hb_container_of(timer, struct filesource, work);
	struct hb_list now, *node;

	hb_list_init(&now);
	hb_list_move(&now, &files->asked);
	while ((node = hb_list_shift(&now))) {
		struct cert_request *request = hb_container_of(node, struct cert_request, node);
		struct issued *issued;
		char why[512];

		if (load(files, request->identity, &issued, why, sizeof(why)) < 0)
			request->on_failed(request, why);
		else
			request->on_issued(request, issued);
	}
}

static void on_look(struct hb_timer *timer)
{
	struct filesource *files = hb_container_of(timer, struct filesource, look);
	bool changed = false;

	hb_loop_timer_start(files->loop, timer, FILESOURCE_LOOK_MS);
	for (int i = 0; i < FILES; i++)
		if (filewatch_has_changed(&files->watches[i]))
			changed = true;
	if (changed && files->source.on_change)
		files->source.on_change(files->source.owner);
}

static int start(struct cert_source *source, struct cert_request *request, char *why,
                 size_t why_size)
{
	struct filesource *files = hb_container_of(source, struct filesource, source);

	hb_list_init(&request->node);
	hb_list_add(&files->asked, &request->node);
	if (!hb_timer_is_running(&files->work))
		hb_loop_timer_start(files->loop, &files->work, 0);
	return 0;
}

static void cancel(struct cert_source *source, struct cert_request *request)
{
	hb_list_remove(&request->node);
}

static void free_source(struct cert_source *source)
{
	struct filesource *files = hb_container_of(source, struct filesource, source);

	hb_loop_timer_stop(files->loop, &files->look);
	hb_loop_timer_stop(files->loop, &files->work);
	free(files);
}

struct cert_source *filesource_new(struct hb_loop *loop, const struct filesource_options *options)
{
	static const struct cert_source_ops ops = { start, cancel, free_source };
	struct filesource *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	files->source.ops = &ops;
	files->loop = loop;
	filewatch_init(&files->watches[CHAIN], options->chain);
	filewatch_init(&files->watches[KEY], options->key);
	filewatch_init(&files->watches[ROOTS], options->roots);
	hb_list_init(&files->asked);
	hb_timer_init(&files->work, on_work);
	hb_timer_init(&files->look, on_look);
	hb_loop_timer_start(loop, &files->look, FILESOURCE_LOOK_MS);
	return &files->source;
}

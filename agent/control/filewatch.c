/*
 * filewatch: attributes compared.
 */
#include "control/filewatch.h"

#include <sys/stat.h>

static struct file_mark mark_now(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return (struct file_mark){ 0 };
	return (struct file_mark){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = st.st_size,
		.changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
		.modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
	};
}

static bool is_same(const struct file_mark *a, const struct file_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed_ns == b->changed_ns && a->modified_ns == b->modified_ns;
}

void filewatch_init(struct filewatch *watch, const char *path)
{
	watch->path = path;
	watch->read = watch->seen = mark_now(path);
}

bool filewatch_has_changed(struct filewatch *watch)
{
	struct file_mark now = mark_now(watch->path);
	bool is_at_rest = is_same(&now, &watch->seen);

	watch->seen = now;
	if (is_same(&now, &watch->read) || !is_at_rest)
		return false;
	watch->read = now;
	return true;
}

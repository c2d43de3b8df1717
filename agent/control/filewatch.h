/*
 * filewatch: has a file changed since it was last read, and come to rest? Asked from time to time;
 * knows no time itself. By its attributes, so it sees what is written in place, what is renamed
 * over it, and links that point elsewhere now (as in a mounted ConfigMap).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct file_mark { /* all 0: there is no file */
	dev_t dev;
	ino_t ino;
	off_t size;
	int64_t changed_ns, modified_ns;
};

struct filewatch {
	const char *path; /* borrowed */
	struct file_mark read, seen;
};

/* The file is about to be read as it is now. */
void filewatch_init(struct filewatch *watch, const char *path);
/*
 * True once for each change, when the file looks as it did when last asked: who writes in place is
 * given the time between two questions to go on. It is about to be read then.
 */
bool filewatch_has_changed(struct filewatch *watch);

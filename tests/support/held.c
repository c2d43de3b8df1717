/*
 * held: counts descriptors and bytes.
 */
#include "support/held.h"

#include <dirent.h>
#include <malloc.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
/* gcc 12 ships the function, but not its header. */
size_t __sanitizer_get_current_allocated_bytes(void);

static size_t heap(void)
{
	return __sanitizer_get_current_allocated_bytes();
}
#else
static size_t heap(void)
{
	return mallinfo2().uordblks;
}
#endif

unsigned held_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!dir)
		abort();
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

size_t held_bytes(struct hb_loop *loop)
{
	hb_buf_pool_trim(hb_loop_pool(loop), 0);
	return heap();
}

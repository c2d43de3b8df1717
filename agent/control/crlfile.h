/*
 * crlfile: the revocation lists of one file, read again whenever it has changed
 * (reference/datapath 1.5).
 *
 * The file is looked at twice a second, through symbolic links, so that the swapped links of a
 * projected volume are followed; it is read when it has stayed as it is from one look to the next.
 * A file that is not there or cannot be used is said once in the log; what was read before stays.
 * Thread: the control loop's. Lists handed out are counted and may go to any thread.
 */
#pragma once

#include <hbone/loop.h>
#include <hbone/tls.h>

#define CRLFILE_LOOK_MS   500u
#define CRLFILE_BYTES_MAX (16u << 20)

struct crlfile;

/*
 * @path is borrowed. Reads it once, and says in the log what came of it: not there, or not to be
 * used, is no failure. @on_change: new lists were read; one reference is given away. NULL: no
 * memory.
 */
struct crlfile *crlfile_new(struct hb_loop *loop, const char *path,
                            void (*on_change)(void *owner, struct hb_tls_crls *crls), void *owner);
void crlfile_free(struct crlfile *file); /* takes NULL */
/* What was last read, borrowed; NULL: nothing yet. */
struct hb_tls_crls *crlfile_current(const struct crlfile *file);
/* Reads @path once. 0, or -errno with "<path>: <what is wrong>" in @why. */
int crlfile_read(const char *path, struct hb_tls_crls **ret_crls, char *why, size_t why_size);

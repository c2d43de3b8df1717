/*
 * lean: what only the start needed goes back to the system.
 *
 * Starting runs through much code that is never run again: the linker's tables, OpenSSL's and
 * libbpf's birth. Its pages stay mapped, most of what an idle agent is charged as resident. They
 * are the files', unchanged, and come back one by one when they are wanted, without reading a disk
 * while the page cache has them.
 */
#pragma once

#include <stddef.h>

/*
 * Unmaps the pages of all code and constants of this process, and returns the bytes that were
 * asked about. What was written to (data, and what the linker has written) is left alone, as is a
 * whole object that says that its code is written to (DT_TEXTREL). Any thread; others go on. Bytes
 * of breakpoints that a debugger has set would be lost.
 */
size_t lean_drop_code(void);

/* That, and the free pages of malloc. */
void lean_down(void);

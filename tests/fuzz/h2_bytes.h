/*
 * h2_bytes: a connection of HTTP/2 of ours at one end of a pair in memory, and any bytes at the
 * other. Whatever they are, the contract of streams holds, everything ends, and nothing stays.
 */
#pragma once

#include <hbone/h2.h>

/* The first bytes are choices: how the rest is cut into pieces, what the owners of streams do, and
 * how it all ends. */
void h2_bytes_run(enum hb_h2_role role, const uint8_t *bytes, size_t len);

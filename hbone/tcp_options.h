/*
 * tcp_options: sets up a socket. Private to tcp.
 */
#pragma once

#include <hbone/tcp.h>

/* What the socket's kind or the kernel does not know is left as it is. */
void hb_tcp_set_options(int fd, const struct hb_tcp_options *options);

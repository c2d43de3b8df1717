/*
 * sockets: two ends of one connection. For tests that use check.
 */
#pragma once

/* @family AF_UNIX or AF_INET. TCP's buffers are of a fixed size, so that blocked stays blocked. */
void sockets_connected(int family, int ret_fds[2]);

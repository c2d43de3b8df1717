/*
 * admin_socket: the listening sockets of the admin server. Non-blocking, close-on-exec.
 */
#pragma once

/*
 * Mode 0600 from the first moment on. A socket file that nobody listens on is replaced.
 * Descriptor; or -EADDRINUSE (somebody listens), -EEXIST (the path is no socket), -ENAMETOOLONG,
 * -errno.
 */
int admin_socket_unix(const char *path);
/* Removes @path if it is still the file that @fd is bound to. */
void admin_socket_remove(int fd, const char *path);
/* "127.0.0.1:15000", "[::]:15021" (which takes IPv4 too). Descriptor or -errno. */
int admin_socket_tcp(const char *address);

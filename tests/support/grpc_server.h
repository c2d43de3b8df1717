/*
 * grpc_server: grpc_server.py as a process, one at a time. Aborts when it cannot.
 */
#pragma once

#include <stdbool.h>

/* With the files "chain" and "key" of the working directory. False: there is no grpcio here. */
bool grpc_server_start(const char *script, unsigned *ret_port);
void grpc_server_stop(void);

/*
 * porthold: who holds a TCP port in a namespace: for the message when a port of ours is taken.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * One phrase such as "nginx (pid 4711), listening on 0.0.0.0:15008", "an ephemeral connection of
 * curl (pid 12) to 10.0.0.1:80", "a TIME_WAIT socket", into @out. 0; -ENOENT when nobody is found.
 */
int porthold_describe(int netns_fd, uint16_t port, char *out, size_t size);

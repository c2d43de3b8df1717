/*
 * passthrough: plaintext that comes to a pod: judged without an identity, then carried to the app
 * as it came (reference/datapath 3.6).
 */
#pragma once

struct pod;

/* Takes @fd, accepted on 15006. */
void passthrough_accept(struct pod *pod, int fd);

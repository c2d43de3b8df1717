/*
 * podsocks: apps that ask by SOCKS5 where they want to go, on 127.0.0.1:15080 of their pod, if that
 * is switched on (reference/datapath 1.17). Once they have said it they are outbound's.
 *
 * A name is one of a service of the mesh; its first address of IPv4, else of IPv6, is taken. As
 * with ztunnel success is answered before anything is dialled. Thread: the worker's own.
 */
#pragma once

struct pod;

#define PODSOCKS_MS  5000u /* for the whole request */
#define PODSOCKS_MAX 1024u /* half-made ones, for each pod on each worker; more are refused */

/* Takes @fd, accepted on 15080. */
void podsocks_accept(struct pod *pod, int fd);
/* Ends those that have not said all yet. */
void podsocks_abort(struct pod *pod);

/*
 * certreport: the certificates of /config_dump (reference/operations 6.4).
 */
#pragma once

#include <stdio.h>

struct certmanager;

/* The JSON list that stands after the key. */
void certreport_write(FILE *out, const struct certmanager *certs);

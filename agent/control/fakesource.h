/*
 * fakesource: the built-in CA (fakeca.h) as a source of certificates.
 * Thread: the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "control/certsource.h"

struct fakesource_options {
	const char *ca_cert; /* PEM files of the CA; "" both: state_dir/fake-ca-*.pem, made on */
	const char *ca_key;  /* first use, shared by all agents of the machine */
	const char *state_dir;
	uint32_t ttl_s; /* certificate lifetime; 0: 86400 */
};

/* 0 or -errno with one sentence in @why that names the file. */
int fakesource_new(struct hb_loop *loop, const struct fakesource_options *options,
                   struct cert_source **ret_source, char *why, size_t why_size);

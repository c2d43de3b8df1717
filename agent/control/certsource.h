/*
 * certsource: whoever can give a certificate for an identity: the mesh's CA (ca.h), the built-in
 * one (fakesource.h), files (filesource.h). It answers one request at a time as it is asked, and
 * knows nothing of when, of retries or of priorities.
 * Thread: the control loop's.
 */
#pragma once

#include <hbone/list.h>

struct issued;
struct cert_source;

/* Embedded by who asks, and kept in place until one of the two has come, or it is cancelled. */
struct cert_request {
	const char *identity; /* the asker's */
	/* One of the two, once, and never from inside start(). @issued is yours. */
	void (*on_issued)(struct cert_request *request, struct issued *issued);
	/* @why: a sentence without anything secret. */
	void (*on_failed)(struct cert_request *request, const char *why);
	struct hb_list node; /* the source's, as what follows */
	void *work;
};

struct cert_source_ops {
	/* 0: one of the two above follows, later. Or -errno with a sentence in @why, and none
	 * comes. */
	int (*start)(struct cert_source *source, struct cert_request *request, char *why,
	             size_t why_size);
	/* Neither of the two comes any more. Only between start() and its answer. */
	void (*cancel)(struct cert_source *source, struct cert_request *request);
	void (*free)(struct cert_source *source); /* no request is under way */
};

struct cert_source { /* embedded by each kind, first */
	const struct cert_source_ops *ops;
	/* It gives something else now than it did before. Set by whoever asks; may be NULL. */
	void (*on_change)(void *owner);
	void *owner;
};

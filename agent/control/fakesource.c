/*
 * fakesource: what is asked is signed in the next turn of the loop.
 */
#include "control/fakesource.h"

#include <stdio.h>
#include <time.h>

#include "control/fakeca.h"
#include "control/issued.h"

#define TTL_S 86400u

struct fakesource {
	struct cert_source source;
	struct hb_loop *loop;
	struct fakeca *ca;
	uint32_t ttl_s;
	struct hb_list asked;
	struct hb_timer work; /* runs while something is asked */
};

static int sign(const struct fakesource *fake, const char *identity, struct issued **ret_issued,
                char *why, size_t why_size)
{
	struct fakeca_leaf leaf;
	int err = fakeca_sign(fake->ca, identity, fake->ttl_s, time(NULL), &leaf, why, why_size);

	if (err < 0)
		return err;

	const char *elements[] = { leaf.chain_pem, fakeca_roots_pem(fake->ca) };
	struct issued_material material = {
		.elements = elements,
		.count = HB_ARRAY_LEN(elements),
		.key_pem = leaf.key_pem,
		.identity = identity,
	};

	err = issued_read(&material, ret_issued, why, why_size);
	fakeca_leaf_done(&leaf);
	return err;
}

static void on_work(struct hb_timer *timer)
{
	struct fakesource *fake = hb_container_of(timer, struct fakesource, work);
	struct hb_list now, *node;

	hb_list_init(&now);
	hb_list_move(&now, &fake->asked);
	while ((node = hb_list_shift(&now))) {
		struct cert_request *request = hb_container_of(node, struct cert_request, node);
		struct issued *issued;
		char why[256];

		if (sign(fake, request->identity, &issued, why, sizeof(why)) < 0)
			request->on_failed(request, why);
		else
			request->on_issued(request, issued);
	}
}

static int start(struct cert_source *source, struct cert_request *request, char *why,
                 size_t why_size)
{
	struct fakesource *fake = hb_container_of(source, struct fakesource, source);

	hb_list_init(&request->node);
	hb_list_add(&fake->asked, &request->node);
	if (!hb_timer_is_running(&fake->work))
		hb_loop_timer_start(fake->loop, &fake->work, 0);
	return 0;
}

static void cancel(struct cert_source *source, struct cert_request *request)
{
	hb_list_remove(&request->node);
}

static void free_source(struct cert_source *source)
{
	struct fakesource *fake = hb_container_of(source, struct fakesource, source);

	hb_loop_timer_stop(fake->loop, &fake->work);
	fakeca_close(fake->ca);
	free(fake);
}

int fakesource_new(struct hb_loop *loop, const struct fakesource_options *options,
                   struct cert_source **ret_source, char *why, size_t why_size)
{
	static const struct cert_source_ops ops = { start, cancel, free_source };
	struct fakesource *fake = calloc(1, sizeof(*fake));
	int err;

	if (!fake) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	err = fakeca_open(options->ca_cert, options->ca_key, options->state_dir, time(NULL),
	                  &fake->ca, why, why_size);
	if (err < 0) {
		free(fake);
		return err;
	}
	fake->source.ops = &ops;
	fake->loop = loop;
	fake->ttl_s = options->ttl_s ? options->ttl_s : TTL_S;
	hb_list_init(&fake->asked);
	hb_timer_init(&fake->work, on_work);
	*ret_source = &fake->source;
	return 0;
}

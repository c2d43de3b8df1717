/*
 * ca: request, call, answer; one struct for each that is under way.
 */
#include "control/ca.h"

#include <stdio.h>
#include <string.h>

#include "control/ca_codec.h"
#include "control/csr.h"
#include "control/issued.h"

#define WHY_MAX 512

struct ca {
	struct cert_source source;
	struct ca_options options;
};

struct signing { /* until on_end, or cancel */
	struct ca *ca;
	struct cert_request *request;
	struct grpc_call *call;
	struct csr csr;
	uint8_t *answer; /* NULL: nothing came yet */
	size_t answer_size;
	bool answered_twice;
};

static void signing_free(struct signing *signing)
{
	csr_done(&signing->csr);
	free(signing->answer);
	free(signing);
}

static void on_message(void *ctx, uint8_t *bytes, size_t size)
{
	struct signing *signing = ctx;

	if (signing->answer) {
		signing->answered_twice = true;
		free(bytes);
		return;
	}
	signing->answer = bytes;
	signing->answer_size = size;
}

/* In ztunnel's words; a code that has no name is a number. */
static int explain_status(const struct grpc_status *status, char *why, size_t why_size)
{
	const char *code = grpc_code_name(status->code);
	char number[32];

	snprintf(number, sizeof(number), "code %d", status->code);
	snprintf(why, why_size, "signing gRPC error (%s): %s", code ? code : number,
	         *status->message ? status->message : grpc_kind_name(status->kind));
	return -EACCES;
}

static int read_answer(const struct signing *signing, const struct grpc_status *status,
                       struct issued **ret_issued, char *why, size_t why_size)
{
	struct ca_response response = { 0 };
	struct issued_material material = {
		.key_pem = signing->csr.key_pem,
		.identity = signing->ca->options.impersonate ? signing->request->identity : NULL,
	};
	int err;

	if (status->code != GRPC_OK)
		return explain_status(status, why, why_size);
	if (!signing->answer || signing->answered_twice) {
		snprintf(why, why_size, "the CA sent %s",
		         signing->answer ? "more than one answer" : "no answer");
		return -EBADMSG;
	}
	err = ca_decode_response(signing->answer, signing->answer_size, &response);
	if (err < 0) {
		snprintf(why, why_size,
		         err == -E2BIG ? "the CA's answer has more than %u elements"
		                       : "the CA's answer cannot be decoded",
		         CA_ELEMENTS_MAX);
		return err;
	}
	material.elements = response.elements;
	material.count = response.count;
	err = issued_read(&material, ret_issued, why, why_size);
	ca_response_done(&response);
	return err;
}

static void on_end(void *ctx, const struct grpc_status *status)
{
	struct signing *signing = ctx;
	struct cert_request *request = signing->request;
	struct issued *issued;
	char why[WHY_MAX];
	int err = read_answer(signing, status, &issued, why, sizeof(why));

	signing_free(signing);
	request->work = NULL;
	if (err < 0)
		request->on_failed(request, why);
	else
		request->on_issued(request, issued);
}

/* The call with its one message. 0 or -ENOMEM. */
static int ask(struct signing *signing)
{
	static const struct grpc_events events = { .on_message = on_message, .on_end = on_end };
	const struct ca_options *options = &signing->ca->options;
	struct grpc_call_options call = {
		.deadline_ms = options->deadline_ms ? options->deadline_ms : CA_DEADLINE_MS,
		.max_message = CA_RESPONSE_MAX,
	};
	uint8_t *bytes;
	size_t size;
	bool sent;
	int err = ca_encode_request(signing->csr.pem, options->ttl_s,
	                            options->impersonate ? signing->request->identity : NULL,
	                            &bytes, &size);

	if (err < 0)
		return err;
	signing->call =
	    grpc_call_new(options->channel, CA_CREATE_CERTIFICATE, &call, &events, signing);
	sent = signing->call && grpc_call_send(signing->call, bytes, size);
	free(bytes);
	if (sent) {
		grpc_call_finish(signing->call);
		return 0;
	}
	if (signing->call)
		grpc_call_cancel(signing->call);
	return -ENOMEM;
}

static int start(struct cert_source *source, struct cert_request *request, char *why,
                 size_t why_size)
{
	struct signing *signing = calloc(1, sizeof(*signing));
	int err;

	if (!signing) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	signing->ca = hb_container_of(source, struct ca, source);
	signing->request = request;
	err = csr_make(request->identity, &signing->csr, why, why_size);
	if (err == 0) {
		err = ask(signing);
		if (err < 0)
			snprintf(why, why_size, "no memory for asking the CA");
	}
	if (err < 0)
		signing_free(signing);
	else
		request->work = signing;
	return err;
}

static void cancel(struct cert_source *source, struct cert_request *request)
{
	struct signing *signing = hb_take(&request->work);

	grpc_call_cancel(signing->call);
	signing_free(signing);
}

static void free_source(struct cert_source *source)
{
	free(hb_container_of(source, struct ca, source));
}

struct cert_source *ca_source_new(const struct ca_options *options)
{
	static const struct cert_source_ops ops = { start, cancel, free_source };
	struct ca *ca = calloc(1, sizeof(*ca));

	if (!ca)
		return NULL;
	ca->source.ops = &ops;
	ca->options = *options;
	return &ca->source;
}

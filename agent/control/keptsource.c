/*
 * keptsource: what is found is read at once, and its keys lie in memory until they are asked for. A
 * request that the other source answers is that one's own: it stands in for the asker's.
 */
#include "control/keptsource.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/issued.h"
#include "control/laststate.h"
#define LOG_SCOPE "identity"
#include "log.h"

#define TYPE    "certificate"
#define ODD_MAX 64u /* records that cannot be used and are removed at once; the rest later */

struct found {
	struct hb_list node; /* of kept->found, or kept->asked */
	struct issued *issued;
	struct cert_request *request; /* whose turn comes; NULL: not asked for */
	char identity[];
};

struct passed { /* on to the other source */
	struct cert_request request, *asker;
	struct kept *kept;
};

struct kept {
	struct cert_source source;
	struct hb_loop *loop;
	struct keptsource_options options;
	struct hb_list found, asked;
	struct hb_timer work, unasked;
	struct keptsource_counts counts;
};

static struct kept *kept_of(const struct cert_source *source)
{
	return hb_container_of((struct cert_source *)(uintptr_t)source, struct kept, source);
}

static void found_free(struct found *found)
{
	hb_list_remove(&found->node);
	issued_free(found->issued);
	free(found);
}

static void changed(struct kept *kept)
{
	if (kept->options.on_change)
		kept->options.on_change(kept->options.owner);
}

static void keep(struct kept *kept, const char *identity, const struct issued *issued)
{
	struct laststate_certificate certificate = { issued->chain_pem, issued->roots_pem,
		                                     issued->key_pem };
	size_t size = laststate_certificate_bytes(&certificate);
	struct laststate_record record = {
		.type = TYPE,
		.name = identity,
		.version = issued->certs[0].serial,
		.size = (uint32_t)size,
	};
	uint8_t *value = size <= LASTSTATE_VALUE_MAX ? malloc(size) : NULL;
	int err = size <= LASTSTATE_VALUE_MAX ? -ENOMEM : -EFBIG;

	if (value) {
		laststate_certificate_encode(&certificate, value);
		record.value = value;
		err = laststate_put(kept->options.known, &record);
		explicit_bzero(value, size);
		free(value);
	}
	if (err < 0)
		log_warn("a certificate is not kept for the next start", "identity=%s: %s",
		         identity, strerror(-err));
	else
		changed(kept);
}

/*
 * The other source's answers.
 */
static struct passed *take_back(struct cert_request *request, struct cert_request **ret_asker)
{
	struct passed *passed = hb_container_of(request, struct passed, request);

	*ret_asker = passed->asker;
	passed->asker->work = NULL;
	return passed;
}

static void on_issued(struct cert_request *request, struct issued *issued)
{
	struct cert_request *asker;
	struct passed *passed = take_back(request, &asker);

	keep(passed->kept, asker->identity, issued);
	free(passed);
	asker->on_issued(asker, issued);
}

static void on_failed(struct cert_request *request, const char *why)
{
	struct cert_request *asker;

	free(take_back(request, &asker));
	asker->on_failed(asker, why);
}

static int pass_on(struct kept *kept, struct cert_request *asker, char *why, size_t why_size)
{
	struct passed *passed = calloc(1, sizeof(*passed));
	int err;

	if (!passed) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	*passed = (struct passed){
		.request = { .identity = asker->identity,
		             .on_issued = on_issued,
		             .on_failed = on_failed },
		.asker = asker,
		.kept = kept,
	};
	err =
	    kept->options.source->ops->start(kept->options.source, &passed->request, why, why_size);
	if (err < 0)
		free(passed);
	else
		asker->work = passed;
	return err;
}

/*
 * What was found.
 */
static struct found *lookup(const struct hb_list *list, const char *identity)
{
	hb_list_for_each (node, list) {
		struct found *found = hb_container_of(node, struct found, node);

		if (strcmp(found->identity, identity) == 0)
			return found;
	}
	return NULL;
}

static bool is_valid(const struct issued *issued)
{
	time_t now = time(NULL);

	return issued->certs[0].not_before_s <= now && now < issued->certs[0].not_after_s;
}

/* 0; -EINVAL: of no use; -ENOMEM. */
static int take_record(struct kept *kept, const struct laststate_record *record)
{
	struct laststate_certificate certificate;
	struct found *found;
	char why[256] = "it is no certificate";
	int err = strcmp(record->type, TYPE) == 0
	              ? laststate_certificate_decode(record->value, record->size, &certificate)
	              : -EINVAL;

	if (err < 0)
		return -EINVAL;
	found = calloc(1, sizeof(*found) + strlen(record->name) + 1);
	if (!found)
		return -ENOMEM;

	const char *elements[] = { certificate.chain_pem, certificate.roots_pem };
	struct issued_material material = {
		.elements = elements,
		.count = HB_ARRAY_LEN(elements),
		.key_pem = certificate.key_pem,
		.identity = record->name,
	};

	err = issued_read(&material, &found->issued, why, sizeof(why));
	if (err < 0 || !is_valid(found->issued)) {
		log_info("a certificate that was kept cannot be used", "identity=%.256s: %s",
		         record->name, err < 0 ? why : "it has ended, or is not valid yet");
		issued_free(found->issued);
		free(found);
		return err == -ENOMEM ? err : -EINVAL;
	}
	memcpy(found->identity, record->name, strlen(record->name) + 1);
	hb_list_add(&kept->found, &found->node);
	kept->counts.found++;
	return 0;
}

/* What cannot be used is removed, a few names at a time: nothing may be while they are listed. */
static int take_all(struct kept *kept)
{
	struct {
		char *type, *name;
	} odd[ODD_MAX];
	struct laststate_cursor cursor = { 0 };
	struct laststate_record record;
	size_t count = 0;
	int err = 0;

	while (err != -ENOMEM && laststate_next(kept->options.known, &cursor, &record)) {
		err = take_record(kept, &record);
		if (err != -EINVAL || count == ODD_MAX)
			continue;
		odd[count].type = strdup(record.type);
		odd[count].name = strdup(record.name);
		count++;
	}
	for (size_t i = 0; i < count; i++) {
		if (odd[i].type && odd[i].name)
			(void)laststate_remove(kept->options.known, odd[i].type, odd[i].name);
		free(odd[i].type);
		free(odd[i].name);
	}
	return err == -ENOMEM ? err : 0;
}

static void on_work(struct hb_timer *timer)
{
	struct kept *kept = hb_container_of(timer, struct kept, work);
	struct hb_list *node;

	/* Nobody asks from inside an answer, but somebody may cancel. */
	while ((node = hb_list_shift(&kept->asked))) {
		struct found *found = hb_container_of(node, struct found, node);
		struct cert_request *request = found->request;
		struct issued *issued = hb_take(&found->issued);

		kept->counts.used++;
		free(found);
		request->work = NULL;
		log_info("a certificate that was kept is used", "identity=%s serial=%s",
		         request->identity, issued->certs[0].serial);
		request->on_issued(request, issued);
	}
}

static void on_unasked(struct hb_timer *timer)
{
	struct kept *kept = hb_container_of(timer, struct kept, unasked);

	hb_list_for_each_safe (node, &kept->found) {
		struct found *found = hb_container_of(node, struct found, node);

		(void)laststate_remove(kept->options.known, TYPE, found->identity);
		found_free(found);
	}
	changed(kept);
}

void keptsource_forget(struct cert_source *source, const char *identity)
{
	struct kept *kept = kept_of(source);
	struct found *found = lookup(&kept->found, identity);

	if (found)
		found_free(found);
	if (laststate_remove(kept->options.known, TYPE, identity))
		changed(kept);
}

/*
 * certsource.h.
 */
static int start(struct cert_source *source, struct cert_request *request, char *why,
                 size_t why_size)
{
	struct kept *kept = kept_of(source);
	struct found *found = lookup(&kept->found, request->identity);

	request->work = NULL;
	if (found && !is_valid(found->issued)) {
		found_free(found);
		found = NULL;
	}
	if (!found)
		return pass_on(kept, request, why, why_size);
	hb_list_remove(&found->node);
	hb_list_add(&kept->asked, &found->node);
	found->request = request;
	if (!hb_timer_is_running(&kept->work))
		hb_loop_timer_start(kept->loop, &kept->work, 0);
	return 0;
}

/* One that was found stays so for whoever asks next. */
static void cancel(struct cert_source *source, struct cert_request *request)
{
	struct kept *kept = kept_of(source);
	struct passed *passed = request->work;
	struct found *found = lookup(&kept->asked, request->identity);

	if (passed) {
		kept->options.source->ops->cancel(kept->options.source, &passed->request);
		free(passed);
		request->work = NULL;
	} else if (found) {
		found->request = NULL;
		hb_list_remove(&found->node);
		hb_list_add(&kept->found, &found->node);
	}
}

static void free_source(struct cert_source *source)
{
	struct kept *kept = kept_of(source);

	hb_loop_timer_stop(kept->loop, &kept->work);
	hb_loop_timer_stop(kept->loop, &kept->unasked);
	hb_list_for_each_safe (node, &kept->found)
		found_free(hb_container_of(node, struct found, node));
	kept->options.source->ops->free(kept->options.source);
	free(kept);
}

static void on_source_change(void *owner)
{
	struct kept *kept = owner;

	if (kept->source.on_change)
		kept->source.on_change(kept->source.owner);
}

struct cert_source *keptsource_new(struct hb_loop *loop, const struct keptsource_options *options)
{
	static const struct cert_source_ops ops = { start, cancel, free_source };
	struct kept *kept = calloc(1, sizeof(*kept));

	if (!kept) {
		options->source->ops->free(options->source);
		return NULL;
	}
	kept->source.ops = &ops;
	kept->loop = loop;
	kept->options = *options;
	hb_list_init(&kept->found);
	hb_list_init(&kept->asked);
	hb_timer_init(&kept->work, on_work);
	hb_timer_init(&kept->unasked, on_unasked);
	options->source->on_change = on_source_change;
	options->source->owner = kept;
	if (take_all(kept) < 0) {
		free_source(&kept->source);
		return NULL;
	}
	hb_loop_timer_start(loop, &kept->unasked,
	                    options->unasked_ms ? options->unasked_ms : KEPTSOURCE_UNASKED_MS);
	return &kept->source;
}

struct keptsource_counts keptsource_counts(const struct cert_source *source)
{
	return kept_of(source)->counts;
}

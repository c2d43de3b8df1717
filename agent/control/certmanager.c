/*
 * certmanager: the plan put to work. One timer looks at all there is to do and is set to the next
 * time that the plan knows; everything that changes the plan sets it to now.
 */
#include "control/certmanager.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_SCOPE "identity"
#include "log.h"

/* The wheel has an end, and the machine's clock may be set, or the machine sleep, meanwhile. */
#define TIMER_MS (60u * 1000)
#define WHY_MAX  512

struct entry {
	struct certplan_entry plan;
	struct cert_request request; /* while plan.running */
	struct certmanager *manager;
	char *identity;
	struct issued *issued;  /* NULL: none, or it has ended */
	struct hb_tls_ctx *ctx; /* made of it */
	bool told;              /* news are due: somebody demanded what is there, or is not */
	char why[WHY_MAX];      /* the last failure; "" */
};

struct certmanager {
	struct hb_loop *loop;
	struct certplan plan;
	struct cert_source *source;
	struct hb_tls_profile profile;
	void (*on_news)(void *owner, const struct certmanager_news *news);
	void *owner;
	struct hb_timer work;
	struct certmanager_counts counts;
};

static struct certplan_time time_of(const struct certmanager *manager)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail: the clock exists */
	return (struct certplan_time){
		.mono_ms = hb_loop_now_ms(manager->loop),
		.unix_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
	};
}

static uint32_t any_number(void)
{
	return arc4random();
}

static void look_soon(struct certmanager *manager)
{
	hb_loop_timer_start(manager->loop, &manager->work, 0);
}

static struct entry *entry_of(struct certplan_entry *plan)
{
	return hb_container_of(plan, struct entry, plan);
}

static struct entry *lookup(const struct certmanager *manager, const char *identity)
{
	hb_list_for_each (node, &manager->plan.all) {
		struct entry *entry = entry_of(hb_container_of(node, struct certplan_entry, node));

		if (strcmp(entry->identity, identity) == 0)
			return entry;
	}
	return NULL;
}

static void drop_issued(struct entry *entry)
{
	hb_tls_ctx_unref(hb_take(&entry->ctx));
	issued_free(hb_take(&entry->issued));
}

static void entry_free(struct entry *entry)
{
	struct certmanager *manager = entry->manager;

	if (entry->plan.running)
		manager->source->ops->cancel(manager->source, &entry->request);
	certplan_remove(&manager->plan, &entry->plan);
	drop_issued(entry);
	free(entry->identity);
	free(entry);
}

/*
 * Answers.
 */
static void tell(struct entry *entry)
{
	struct certmanager *manager = entry->manager;
	struct certmanager_news news = { .identity = entry->identity };

	entry->told = false;
	if (entry->ctx)
		news.ctx = hb_tls_ctx_ref(entry->ctx);
	else
		news.why = entry->why;
	manager->on_news(manager->owner, &news);
}

static void failed(struct entry *entry, const char *why)
{
	struct certmanager *manager = entry->manager;
	struct certplan_time now = time_of(manager);

	manager->counts.failed++;
	snprintf(entry->why, sizeof(entry->why), "%s", why);
	certplan_failed(&manager->plan, &entry->plan, now);
	look_soon(manager);
	if (certplan_state(&entry->plan, now) == CERT_AVAILABLE) {
		log_warn("certificate was not renewed, the old one is used on",
		         "identity=%s ends_in_s=%lld: %s", entry->identity,
		         (long long)(entry->plan.not_after_ms - now.unix_ms) / 1000, entry->why);
		return;
	}
	if (entry->ctx)
		return; /* it has just ended, which end() tells */
	log_warn("no certificate", "identity=%s retry_ms=%llu: %s", entry->identity,
	         (unsigned long long)(entry->plan.due_ms - now.mono_ms), entry->why);
	tell(entry);
}

static void on_failed(struct cert_request *request, const char *why)
{
	failed(hb_container_of(request, struct entry, request), why);
}

static bool is_good_now(const struct issued_cert *cert, int64_t now_s)
{
	return cert->not_before_s <= now_s && now_s < cert->not_after_s;
}

/* Why no peer would believe it now, or it no peer; NULL: nothing is wrong with its dates. */
static const char *odd_dates(const struct issued *issued, int64_t now_s)
{
	const struct issued_cert *roots = issued->certs + issued->chain_count;
	size_t good = 0;

	if (issued->certs[0].not_after_s <= now_s)
		return "the certificate that came has ended already";
	if (issued->certs[0].not_before_s > now_s)
		return "the certificate that came is not valid yet";
	for (size_t i = 0; i < issued->roots_count; i++)
		good += is_good_now(&roots[i], now_s);
	return good ? NULL : "none of the root certificates that came is valid now";
}

/* Odd dates are taken where there is nothing better: it may be our clock. */
static const char *worse_than_ours(const struct entry *entry, const struct issued *issued)
{
	int64_t now_s = time_of(entry->manager).unix_ms / 1000;

	return entry->issued && !odd_dates(entry->issued, now_s) ? odd_dates(issued, now_s) : NULL;
}

static void on_issued(struct cert_request *request, struct issued *issued)
{
	struct entry *entry = hb_container_of(request, struct entry, request);
	struct certmanager *manager = entry->manager;
	const struct issued_cert *leaf = &issued->certs[0];
	struct hb_tls_material material = {
		.chain = issued->chain_pem,
		.key = issued->key_pem,
		.roots = issued->roots_pem,
		.profile = &manager->profile,
	};
	struct hb_tls_ctx *ctx;
	const char *why = worse_than_ours(entry, issued);

	if (why || hb_tls_ctx_new(&material, &ctx, &why) < 0) {
		issued_free(issued);
		failed(entry, why);
		return;
	}
	drop_issued(entry);
	entry->issued = issued;
	entry->ctx = ctx;
	entry->why[0] = '\0';
	manager->counts.issued++;
	certplan_issued(&manager->plan, &entry->plan, leaf->not_before_s, leaf->not_after_s,
	                time_of(manager));
	look_soon(manager);
	log_debug("certificate issued", "identity=%s serial=%s", entry->identity, leaf->serial);
	if (issued->note[0])
		log_warn("certificate is taken, but", "identity=%s: %s", entry->identity,
		         issued->note);
	tell(entry); /* last: whoever hears it may let go of the identity */
}

/*
 * What there is to do.
 */
static void ask(struct entry *entry)
{
	struct certmanager *manager = entry->manager;
	char why[WHY_MAX];

	if (manager->source->ops->start(manager->source, &entry->request, why, sizeof(why)) < 0)
		failed(entry, why);
}

static void end(struct entry *entry)
{
	log_error("certificate has ended and could not be renewed", "identity=%s: %s",
	          entry->identity, entry->why);
	drop_issued(entry);
	tell(entry);
}

static void forget(struct entry *entry)
{
	struct certmanager *manager = entry->manager;
	struct certmanager_news news = { .forgotten = true };
	char *identity = hb_take(&entry->identity);

	entry_free(entry);
	manager->counts.forgotten++;
	log_debug("identity forgotten", "identity=%s", identity);
	news.identity = identity;
	manager->on_news(manager->owner, &news);
	free(identity);
}

/* Those that demanded what was known already. None comes or goes inside but by tell(). */
static struct entry *next_told(const struct certmanager *manager)
{
	hb_list_for_each (node, &manager->plan.all) {
		struct entry *entry = entry_of(hb_container_of(node, struct certplan_entry, node));

		if (entry->told)
			return entry;
	}
	return NULL;
}

static void on_work(struct hb_timer *timer)
{
	struct certmanager *manager = hb_container_of(timer, struct certmanager, work);
	struct certplan_time now = time_of(manager);
	struct certplan_entry *next;
	struct entry *told;
	uint64_t wait_ms;

	while ((next = certplan_next_ended(&manager->plan, now)))
		end(entry_of(next));
	while ((next = certplan_next_forgotten(&manager->plan, now)))
		forget(entry_of(next));
	while ((told = next_told(manager)))
		tell(told);
	/* At most CERTPLAN_RUNNING_MAX; one that fails at once is not due again. */
	while ((next = certplan_pick(&manager->plan, now)))
		ask(entry_of(next));
	wait_ms = certplan_wait_ms(&manager->plan, now);
	if (wait_ms != UINT64_MAX)
		hb_loop_timer_start(manager->loop, timer, wait_ms < TIMER_MS ? wait_ms : TIMER_MS);
}

static void on_source_change(void *owner)
{
	struct certmanager *manager = owner;

	certplan_renew_all(&manager->plan, time_of(manager));
	look_soon(manager);
}

struct certmanager *certmanager_new(struct hb_loop *loop, const struct certmanager_options *options)
{
	struct certmanager *manager = calloc(1, sizeof(*manager));

	if (!manager) {
		options->source->ops->free(options->source);
		return NULL;
	}
	manager->loop = loop;
	manager->source = options->source;
	manager->source->on_change = on_source_change;
	manager->source->owner = manager;
	manager->profile = options->profile;
	manager->on_news = options->on_news;
	manager->owner = options->owner;
	certplan_init(&manager->plan, any_number);
	if (options->linger_ms)
		manager->plan.linger_ms = options->linger_ms;
	hb_timer_init(&manager->work, on_work);
	return manager;
}

void certmanager_free(struct certmanager *manager)
{
	if (!manager)
		return;
	hb_list_for_each_safe (node, &manager->plan.all)
		entry_free(entry_of(hb_container_of(node, struct certplan_entry, node)));
	hb_loop_timer_stop(manager->loop, &manager->work);
	manager->source->ops->free(manager->source);
	free(manager);
}

/* The entry of @identity, made if need be. 0, -EINVAL, -ENOMEM. */
static int find(struct certmanager *manager, const char *identity, enum cert_priority priority,
                struct entry **ret_entry)
{
	struct entry *entry = lookup(manager, identity);

	if (!entry) {
		if (!hb_spiffe_is_valid(identity, strlen(identity)))
			return -EINVAL;
		entry = calloc(1, sizeof(*entry));
		if (!entry || !(entry->identity = strdup(identity))) {
			free(entry);
			return -ENOMEM;
		}
		entry->manager = manager;
		entry->request.identity = entry->identity;
		entry->request.on_issued = on_issued;
		entry->request.on_failed = on_failed;
		certplan_add(&manager->plan, &entry->plan, priority, time_of(manager));
	}
	*ret_entry = entry;
	look_soon(manager);
	return 0;
}

int certmanager_hold(struct certmanager *manager, const char *identity, enum cert_priority priority)
{
	struct entry *entry;
	int err = find(manager, identity, priority, &entry);

	if (err < 0)
		return err;
	certplan_hold(&entry->plan, priority);
	entry->told |= entry->ctx != NULL;
	return 0;
}

void certmanager_release(struct certmanager *manager, const char *identity)
{
	struct entry *entry = lookup(manager, identity);

	if (!entry || entry->plan.holders == 0)
		return;
	certplan_release(&manager->plan, &entry->plan, time_of(manager));
	look_soon(manager);
}

int certmanager_demand(struct certmanager *manager, const char *identity)
{
	struct entry *entry;
	int err = find(manager, identity, CERT_REALTIME, &entry);

	if (err == 0 &&
	    certplan_demand(&manager->plan, &entry->plan, time_of(manager)) != CERTPLAN_WAIT)
		entry->told = true;
	return err;
}

/*
 * Shown.
 */
static void show(const struct entry *entry, struct certplan_time now,
                 void (*each)(const struct certmanager_row *row, void *arg), void *arg)
{
	char state[WHY_MAX + sizeof("Unavailable: ")];
	struct certmanager_row row = {
		.identity = entry->identity,
		.state = state,
		.code = certplan_state(&entry->plan, now),
		.issued = entry->issued,
	};

	switch (row.code) {
	case CERT_AVAILABLE:
		snprintf(state, sizeof(state), "Available");
		break;
	case CERT_INITIALIZING:
		snprintf(state, sizeof(state), "Initializing");
		break;
	case CERT_UNAVAILABLE:
		snprintf(state, sizeof(state), "Unavailable: %s", entry->why);
		break;
	}
	each(&row, arg);
}

static int by_identity(const void *a, const void *b)
{
	const struct entry *const *one = a, *const *other = b;

	return strcmp((*one)->identity, (*other)->identity);
}

void certmanager_each(const struct certmanager *manager,
                      void (*each)(const struct certmanager_row *row, void *arg), void *arg)
{
	struct certplan_time now = time_of(manager);
	hb_cleanup(hb_free_ptr) struct entry **all = NULL;
	size_t count = 0;

	hb_list_for_each (node, &manager->plan.all)
		count++;
	all = calloc(count + 1, sizeof(struct entry *));
	if (!all)
		return; /* a dump that lacks them; the next one has them */
	count = 0;
	hb_list_for_each (node, &manager->plan.all)
		all[count++] = entry_of(hb_container_of(node, struct certplan_entry, node));
	qsort(all, count, sizeof(struct entry *), by_identity);
	for (size_t i = 0; i < count; i++)
		show(all[i], now, each, arg);
}

struct certmanager_counts certmanager_counts(const struct certmanager *manager)
{
	return manager->counts;
}

/*
 * resolver: names in a hash table, a queue of those to look up, and the threads that do.
 *
 *   name:     WAITING --a thread is free--> ASKED --answered--> KNOWN --too old, asked--> WAITING
 *   question: in its name's list --answered, or at once if KNOWN--> posted --its loop--> told,
 * freed | deadline, cancel: freed                       | cancel: freed, untold
 */
#include "node/resolver.h"

#include <ctype.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <hbone/error.h>

#define BUCKETS 1024u

enum state { WAITING, ASKED, KNOWN };

struct answer {
	int err;
	size_t count;
	struct hb_ip ips[RESOLVER_IPS_MAX];
};

struct name {
	struct name *next;   /* in its bucket */
	struct hb_list node; /* WAITING: the queue's; KNOWN: with the others, the oldest first */
	struct hb_list questions;
	enum state state;
	uint64_t until_ms; /* KNOWN */
	struct answer answer;
	char host[RESOLVER_HOST_MAX + 1]; /* lower case */
};

struct resolver_question {
	struct hb_msg msg;
	struct hb_list node; /* its name's; posted: empty */
	struct hb_list all;
	struct resolver *resolver;
	struct hb_loop *loop;
	struct hb_timer deadline;
	resolver_done *done; /* NULL: cancelled after it was posted */
	void *ctx;
	bool posted;
	struct answer answer; /* posted */
};

struct resolver {
	struct resolver_options options;
	pthread_mutex_t lock; /* of all below, and of lists, posted and answer of questions */
	pthread_cond_t wanted;
	unsigned refs; /* the owner's, and each thread's */
	unsigned threads, idle;
	bool stopping;
	struct name *buckets[BUCKETS];
	struct hb_list queue, known, questions;
	unsigned names, lookups, questions_count;
};

/* ---- what is asked ---- */

static int error_of(int eai)
{
	switch (eai) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return -ENOENT;
	case EAI_AGAIN:
	case EAI_FAIL:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno > 0 ? -errno : -EIO;
	default:
		return -EIO;
	}
}

static int lookup_by_libc(void *owner, const char *host, struct hb_ip *ips, size_t max)
{
	/* One of each address, and not one for each kind of socket. */
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	size_t count = 0, families[2] = { 0 };
	struct addrinfo *list = NULL;
	struct hb_addr addr;
	int err = getaddrinfo(host, NULL, &hints, &list);

	(void)owner;
	if (err)
		return error_of(err);
	for (struct addrinfo *at = list; at && count < max; at = at->ai_next) {
		if (hb_addr_from_sockaddr(at->ai_addr, &addr) < 0)
			continue;
		if (families[hb_ip_is_v4(&addr.ip)]++ < RESOLVER_FAMILY_MAX)
			ips[count++] = addr.ip;
	}
	freeaddrinfo(list);
	return count > 0 ? (int)count : -ENOENT;
}

static uint64_t now_by_clock(void *owner)
{
	struct timespec now;

	(void)owner;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *resolver_strerror(int err)
{
	switch (err) {
	case -ENOENT:
		return "no such name, or it has no address";
	case -EAGAIN:
		return "the name servers do not answer, or fail";
	case -ETIMEDOUT:
		return "the lookup took too long";
	case -EBUSY:
		return "too many names are being looked up";
	case -EINVAL:
		return "this cannot be a name";
	default:
		return hb_strerror(err);
	}
}

/* ---- names; with the lock held ---- */

static struct name **bucket_of(struct resolver *resolver, const char *host)
{
	uint32_t hash = 2166136261u; /* FNV-1a: who could flood it writes the mesh's names */

	for (const char *c = host; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	return &resolver->buckets[hash % BUCKETS];
}

static struct name *name_lookup(struct resolver *resolver, const char *host)
{
	struct name *name = *bucket_of(resolver, host);

	while (name && strcmp(name->host, host) != 0)
		name = name->next;
	return name;
}

static void name_free(struct resolver *resolver, struct name *name)
{
	struct name **at = bucket_of(resolver, name->host);

	while (*at != name)
		at = &(*at)->next;
	*at = name->next;
	hb_list_remove(&name->node);
	resolver->names--;
	free(name);
}

/* NULL: no memory, or all the names that there may be are being looked up. */
static struct name *name_new(struct resolver *resolver, const char *host)
{
	struct name **bucket = bucket_of(resolver, host);
	struct name *name;

	if (resolver->names >= resolver->options.names_max) {
		if (hb_list_is_empty(&resolver->known))
			return NULL;
		name_free(resolver, hb_container_of(resolver->known.next, struct name, node));
	}
	name = calloc(1, sizeof(*name));
	if (!name)
		return NULL;
	snprintf(name->host, sizeof(name->host), "%s", host);
	hb_list_init(&name->node);
	hb_list_init(&name->questions);
	name->state = KNOWN; /* of old: until_ms is 0 */
	name->next = *bucket;
	*bucket = name;
	resolver->names++;
	return name;
}

static void post(struct resolver_question *question, const struct answer *answer)
{
	hb_list_remove(&question->node);
	question->answer.err = answer->err;
	question->answer.count = answer->count;
	memcpy(question->answer.ips, answer->ips, answer->count * sizeof(answer->ips[0]));
	question->posted = true;
	hb_loop_post(question->loop, &question->msg);
}

static void post_error(struct resolver_question *question, int err)
{
	post(question, &(struct answer){ .err = err });
}

/* ---- threads ---- */

static void unref_and_unlock(struct resolver *resolver)
{
	bool last = --resolver->refs == 0;

	pthread_mutex_unlock(&resolver->lock);
	if (!last)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (resolver->buckets[i])
			name_free(resolver, resolver->buckets[i]);
	pthread_cond_destroy(&resolver->wanted);
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

/* Looks it up without the lock. */
static void look_up(struct resolver *resolver, struct name *name)
{
	const struct resolver_options *options = &resolver->options;
	struct answer *answer = &name->answer; /* nobody else's while it is ASKED */
	int res;

	name->state = ASKED;
	pthread_mutex_unlock(&resolver->lock);
	res = options->lookup(options->owner, name->host, answer->ips, RESOLVER_IPS_MAX);
	answer->err = res > 0 ? 0 : res < 0 ? res : -ENOENT;
	answer->count = res > 0 ? (size_t)res : 0;
	name->until_ms =
	    options->now_ms(options->owner) + (res > 0 ? RESOLVER_KNOWN_MS : RESOLVER_UNKNOWN_MS);
	pthread_mutex_lock(&resolver->lock);
	name->state = KNOWN;
	hb_list_add(&resolver->known, &name->node);
	resolver->lookups--;
	while (!hb_list_is_empty(&name->questions))
		post(hb_container_of(name->questions.next, struct resolver_question, node), answer);
}

static void *run(void *arg)
{
	struct resolver *resolver = arg;
	struct hb_list *first;

	pthread_mutex_lock(&resolver->lock);
	while (!resolver->stopping) {
		first = hb_list_shift(&resolver->queue);
		if (first) {
			look_up(resolver, hb_container_of(first, struct name, node));
			continue;
		}
		resolver->idle++;
		pthread_cond_wait(&resolver->wanted, &resolver->lock);
		resolver->idle--;
	}
	unref_and_unlock(resolver);
	return NULL;
}

/* One more, if all have work and there may be more. -errno: there is none at all. */
static int need_thread(struct resolver *resolver)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_cond_signal(&resolver->wanted);
	/* An idle one may not have woken yet, for a name that was queued before this one. */
	if (resolver->lookups <= resolver->threads ||
	    resolver->threads >= resolver->options.threads_max)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, run, resolver);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) /* the others do it, later */
		return resolver->threads > 0 ? 0 : -err;
	resolver->threads++;
	resolver->refs++;
	return 0;
}

/* ---- questions ---- */

static void question_free(struct resolver_question *question)
{
	hb_list_remove(&question->node);
	hb_list_remove(&question->all);
	question->resolver->questions_count--;
	free(question);
}

static void on_posted(struct hb_msg *msg)
{
	struct resolver_question *question = hb_container_of(msg, struct resolver_question, msg);
	struct resolver *resolver = question->resolver;
	const struct answer *answer = &question->answer;

	hb_loop_timer_stop(question->loop, &question->deadline);
	if (question->done)
		question->done(question->ctx, answer->err, answer->ips, answer->count);
	pthread_mutex_lock(&resolver->lock);
	question_free(question);
	pthread_mutex_unlock(&resolver->lock);
}

/* True: nobody will post it any more. */
static bool take_back(struct resolver_question *question)
{
	bool posted;

	pthread_mutex_lock(&question->resolver->lock);
	posted = question->posted;
	hb_list_remove(&question->node);
	pthread_mutex_unlock(&question->resolver->lock);
	return !posted;
}

static void on_deadline(struct hb_timer *timer)
{
	struct resolver_question *question =
	    hb_container_of(timer, struct resolver_question, deadline);

	if (!take_back(question))
		return; /* the answer is on its way */
	question->answer = (struct answer){ .err = -ETIMEDOUT };
	on_posted(&question->msg);
}

void resolver_cancel(struct resolver_question *question)
{
	if (!question)
		return;
	question->done = NULL;
	if (take_back(question))
		on_posted(&question->msg);
}

/* Into @out, in lower case. 0 or -EINVAL. */
static int fold(const char *host, char out[RESOLVER_HOST_MAX + 1])
{
	size_t len = strlen(host);

	if (len == 0 || len > RESOLVER_HOST_MAX)
		return -EINVAL;
	for (size_t i = 0; i <= len; i++)
		out[i] = (char)tolower((unsigned char)host[i]);
	return 0;
}

static int queue_name(struct resolver *resolver, struct name *name)
{
	if (resolver->lookups >= resolver->options.lookups_max)
		return -EBUSY;
	hb_list_remove(&name->node);
	hb_list_add(&resolver->queue, &name->node);
	name->state = WAITING;
	resolver->lookups++;
	return need_thread(resolver);
}

/* Posted, or among its name's; or -errno. With the lock held. */
static int ask(struct resolver *resolver, struct resolver_question *question, const char *host)
{
	struct name *name = name_lookup(resolver, host);
	int err = 0;

	if (resolver->questions_count > resolver->options.questions_max)
		return -EBUSY;
	if (!name)
		name = name_new(resolver, host);
	if (!name)
		return -EBUSY;
	if (name->state == KNOWN) {
		if (resolver->options.now_ms(resolver->options.owner) < name->until_ms) {
			post(question, &name->answer);
			return 0;
		}
		err = queue_name(resolver, name);
		if (err < 0) {
			resolver->lookups -= name->state == WAITING;
			name_free(resolver, name);
			return err;
		}
	}
	hb_list_add(&name->questions, &question->node);
	return 0;
}

struct resolver_question *resolver_ask(struct resolver *resolver, struct hb_loop *loop,
                                       const char *host, resolver_done *done, void *ctx)
{
	struct resolver_question *question = calloc(1, sizeof(*question));
	char folded[RESOLVER_HOST_MAX + 1];
	int err;

	if (!question)
		return NULL;
	question->msg.run = on_posted;
	question->resolver = resolver;
	question->loop = loop;
	question->done = done;
	question->ctx = ctx;
	hb_list_init(&question->node);
	hb_timer_init(&question->deadline, on_deadline);
	hb_loop_timer_start(loop, &question->deadline, resolver->options.deadline_ms);
	err = fold(host, folded);
	pthread_mutex_lock(&resolver->lock);
	resolver->questions_count++;
	hb_list_add(&resolver->questions, &question->all);
	if (err == 0)
		err = ask(resolver, question, folded);
	if (err < 0)
		post_error(question, err);
	pthread_mutex_unlock(&resolver->lock);
	return question;
}

/* ---- birth and end ---- */

struct resolver *resolver_new(const struct resolver_options *options)
{
	static const struct resolver_options none;
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	struct resolver_options *used;

	if (!resolver)
		return NULL;
	resolver->options = options ? *options : none;
	used = &resolver->options;
	used->threads_max = used->threads_max ? used->threads_max : 4;
	used->names_max = used->names_max ? used->names_max : 4096;
	used->lookups_max = used->lookups_max ? used->lookups_max : 256;
	used->questions_max = used->questions_max ? used->questions_max : 16384;
	used->deadline_ms = used->deadline_ms ? used->deadline_ms : RESOLVER_DEADLINE_MS;
	used->lookup = used->lookup ? used->lookup : lookup_by_libc;
	used->now_ms = used->now_ms ? used->now_ms : now_by_clock;
	pthread_mutex_init(&resolver->lock, NULL);
	pthread_cond_init(&resolver->wanted, NULL);
	hb_list_init(&resolver->queue);
	hb_list_init(&resolver->known);
	hb_list_init(&resolver->questions);
	resolver->refs = 1;
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	pthread_mutex_lock(&resolver->lock);
	resolver->stopping = true;
	while (!hb_list_is_empty(&resolver->questions))
		question_free(
		    hb_container_of(resolver->questions.next, struct resolver_question, all));
	pthread_cond_broadcast(&resolver->wanted);
	unref_and_unlock(resolver);
}

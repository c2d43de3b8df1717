/*
 * agent: the steps of coming up, the way down, and the messages between the two.
 */
#include "agent.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#define LOG_SCOPE "culvert"
#include "lean.h"
#include "log.h"
#include "node/netns.h"
#include "node/resolver.h"
#include "proxy/strict.h"
#include "reports.h"

#define STOP_DEADLINE_MS 5000u /* for workers to end what was aborted */
#define FILES_WANTED     (1u << 20)

static int explain(char *why, size_t why_size, const char *what, int err)
{
	snprintf(why, why_size, "%s: %s", what, hb_strerror(err));
	return err;
}

/* Two descriptors for each flow: as many as we may have, at best FILES_WANTED. */
static void raise_files(void)
{
	struct rlimit files, more;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	more.rlim_cur = more.rlim_max =
	    files.rlim_max > FILES_WANTED ? files.rlim_max : FILES_WANTED;
	if (setrlimit(RLIMIT_NOFILE, &more) < 0) { /* the hard limit is not ours to raise */
		more = files;
		more.rlim_cur = more.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &more); /* what we have must do then */
	}
	log_info("file descriptors", "max=%llu", (unsigned long long)more.rlim_cur);
}

int agent_start_process(struct agent *agent, char *why, size_t why_size)
{
	sigset_t set;
	int err;

	/* Blocked before any thread is made, so that all inherit it and only the loop reads them.
	 */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);

	raise_files();
	err = netns_init();
	return err < 0 ? explain(why, why_size, "own network namespace", err) : 0;
}

/*
 * Signals and the way down.
 */
void agent_settle(struct agent *agent)
{
	if (agent->phase != AGENT_STOP || agent->stopping > 0 || agent->signals.base.in_flight)
		return;
	if (agent->admins_open > 0 || !inpod_is_away(agent))
		return;
	hb_loop_stop(agent->loop);
}

static void on_stopped(struct worker_ask *ask)
{
	struct agent *agent = ask->worker->options.owner;

	agent->stopping--;
	agent_settle(agent);
}

static void on_stuck(struct hb_timer *timer)
{
	struct agent *agent = hb_container_of(timer, struct agent, deadline);

	log_error("a worker did not end in time, leaving it behind", "workers=%u", agent->stopping);
	agent->stuck = true;
	hb_loop_stop(agent->loop);
}

static void stop(struct agent *agent)
{
	agent->phase = AGENT_STOP;
	agent->stopping = agent->workers_count;
	hb_loop_timer_stop(agent->loop, &agent->deadline);
	hb_timer_init(&agent->deadline, on_stuck);
	hb_loop_timer_start(agent->loop, &agent->deadline, STOP_DEADLINE_MS);
	if (agent->signals.base.in_flight)
		hb_loop_cancel(agent->loop, &agent->signals);
	for (unsigned i = 0; i < agent->workers_count; i++) {
		agent->stop_asks[i].on_answer = on_stopped;
		worker_stop(agent->workers[i], &agent->stop_asks[i]);
	}
	agent_settle(agent);
}

static void on_drain_time(struct hb_timer *timer)
{
	struct agent *agent = hb_container_of(timer, struct agent, deadline);

	log_warn("drain time is over, ending what is left", "after_ms=%llu",
	         (unsigned long long)agent->settings->drain_ms);
	stop(agent);
}

static void on_drained(struct worker_ask *ask)
{
	struct agent *agent = ask->worker->options.owner;

	if (--agent->draining == 0 && agent->phase == AGENT_DRAIN)
		stop(agent);
}

static void on_admin_closed(void *owner)
{
	struct agent *agent = owner;

	agent->admins_open--;
	agent_settle(agent);
}

/* Once, on whichever way down comes first. */
static void close_admins(struct agent *agent)
{
	if (agent->admins_closing)
		return;
	agent->admins_closing = true;
	if (agent->admin)
		admin_close(agent->admin, on_admin_closed);
	if (agent->ready)
		admin_close(agent->ready, on_admin_closed);
	if (agent->stats)
		admin_close(agent->stats, on_admin_closed);
}

void agent_shutdown(struct agent *agent)
{
	if (agent->phase == AGENT_DRAIN)
		stop(agent);
	if (agent->phase != AGENT_RUN)
		return;
	log_info("shutting down", "drain_ms=%llu", (unsigned long long)agent->settings->drain_ms);
	agent->phase = AGENT_DRAIN;
	enrol_stop_trying(agent);
	inpod_leave(agent);
	selfpod_stop_trying(agent);
	close_admins(agent);
	agent->draining = agent->workers_count;
	for (unsigned i = 0; i < agent->workers_count; i++) {
		agent->drain_asks[i].on_answer = on_drained;
		worker_drain(agent->workers[i], &agent->drain_asks[i]);
	}
	hb_timer_init(&agent->deadline, on_drain_time);
	hb_loop_timer_start(agent->loop, &agent->deadline, agent->settings->drain_ms);
}

static void on_signal(struct hb_op *op, int res)
{
	struct agent *agent = hb_container_of(op, struct agent, signals);
	struct signalfd_siginfo info;

	while (read(agent->signal_fd, &info, sizeof(info)) == sizeof(info))
		agent_shutdown(agent);
	if (agent->phase == AGENT_STOP)
		agent_settle(agent);
	else
		hb_loop_poll(agent->loop, op, agent->signal_fd, POLLIN);
}

int agent_start_loop(struct agent *agent, char *why, size_t why_size)
{
	sigset_t set;

	/* It carries no flows: a small ring is a fifth of a megabyte less. */
	agent->loop = hb_loop_new(&(struct hb_loop_options){
	    .backend = (enum hb_loop_choice)agent->settings->loop_backend, .entries = 256 });
	if (!agent->loop)
		return explain(why, why_size, "event loop (loopBackend)", errno ? -errno : -ENOMEM);
	hb_timer_init(&agent->deadline, on_drain_time);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	agent->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (agent->signal_fd < 0)
		return explain(why, why_size, "signalfd", -errno);
	agent->signals.done = on_signal;
	agent->resolver = resolver_new(NULL);
	return agent->resolver ? 0 : explain(why, why_size, "resolver", -ENOMEM);
}

void agent_stop_loop(struct agent *agent)
{
	if (agent->signal_fd >= 0)
		close(agent->signal_fd);
	if (agent->stuck)
		return; /* a worker may still ask */
	hb_loop_free(agent->loop);
	resolver_free(agent->resolver);
}

_Static_assert(PODNET_SOURCE_TRY == (int)ORIG_SRC_AUTO &&
                   PODNET_SOURCE_MUST == (int)ORIG_SRC_TRUE &&
                   PODNET_SOURCE_NEVER == (int)ORIG_SRC_FALSE,
               "the choices of enableOrigSrc are in this order");

/* Whoever may not enter a namespace or mark a socket had better say so at start than for each pod.
 */
static int may_make_sockets(const struct agent *agent, char *why, size_t why_size)
{
	hb_cleanup(hb_close_fd) int netns = netns_open("/proc/self/ns/net");
	hb_cleanup(hb_close_fd) int fd =
	    netns < 0 ? netns : podnet_socket(&agent->net, netns, AF_INET);

	if (fd >= 0)
		return 0;
	snprintf(why, why_size,
	         "a socket in a pod's network namespace, marked %u: %s; "
	         "the capabilities SYS_ADMIN and NET_ADMIN are needed",
	         agent->net.mark, hb_strerror(fd));
	return fd;
}

int agent_start_redirect(struct agent *agent, char *why, size_t why_size)
{
	const struct settings *settings = agent->settings;
	struct redirect_options options = {
		.pin_dir = settings->bpf_dir,
		.cgroup_dir = settings->cgroup_dir,
	};
	int err = 0;

	agent->net.socks5 = settings->socks5;
	if (settings->mode == MODE_STANDALONE) {
		err = redirect_open(&options, &agent->redirect, why, why_size);
		agent->net.redirect = agent->redirect;
		return err;
	}
	agent->net.capture = PODNET_RULES;
	agent->net.mark = settings->packet_mark;
	agent->net.source = (enum podnet_source)settings->orig_src;
	agent->net.no_port_reuse = !settings->inpod_port_reuse;
	return may_make_sockets(agent, why, why_size);
}

void agent_stop_redirect(struct agent *agent)
{
	redirect_close(agent->redirect);
}

/*
 * What is spoken, and by whom it is not.
 */
struct hb_tls_profile agent_tls_profile(const struct settings *settings)
{
	return (struct hb_tls_profile){
		.tls12 = settings->tls12,
		.pqc = settings->pqc,
		.trust_domains = settings->trust_domain_aliases,
	};
}

static int check_profile(const struct settings *settings, char *why, size_t why_size)
{
	struct hb_tls_profile profile = agent_tls_profile(settings);
	const char *what;

	if (hb_tls_profile_check(&profile, &what) == 0)
		return 0;
	snprintf(why, why_size, "compliancePolicy (or COMPLIANCE_POLICY): %s", what);
	return -EINVAL;
}

static int check_exceptions(const struct settings *settings, char *why, size_t why_size)
{
	char what[256];

	if (strict_except_check(settings->waypoint_strict_except, what, sizeof(what)) == 0)
		return 0;
	snprintf(why, why_size, "waypointStrictExcept: %s", what);
	return -EINVAL;
}

/* Which services of others lead to a pod, and through which waypoint, only the whole mesh tells. */
static int check_on_demand(const struct settings *settings, char *why, size_t why_size)
{
	if (!xdsfeed_is_on_demand(settings) || !settings->waypoint_strict)
		return 0;
	snprintf(why, why_size,
	         "xdsOnDemand (or XDS_ON_DEMAND) and waypointStrict cannot both be true");
	return -EINVAL;
}

int agent_check_settings(const struct settings *settings, char *why, size_t why_size)
{
	int err = check_profile(settings, why, why_size);

	if (err == 0)
		err = check_exceptions(settings, why, why_size);
	return err < 0 ? err : check_on_demand(settings, why, why_size);
}

static void on_crls(void *owner, struct hb_tls_crls *crls)
{
	struct agent *agent = owner;

	for (unsigned i = 0; agent->phase != AGENT_STOP && i < agent->workers_count; i++)
		if (worker_set_crls(agent->workers[i], hb_tls_crls_ref(crls)) < 0)
			log_error("revocation lists did not reach a worker", "worker=%u: no memory",
			          i);
	hb_tls_crls_unref(crls);
}

int agent_start_crls(struct agent *agent, char *why, size_t why_size)
{
	const char *path = agent->settings->crl_file;

	if (!*path)
		return 0;
	agent->crlfile = crlfile_new(agent->loop, path, on_crls, agent);
	return agent->crlfile ? 0 : explain(why, why_size, path, -ENOMEM);
}

void agent_stop_crls(struct agent *agent)
{
	crlfile_free(agent->crlfile);
}

int agent_check(struct agent *agent, char *why, size_t why_size)
{
	const char *path = agent->settings->crl_file;
	struct hb_tls_crls *crls = NULL;
	int err = agent_start_mesh(agent, why, why_size);

	agent_stop_mesh(agent);
	if (err == 0)
		err = xdsfeed_check(agent, why, why_size);
	if (err == 0)
		err = agent_check_settings(agent->settings, why, why_size);
	if (err == 0)
		err = cafeed_check(agent, why, why_size);
	if (err == 0 && *path)
		err = crlfile_read(path, &crls, why, why_size);
	hb_tls_crls_unref(crls);
	return err;
}

int agent_start_workers(struct agent *agent, char *why, size_t why_size)
{
	unsigned count = settings_workers(agent->settings);
	struct worker_options options = {
		.count = count,
		.settings = agent->settings,
		.control = agent->loop,
		.crls = agent->crlfile ? crlfile_current(agent->crlfile) : NULL,
		.resolver = agent->resolver,
		.wish = agent_wish,
		.ask_name = xdsfeed_is_on_demand(agent->settings) ? agent_ask_name : NULL,
		.owner = agent,
	};

	agent->workers = calloc(count, sizeof(struct worker *));
	agent->drain_asks = calloc(count, sizeof(*agent->drain_asks));
	agent->stop_asks = calloc(count, sizeof(*agent->stop_asks));
	if (!agent->workers || !agent->drain_asks || !agent->stop_asks)
		return explain(why, why_size, "workers", -ENOMEM);
	for (unsigned i = 0; i < count; i++) {
		int err;

		options.index = i;
		err = worker_start(&options, agent->snapshot, &agent->workers[i]);
		if (err < 0)
			return explain(why, why_size, "worker thread", err);
		agent->workers_count++;
	}
	/* One stands for all: they found the same kernel. */
	if (worker_fallback_reason(agent->workers[0]))
		log_info("io_uring is not to be had, using epoll", "workers=%u: %s", count,
		         worker_fallback_reason(agent->workers[0]));
	return 0;
}

void agent_stop_workers(struct agent *agent)
{
	/* Without pods nothing holds them: only a failed start comes here with workers that run. */
	if (agent->workers_count && agent->phase != AGENT_STOP && !agent->stuck) {
		stop(agent);
		(void)hb_loop_run(agent->loop);
	}
	for (unsigned i = 0; !agent->stuck && i < agent->workers_count; i++)
		worker_join(agent->workers[i]);
	if (agent->stuck)
		return;                     /* they still look at these */
	(void)hb_loop_turn(agent->loop, 0); /* their last words */
	free(agent->workers);
	free(agent->drain_asks);
	free(agent->stop_asks);
}

void agent_say_ready(struct agent *agent, size_t pods)
{
	lean_down();
	log_info("culvertd ready", "pods=%zu workers=%u", pods, agent->workers_count);
}

int agent_start_admin(struct agent *agent, char *why, size_t why_size)
{
	return reports_start(agent, why, why_size);
}

void agent_stop_admin(struct agent *agent)
{
	if (agent->stuck)
		return;
	close_admins(agent);
	while (agent->admins_open > 0 && hb_loop_turn(agent->loop, 100) == 0)
		;
	admin_free(agent->admin);
	admin_free(agent->ready);
	admin_free(agent->stats);
}

int agent_begin_pods(struct agent *agent, char *why, size_t why_size)
{
	int err = agent->settings->mode == MODE_SHARED ? inpod_start(agent) : enrol_start(agent);

	if (err == 0 && agent->settings->mode == MODE_SHARED)
		err = selfpod_start(agent);
	if (err < 0)
		return explain(why, why_size, "pods", err);
	return 0;
}

int agent_start_pods(struct agent *agent, char *why, size_t why_size)
{
	int err = xdsfeed_is_ready(agent) ? agent_begin_pods(agent, why, why_size) : 0;

	if (err < 0)
		return err;
	hb_loop_poll(agent->loop, &agent->signals, agent->signal_fd, POLLIN);
	return 0;
}

void agent_stop_pods(struct agent *agent)
{
	if (agent->stuck)
		return;
	enrol_done(agent);
	inpod_done(agent);
	selfpod_done(agent);
}

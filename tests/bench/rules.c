/*
 * rules: what the relays are told on their command line.
 */
#include "rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define RULES_MAX    16
#define EVENTS_TURN  256
#define ACCEPTS_TURN 64

static struct rule rules[RULES_MAX];
static int rules_count;

static int open_rule(const char *from, const char *to, int epoll_fd)
{
	struct rule *rule = &rules[rules_count];
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = rule };
	struct net_addr addr;

	if (rules_count == RULES_MAX)
		return -E2BIG;
	if (net_parse(from, &addr) || net_parse(to, &rule->to))
		return -EINVAL;
	rule->listen_fd = net_listen(&addr);
	if (rule->listen_fd < 0)
		return rule->listen_fd;
	rules_count++;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, rule->listen_fd, &event) < 0 ? -errno : 0;
}

static int open_all(int argc, char **argv, int epoll_fd)
{
	if (argc < 3 || argc % 2 == 0) {
		fprintf(stderr, "usage: %s FROM TO [FROM TO]...   (10.0.0.1:80 or [fd00::1]:80)\n",
		        argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i += 2) {
		int err = open_rule(argv[i], argv[i + 1], epoll_fd);

		if (err) {
			fprintf(stderr, "%s: %s %s: %s\n", argv[0], argv[i], argv[i + 1],
			        strerror(-err));
			return 1;
		}
	}
	return 0;
}

/* The rule that @data of an event is, or NULL when it is something of the relay's. */
static const struct rule *find(const void *data)
{
	const struct rule *rule = data;

	return rule >= rules && rule < rules + RULES_MAX ? rule : NULL;
}

static void accept_some(const struct rule *rule, const struct rules_relay *relay)
{
	for (int i = 0; i < ACCEPTS_TURN; i++) {
		int fd = net_accept(rule->listen_fd);

		if (fd < 0)
			return;
		relay->on_accepted(rule, fd);
	}
}

static int turns(int epoll_fd, const struct rules_relay *relay)
{
	struct epoll_event events[EVENTS_TURN];

	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS_TURN, -1);

		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count; i++) {
			const struct rule *rule = find(events[i].data.ptr);

			if (rule)
				accept_some(rule, relay);
			else
				relay->on_event(events[i].data.ptr, events[i].events);
		}
		relay->on_turn_end();
	}
}

int rules_serve(int argc, char **argv, int epoll_fd, const struct rules_relay *relay)
{
	int err = open_all(argc, argv, epoll_fd);

	if (err)
		return err;
	printf("ready\n");
	fflush(stdout);
	err = turns(epoll_fd, relay);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(-err));
	return 1;
}

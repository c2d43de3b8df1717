/*
 * rules: what the relays are told on their command line.
 */
#include "rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define RULES_MAX 16

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

int rules_open(int argc, char **argv, int epoll_fd)
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

const struct rule *rules_find(const void *data)
{
	const struct rule *rule = data;

	return rule >= rules && rule < rules + RULES_MAX ? rule : NULL;
}

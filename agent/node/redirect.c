/*
 * redirect: the life of the capture machinery.
 *
 * Order of opening: a place, the maps and programs, the links. What fails on a bare machine is
 * undone; what fails over a predecessor's pins leaves them, since its pods must stay refused.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <hbone/error.h>

#include "node/netns.h"
#include "node/redirect_own.h"

int redirect_explain(int err, char *why, size_t why_size, const char *form, ...)
{
	va_list args;
	int len;

	va_start(args, form);
	len = vsnprintf(why, why_size, form, args);
	va_end(args);
	if (err < 0 && len >= 0 && (size_t)len < why_size)
		snprintf(why + len, why_size - (size_t)len, ": %s", hb_strerror(err));
	return err;
}

void redirect_path(const struct redirect *redirect, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", redirect->pin_dir, name);
}

static int read_own_cookie(struct redirect *redirect)
{
	hb_cleanup(hb_close_fd) int fd = netns_open("/proc/thread-self/ns/net");

	return fd < 0 ? fd : netns_cookie(fd, &redirect->own_cookie);
}

static int open_in_order(struct redirect *redirect, const struct redirect_options *options,
                         char *why, size_t why_size)
{
	int err = read_own_cookie(redirect);

	if (err < 0)
		return redirect_explain(err, why, why_size, "cannot read our own netns cookie");
	err = redirect_place_cgroup(redirect, options->cgroup_dir, why, why_size);
	if (err == 0)
		err = redirect_place_pins(redirect, why, why_size);
	if (err == 0)
		err = redirect_load(redirect, why, why_size);
	if (err == 0)
		err = redirect_links_attach(redirect, why, why_size);
	return err;
}

static void release(struct redirect *redirect, bool remove)
{
	/* dir_fd holds the lock: without it these are another agent's pins. */
	remove = remove && redirect->dir_fd >= 0;
	redirect_links_close(redirect);
	if (remove)
		redirect_remove_pins(redirect);
	redirect_unload(redirect);
	redirect_place_done(redirect, remove);
	free(redirect);
}

int redirect_open(const struct redirect_options *options, struct redirect **ret_redirect, char *why,
                  size_t why_size)
{
	struct redirect *redirect = calloc(1, sizeof(*redirect));
	int err;

	if (!redirect)
		return redirect_explain(-ENOMEM, why, why_size, "redirect");
	redirect->dir_fd = -1;
	redirect->cgroup_fd = -1;
	for (size_t i = 0; i < REDIRECT_CGROUP_LINKS; i++)
		redirect->link_fd[i] = -1;
	if (options->pin_dir[0] != '/' || strlen(options->pin_dir) >= sizeof(redirect->pin_dir)) {
		free(redirect);
		return redirect_explain(-EINVAL, why, why_size,
		                        "the pin directory must be an absolute path, not \"%.64s\"",
		                        options->pin_dir);
	}
	snprintf(redirect->pin_dir, sizeof(redirect->pin_dir), "%s", options->pin_dir);
	err = open_in_order(redirect, options, why, why_size);
	if (err < 0) {
		release(redirect, !redirect->took_over);
		return err;
	}
	redirect_links_refresh_pods(redirect);
	redirect_remove_other_layouts(redirect);
	*ret_redirect = redirect;
	return 0;
}

void redirect_close(struct redirect *redirect)
{
	if (redirect)
		release(redirect, true);
}

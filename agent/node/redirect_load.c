/*
 * redirect_load: puts the maps and programs into the kernel, on the pinned maps of a predecessor
 * when they are of the same layout.
 */
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <culvert.skel.h>

#include "node/redirect_own.h"

/* libbpf's first complaint since the last reset: the later ones only repeat that it failed. */
static _Thread_local char complaint[256];

__attribute__((format(printf, 2, 0))) static int keep_complaint(enum libbpf_print_level level,
                                                                const char *form, va_list args)
{
	if (level != LIBBPF_WARN || complaint[0])
		return 0;
	vsnprintf(complaint, sizeof(complaint), form, args);
	complaint[strcspn(complaint, "\n")] = 0;
	return 0;
}

static int failed(int err, char *why, size_t why_size, const char *what)
{
	return redirect_explain(err, why, why_size, "cannot %s the BPF programs (%s)", what,
	                        complaint[0] ? complaint : "libbpf says nothing");
}

/*
 * Whether a program may ask for the MPTCP socket around a subflow. Asked by loading: versions tell
 * nothing about a kernel built without MPTCP or BTF, and libbpf's own probe answers yes to all.
 */
static bool has_mptcp_helper(void)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_DW,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_REG_1,
		  .off = offsetof(struct bpf_sock_addr, sk) },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_1, .off = 1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skc_to_mptcp_sock },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET4_CONNECT);
	hb_cleanup(hb_close_fd) int fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "cv_probe",
	                                               "GPL", insns, HB_ARRAY_LEN(insns), &opts);

	return fd >= 0;
}

static void map_pin_path(const struct redirect *redirect, const struct bpf_map *map,
                         char out[PATH_MAX])
{
	char name[64];

	snprintf(name, sizeof(name), "map%u_%s", CV_LAYOUT, bpf_map__name(map));
	redirect_path(redirect, name, out);
}

static bool fits(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
}

/*
 * Names every map's pin. All or none are taken over: the maps speak of each other, so if one does
 * not fit, all are unpinned and the programs start with empty ones.
 */
static int pin_maps(struct redirect *redirect)
{
	char path[PATH_MAX];
	bool all_fit = true;
	struct bpf_map *map;
	int err;

	bpf_object__for_each_map(map, redirect->skel->obj)
	{
		hb_cleanup(hb_close_fd) int fd = -1;

		if (bpf_map__is_internal(map))
			continue;
		map_pin_path(redirect, map, path);
		err = bpf_map__set_pin_path(map, path);
		if (err < 0)
			return err;
		fd = bpf_obj_get(path);
		if (fd >= 0)
			redirect->took_over = true;
		all_fit = all_fit && fd >= 0 && fits(map, fd);
	}
	if (all_fit)
		return 0;
	bpf_object__for_each_map(map, redirect->skel->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		map_pin_path(redirect, map, path);
		if (unlink(path) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

int redirect_load(struct redirect *redirect, char *why, size_t why_size)
{
	struct culvert *skel;
	int err;

	libbpf_set_print(keep_complaint);
	complaint[0] = 0;
	skel = culvert__open();
	if (!skel)
		return failed(-errno, why, why_size, "open");
	redirect->skel = skel;
	skel->rodata->cv_mptcp = has_mptcp_helper();
	complaint[0] = 0;
	err = pin_maps(redirect);
	if (err < 0)
		return redirect_explain(err, why, why_size, "cannot use the pins below %s",
		                        redirect->pin_dir);
	err = culvert__load(skel);
	if (err < 0)
		return failed(err, why, why_size, "load");
	redirect->pods_fd = bpf_map__fd(skel->maps.cv_pods);
	redirect->agent_sk_fd = bpf_map__fd(skel->maps.cv_agent_sk);
	redirect->listeners_fd = bpf_map__fd(skel->maps.cv_listeners);
	redirect->local_ips_fd = bpf_map__fd(skel->maps.cv_local_ips);
	redirect->counts_fd = bpf_map__fd(skel->maps.cv_counts);
	redirect->inbound_prog_fd = bpf_program__fd(skel->progs.cv_inbound);
	return 0;
}

void redirect_unload(struct redirect *redirect)
{
	culvert__destroy(redirect->skel);
	redirect->skel = NULL;
}

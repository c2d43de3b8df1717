/*
 * agent: what one culvertd is made of, and how it comes up and goes down.
 *
 *   up:    mesh, loop, capture, certificates, workers, admin, pods: each step has its undoing
 *   RUN --SIGTERM, SIGINT, /quitquitquit--> DRAIN --all carried to its end, time, 2nd signal-->
 *   STOP --workers ended--> the control loop ends --> down, in reverse
 *
 * While it drains capture stays: new connections of the pods are refused, not sent in clear. Only
 * when nothing is carried any more do the pods leave the mesh.
 * Thread: the main one, which is the control loop's.
 */
#pragma once

#include <hbone/loop.h>

#include "admin.h"
#include "cafeed.h"
#include "config/settings.h"
#include "control/certmanager.h"
#include "control/crlfile.h"
#include "control/filewatch.h"
#include "control/prefetch.h"
#include "enrol.h"
#include "inpod.h"
#include "mesh/store.h"
#include "node/podnet.h"
#include "node/redirect.h"
#include "proxy/worker.h"
#include "selfpod.h"
#include "xdsfeed.h"

enum agent_phase { AGENT_RUN, AGENT_DRAIN, AGENT_STOP };

struct agent {
	const struct settings *settings;
	struct hb_loop *loop;
	struct store *store;       /* what is known of the mesh */
	struct snapshot *snapshot; /* as last published */
	struct filewatch mesh_watch;
	struct hb_timer mesh_timer;
	struct xdsfeed xdsfeed;
	size_t mesh_bytes;         /* the most that the store held since memory was given back */
	struct redirect *redirect; /* NULL: rules of others bring the traffic */
	struct podnet net;
	struct cafeed cafeed;
	struct certmanager *certs;
	struct prefetch prefetch;
	struct crlfile *crlfile; /* NULL: crlFile is not set */
	struct resolver *resolver;
	struct worker **workers;
	unsigned workers_count;     /* started */
	struct enrolment enrolment; /* standalone and dedicated */
	struct selfpod self;
	struct inpod inpod; /* shared */
	struct admin *admin;
	struct admin *ready, *stats; /* one report each, for the network; NULL: off */
	unsigned admins_open;
	bool admins_closing;

	enum agent_phase phase;
	bool stuck; /* a worker did not end in time: its thread is left behind */
	int signal_fd;
	struct hb_op signals;
	struct hb_timer deadline;
	unsigned draining, stopping; /* workers whose answer is still to come */
	struct worker_ask *drain_asks, *stop_asks;
};

/* A step of coming up. 0; -EINVAL: the configuration is wrong; else -errno. One sentence in @why.
 */
typedef int (*agent_start_fn)(struct agent *agent, char *why, size_t why_size);
/* Undoes it, also when it was not begun or came only half way. */
typedef void (*agent_stop_fn)(struct agent *agent);

int agent_start_process(struct agent *agent, char *why, size_t why_size);
int agent_start_mesh(struct agent *agent, char *why, size_t why_size);
void agent_stop_mesh(struct agent *agent);
/* What is in the store goes to the workers. 0, or -ENOMEM with the batch undone. @ret_changes may
 * be NULL. */
int agent_publish(struct agent *agent, struct store_changes *ret_changes);
int agent_start_xds(struct agent *agent, char *why, size_t why_size);
void agent_stop_xds(struct agent *agent);
/* Reads the mesh file again whenever it changes. */
int agent_start_watch(struct agent *agent, char *why, size_t why_size);
void agent_stop_watch(struct agent *agent);
int agent_start_loop(struct agent *agent, char *why, size_t why_size);
void agent_stop_loop(struct agent *agent);
int agent_start_redirect(struct agent *agent, char *why, size_t why_size);
void agent_stop_redirect(struct agent *agent);
int agent_start_certs(struct agent *agent, char *why, size_t why_size);
void agent_stop_certs(struct agent *agent);
int agent_start_crls(struct agent *agent, char *why, size_t why_size);
void agent_stop_crls(struct agent *agent);
int agent_start_workers(struct agent *agent, char *why, size_t why_size);
void agent_stop_workers(struct agent *agent);
int agent_start_admin(struct agent *agent, char *why, size_t why_size);
void agent_stop_admin(struct agent *agent);
/* Pods begin when the mesh is known: before, what is not known yet would be let pass. */
int agent_start_pods(struct agent *agent, char *why, size_t why_size);
int agent_begin_pods(struct agent *agent, char *why, size_t why_size);
void agent_stop_pods(struct agent *agent);

struct hb_tls_profile agent_tls_profile(const struct settings *settings);
/* What only the libraries can judge. 0 or -EINVAL. */
int agent_check_settings(const struct settings *settings, char *why, size_t why_size);
/* The mesh has changed: what pods of this node will need is asked for. Before certs: nothing. */
void agent_prefetch(struct agent *agent);
/* What a worker wishes; on its thread. */
bool agent_wish(void *owner, const char *identity, enum credential_wish what);
/* What a worker's connections wait for; on its thread. */
bool agent_ask_name(void *owner, unsigned worker, const char *name);
void agent_forget_names(struct agent *agent); /* nobody is answered any more */

/* Reads all that can be wrong in files, and starts nothing. As a step of coming up. */
int agent_check(struct agent *agent, char *why, size_t why_size);

/* One thing that the end waits for has ended: ends when it was the last. */
void agent_settle(struct agent *agent);
/* All that the start was for is done: so many @pods are served. */
void agent_say_ready(struct agent *agent, size_t pods);
/* Begins to drain; the second time it ends at once what is left. */
void agent_shutdown(struct agent *agent);

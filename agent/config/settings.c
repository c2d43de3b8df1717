/*
 * settings: defaults, then the file, then the environment; then what must agree among them.
 */
#include "config/settings.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hbone/base.h>

#include "config/settings_table.h"

#define MESH_CONFIG "./etc/istio/config/mesh" /* where the chart mounts it */

static const char *variable_lookup(char *const *environ_, const char *name)
{
	size_t len = strlen(name);

	for (; environ_ && *environ_; environ_++)
		if (strncmp(*environ_, name, len) == 0 && (*environ_)[len] == '=')
			return *environ_ + len + 1;
	return NULL;
}

static const struct settings_loaded *loaded_of(const struct settings *settings)
{
	return hb_container_of(settings, struct settings_loaded, settings);
}

void settings_free(struct settings *settings)
{
	struct settings_loaded *loaded;

	if (!settings)
		return;
	loaded = hb_container_of(settings, struct settings_loaded, settings);
	setting_texts_free(&loaded->texts);
	free(loaded->sources);
	free(loaded->pods);
	free(loaded->metadata);
	free(loaded);
}

static void free_settings(struct settings **settings)
{
	settings_free(*settings);
}

/* Every string "", then every default through the same door as a user's value. */
static int set_defaults(struct settings_loaded *loaded, char *why, size_t why_size)
{
	for (size_t i = 0; i < setting_rows_count; i++) {
		const struct setting_row *row = &setting_rows[i];
		int err;

		if (row->type == SETTING_STRING || row->type == SETTING_TEXT ||
		    row->type == SETTING_PATH || row->type == SETTING_SECRET)
			*(const char **)(void *)((char *)&loaded->settings + row->offset) = "";
		if (!row->initial)
			continue;
		err = setting_set(row, row->initial, &loaded->settings, &loaded->texts, why,
		                  why_size);
		assert(err != -EINVAL); /* a default of ours that does not fit its own row */
		if (err)
			return err;
	}
	return 0;
}

/* Two rows may write one field: what the later wrote is the source of both. */
static void note_variable(struct settings_loaded *loaded, const struct setting_row *row,
                          const char *variable)
{
	for (size_t i = 0; i < setting_rows_count; i++)
		if (setting_rows[i].offset == row->offset)
			loaded->sources[i] =
			    (struct setting_source){ SETTING_ENVIRONMENT, 0, variable };
}

static int read_environment(struct settings_loaded *loaded, char *const *environ_, char *why,
                            size_t why_size)
{
	char sentence[320];

	for (size_t i = 0; i < setting_rows_count * SETTING_VARIABLES; i++) {
		const struct setting_row *row = &setting_rows[i / SETTING_VARIABLES];
		const char *variable = row->variables[i % SETTING_VARIABLES];
		const char *value = variable ? variable_lookup(environ_, variable) : NULL;
		int err;

		if (!value)
			continue;
		err = setting_set(row, value, &loaded->settings, &loaded->texts, sentence,
		                  sizeof(sentence));
		if (err) {
			snprintf(why, why_size, "%s: %s", variable, sentence);
			return err;
		}
		note_variable(loaded, row, variable);
	}
	return 0;
}

/* "<file>:<line>: <key>: <sentence>" or "<VARIABLE>: <sentence>", by where the field came from. */
__attribute__((format(printf, 5, 6))) static int complain(const struct settings_loaded *loaded,
                                                          size_t offset, char *why, size_t why_size,
                                                          const char *format, ...)
{
	const struct setting_row *row = setting_rows;
	const struct setting_source *source;
	char sentence[320];
	va_list args;

	while (row->offset != offset)
		row++;
	source = &loaded->sources[row - setting_rows];
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	setting_one_line(sentence);
	if (source->from == SETTING_FILE)
		snprintf(why, why_size, "%s:%d: %s: %s", loaded->path, source->line,
		         setting_name(row), sentence);
	else
		snprintf(why, why_size, "%s: %s",
		         source->from == SETTING_ENVIRONMENT ? source->variable : setting_name(row),
		         sentence);
	return -EINVAL;
}

/* All three files of a certificate or none, and not beside the built-in CA. */
static int check_cert_files(const struct settings_loaded *loaded, char *why, size_t why_size)
{
	static const size_t fields[] = { offsetof(struct settings, cert_file),
		                         offsetof(struct settings, cert_key_file),
		                         offsetof(struct settings, cert_roots_file) };
	const struct settings *s = &loaded->settings;
	const char *const files[] = { s->cert_file, s->cert_key_file, s->cert_roots_file };
	unsigned given = 0, last = 0;

	for (unsigned i = 0; i < HB_ARRAY_LEN(files); i++)
		if (*files[i]) {
			given++;
			last = i;
		}
	if (given > 0 && given < HB_ARRAY_LEN(files))
		return complain(loaded, fields[last], why, why_size,
		                "is not enough, expected certFile, certKeyFile and certRootsFile");
	if (given > 0 && s->fake_ca)
		return complain(loaded, fields[last], why, why_size,
		                "is given beside fakeCa, expected one of the two");
	return 0;
}

static int check_together(const struct settings_loaded *loaded, char *why, size_t why_size)
{
	const struct settings *s = &loaded->settings;

	if (*s->mesh_file && *s->mesh_text)
		return complain(loaded, offsetof(struct settings, mesh_text), why, why_size,
		                "is given beside the file %s, expected one of the two",
		                s->mesh_file);
	if (*s->fake_ca_cert && !*s->fake_ca_key)
		return complain(loaded, offsetof(struct settings, fake_ca_cert), why, why_size,
		                "is given without a key, expected fakeCaKey (FAKE_CA_KEY) too");
	if (*s->fake_ca_key && !*s->fake_ca_cert)
		return complain(loaded, offsetof(struct settings, fake_ca_key), why, why_size,
		                "is given without a certificate, "
		                "expected fakeCaCert (FAKE_CA_CERT) too");
	return check_cert_files(loaded, why, why_size);
}

static void default_to(struct settings_loaded *loaded, size_t offset, uint32_t value)
{
	for (size_t i = 0; i < setting_rows_count; i++)
		if (setting_rows[i].offset == offset && loaded->sources[i].from == SETTING_DEFAULT)
			*(uint32_t *)(void *)((char *)&loaded->settings + offset) = value;
}

/* "namespace/name/service-account", as ztunnel orders it. */
static int read_workload_info(struct settings_loaded *loaded, char *why, size_t why_size)
{
	struct settings *s = &loaded->settings;
	size_t at = offsetof(struct settings, workload_info);
	char text[1024], *rest = text, *parts[3], quoted[80];

	snprintf(text, sizeof(text), "%s", s->workload_info);
	for (size_t i = 0; i < HB_ARRAY_LEN(parts); i++)
		parts[i] = strsep(&rest, "/");
	if (rest || !parts[2] || !*parts[0] || !*parts[1] || !*parts[2])
		return complain(loaded, at, why, why_size,
		                "%s does not name the workload of dedicated mode, "
		                "expected namespace/name/service-account",
		                setting_quote(s->workload_info, quoted, sizeof(quoted)));
	loaded->pods = calloc(1, sizeof(*loaded->pods));
	if (!loaded->pods)
		return -ENOMEM;
	loaded->pods->ns = setting_text_add(&loaded->texts, parts[0]);
	loaded->pods->name = setting_text_add(&loaded->texts, parts[1]);
	loaded->pods->service_account = setting_text_add(&loaded->texts, parts[2]);
	loaded->pods->netns = "/proc/self/ns/net";
	s->pods = loaded->pods;
	s->pods_count = 1;
	return loaded->pods->ns && loaded->pods->name && loaded->pods->service_account ? 0
	                                                                               : -ENOMEM;
}

/* What hangs on whose pods they are. */
static int derive_mode(struct settings_loaded *loaded, char *why, size_t why_size)
{
	struct settings *s = &loaded->settings;

	if (s->mode == MODE_AUTO)
		s->mode = loaded->path ? MODE_STANDALONE : MODE_SHARED;
	if (s->mode == MODE_STANDALONE)
		return 0;
	if (s->pods_count)
		return complain(loaded, offsetof(struct settings, mode), why, why_size,
		                "is not standalone, but there is a list of pods (line %d), "
		                "expected one of the two",
		                s->pods[0].line);
	default_to(loaded, offsetof(struct settings, admin_port), 15000);
	default_to(loaded, offsetof(struct settings, readiness_port), 15021);
	default_to(loaded, offsetof(struct settings, stats_port), 15020);
	if (s->mode == MODE_SHARED)
		default_to(loaded, offsetof(struct settings, packet_mark), 1337);
	return s->mode == MODE_DEDICATED ? read_workload_info(loaded, why, why_size) : 0;
}

/* What is derived from other settings when nobody set it. */
static int derive(struct settings_loaded *loaded, char *why, size_t why_size)
{
	struct settings *s = &loaded->settings;
	char path[4096 + sizeof("/admin.sock")];
	int err = derive_mode(loaded, why, why_size);

	if (err)
		return err;

	if (!*s->admin_socket) {
		const struct setting_row *row = setting_lookup("adminSocket");

		snprintf(path, sizeof(path), "%s/admin.sock", s->state_dir);
		if (strlen(path) > row->max)
			return complain(loaded, offsetof(struct settings, state_dir), why, why_size,
			                "is too long for a socket in it, "
			                "expected adminSocket or at most %zu bytes",
			                (size_t)row->max - strlen("/admin.sock"));
		s->admin_socket = setting_text_add(&loaded->texts, path);
		if (!s->admin_socket)
			return -ENOMEM;
	}
	s->workers = settings_workers(s);
	return 0;
}

int settings_load(const char *path, char *const *environ_, struct settings **ret_settings,
                  char *why, size_t why_size)
{
	struct settings_loaded *loaded = calloc(1, sizeof(*loaded));
	hb_cleanup(free_settings) struct settings *settings = loaded ? &loaded->settings : NULL;
	int err = -ENOMEM;

	snprintf(why, why_size, "no memory");
	if (!loaded)
		return err;
	loaded->sources = calloc(setting_rows_count, sizeof(*loaded->sources));
	if (!loaded->sources)
		return err;
	err = set_defaults(loaded, why, why_size);
	if (!err && path) {
		loaded->path = setting_text_add(&loaded->texts, path);
		err = loaded->path ? settings_read_file(loaded, path, why, why_size) : -ENOMEM;
	} else if (!err)
		err = settings_read_mesh_config(loaded, MESH_CONFIG, why, why_size);
	if (!err && variable_lookup(environ_, "PROXY_CONFIG"))
		err = settings_read_proxy_config(loaded, variable_lookup(environ_, "PROXY_CONFIG"),
		                                 why, why_size);
	if (!err)
		err = read_environment(loaded, environ_, why, why_size);
	if (!err)
		err = settings_read_headers(loaded, environ_, why, why_size);
	if (!err)
		err = check_together(loaded, why, why_size);
	if (!err)
		err = derive(loaded, why, why_size);
	if (err)
		return err;
	settings_derive_istiod(loaded, variable_lookup(environ_, "KUBERNETES_SERVICE_HOST"));
	*why = '\0';
	*ret_settings = hb_take(&settings);
	return 0;
}

unsigned settings_workers_on(const struct settings *settings, unsigned cores)
{
	const struct setting_threads *threads = &settings->threads;
	uint32_t workers;

	if (settings->cpu_cores)
		cores = settings->cpu_cores;
	if (threads->kind == THREADS_PERCENT)
		workers = (uint32_t)(((uint64_t)cores * threads->n + 99999) / 100000);
	else if (threads->kind == THREADS_COUNT)
		workers = threads->n ? threads->n : cores;
	else if (settings->cpu_limit)
		workers = settings->cpu_limit > settings->cpu_request ? settings->cpu_limit
		                                                      : settings->cpu_request;
	else
		workers = (cores + 3) / 4;
	if (threads->kind == THREADS_AUTO && !settings->cpu_limit) {
		if (workers < settings->cpu_request)
			workers = settings->cpu_request;
		if (workers < 2)
			workers = 2;
	}
	return workers ? hb_min_u32(workers, 1024) : 1;
}

unsigned settings_workers(const struct settings *settings)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return settings_workers_on(settings, cores > 0 ? (unsigned)cores : 1);
}

static bool is_served(const char *name)
{
	for (size_t i = 0; i < setting_rows_count * SETTING_VARIABLES; i++) {
		const char *variable =
		    setting_rows[i / SETTING_VARIABLES].variables[i % SETTING_VARIABLES];

		if (variable && strcmp(variable, name) == 0)
			return true;
	}
	return false;
}

/* Exact names stand for themselves even where a prefix would fit too. */
static const struct setting_unserved *unserved_lookup(const char *name)
{
	const struct setting_unserved *found = NULL;

	for (size_t i = 0; i < setting_unserved_count; i++) {
		const struct setting_unserved *row = &setting_unserved[i];

		if (strcmp(row->variable, name) == 0)
			return row;
		if (row->prefix && strncmp(row->variable, name, strlen(row->variable)) == 0)
			found = row;
	}
	return found;
}

void settings_unknown_each(char *const *environ_, void (*each)(const char *name, void *arg),
                           void *arg)
{
	for (; environ_ && *environ_; environ_++) {
		size_t len = strcspn(*environ_, "=");
		const struct setting_unserved *row;
		char name[128];

		/* A name longer than any of ours may still begin with a prefix: clip it. */
		snprintf(name, sizeof(name), "%.*s", (int)hb_min_size(len, sizeof(name) - 1),
		         *environ_);
		if (is_served(name) || (setting_is_header(name) && (*environ_)[len]))
			continue;
		row = unserved_lookup(name);
		if (row && (!row->harmless || (*environ_)[len] == '\0' ||
		            strcmp(*environ_ + len + 1, row->harmless) != 0))
			each(name, arg);
	}
}

char *settings_dump(const struct settings *settings)
{
	return settings_dump_json(loaded_of(settings));
}

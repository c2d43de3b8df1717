/*
 * settings_table: the one table of settings, for the modules that read, write and explain them.
 * Private to settings*.c and their tests. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/settings.h"

enum setting_type {
	SETTING_BOOL,
	SETTING_U32,
	SETTING_BYTES,    /* into uint32_t */
	SETTING_DURATION, /* into uint64_t, milliseconds */
	SETTING_STRING,   /* min and max count bytes */
	SETTING_TEXT,     /* the same, but too long to show */
	SETTING_PATH,     /* the same */
	SETTING_SECRET,   /* the same; only shown where it is a file's path */
	SETTING_CPUS,     /* a Kubernetes quantity, rounded up to whole cores */
	SETTING_THREADS,  /* into struct setting_threads */
	SETTING_CHOICE,   /* into uint8_t, or bool where there are two: the place in choices */
	SETTING_GRACE,    /* TERMINATION_GRACE_PERIOD_SECONDS, into uint64_t milliseconds */
};

#define SETTING_VARIABLES 2

struct setting_row {
	const char *group;                        /* heading, on the first row of a group */
	const char *key;                          /* NULL: environment only */
	const char *variables[SETTING_VARIABLES]; /* the second wins; NULL: none */
	enum setting_type type;
	size_t offset;       /* in struct settings */
	uint64_t min, max;   /* of the value, in its unit; for text: bytes */
	const char *initial; /* default as one would write it; NULL: absent, "" or 0 */
	const char *choices; /* CHOICE: "plain|json" */
	const char *help;    /* sentences, Markdown */
};

extern const struct setting_row setting_rows[];
extern const size_t setting_rows_count;

/* The key, or the variable when there is none. */
const char *setting_name(const struct setting_row *row);
const struct setting_row *setting_lookup(const char *key); /* or NULL */
/* The key that was probably meant, or NULL. */
const char *setting_suggest(const char *key);

/* ztunnel's variables that we do not serve yet. */
struct setting_unserved {
	const char *variable; /* or the beginning of its name, see prefix */
	bool prefix;
	const char *harmless; /* asks for what we do anyway; NULL: no such value */
	const char *help;
};
extern const struct setting_unserved setting_unserved[];
extern const size_t setting_unserved_count;

/* Where strings of one settings object live until it is freed. */
struct setting_texts {
	struct setting_text *first;
};
const char *setting_text_add(struct setting_texts *texts, const char *text); /* NULL: no memory */
void setting_texts_free(struct setting_texts *texts);

/*
 * Sets one value from its text. 0; -EINVAL with "<what>, expected <what>" in @why; -ENOMEM. The
 * settings are touched only on success.
 */
int setting_set(const struct setting_row *row, const char *text, struct settings *settings,
                struct setting_texts *texts, char *why, size_t why_size);
/* "true or false", "1 to 127"; what a value has to look like. Returns @out. */
const char *setting_expected(const struct setting_row *row, char *out, size_t size);
/* The word for a type in the reference page. */
const char *setting_type_name(enum setting_type type);
/* The value as one would write it. Returns @out; text types return their own string. */
const char *setting_format(const struct setting_row *row, const struct settings *settings,
                           char *out, size_t size);
/* A value in an error sentence: in quotes, printable, clipped. Returns @out. */
const char *setting_quote(const char *text, char *out, size_t size);
/* An error sentence stays on its line whatever it repeats of the input: controls become '?'. */
void setting_one_line(char *sentence);

/* A settings object as settings_load() makes it. */
enum setting_from { SETTING_DEFAULT, SETTING_FILE, SETTING_ENVIRONMENT };

struct setting_source {
	enum setting_from from;
	int line;             /* FILE */
	const char *variable; /* ENVIRONMENT */
};

struct settings_loaded {
	struct settings settings; /* the part that is shown */
	struct setting_texts texts;
	struct setting_source *sources; /* one per row */
	struct setting_pod *pods;
	struct setting_pair *metadata;
	const char *path; /* of the file, or NULL */
};

/* The text behind settings_dump(). */
char *settings_dump_json(const struct settings_loaded *loaded);

/* Istio's proxy config document over what is set. 0 or -errno with the whole sentence in @why. */
int settings_read_proxy_config(struct settings_loaded *loaded, const char *text, char *why,
                               size_t why_size);
/* The same from the defaultConfig of a MeshConfig file; 0, too, where there is none. */
int settings_read_mesh_config(struct settings_loaded *loaded, const char *path, char *why,
                              size_t why_size);
/* XDS_HEADER_ and CA_HEADER_. 0 or -errno with the whole sentence in @why. */
int settings_read_headers(struct settings_loaded *loaded, char *const *environ_, char *why,
                          size_t why_size);
bool setting_is_header(const char *name); /* of a variable */
/* What istiod's address and the token are when nobody set them. */
void settings_derive_istiod(struct settings_loaded *loaded, bool in_cluster);
/* Reads the file over the defaults. 0 or -errno with the whole sentence in @why. */
int settings_read_file(struct settings_loaded *loaded, const char *path, char *why,
                       size_t why_size);

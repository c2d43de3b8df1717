/*
 * log: one event per line to stdout, in ztunnel's shape (reference/operations 4.2). Lines are
 * queued to a writer thread; when the queue is full, access lines are dropped and counted, others
 * wait for at most a moment. Any thread.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* RUST_LOG's form: "info", "access=off", "info,xds=debug". 0, or -EINVAL with a sentence. */
int log_init(const char *directives, bool json, char *why, size_t why_size);
void log_done(void); /* writes what is queued */
/* At run time: replaces all levels, from the same form. On -EINVAL nothing has changed. */
int log_set_levels(const char *directives, char *why, size_t why_size);
/* The levels as they are, in the same form; of LOG_LEVELS_BYTES (log_filter.h). Returns @out. */
const char *log_levels(char *out);
bool log_enabled(const char *scope, enum log_level level);
uint64_t log_dropped(void);
uint64_t log_suppressed(void); /* warnings left out */

/*
 * A warning is written ten times at once and then once a second, by its message; the next one says
 * suppressed=N.
 */
/* message: a lowercase sentence, no format, constant. fields: printf format of "k=v k=v", or "". */
void log_write(enum log_level level, const char *scope, const char *message, const char *fields,
               ...) __attribute__((format(printf, 4, 5)));

/* A file that logs defines LOG_SCOPE before it includes this. */
#define log_error(msg, ...) log_write(LOG_ERROR, LOG_SCOPE, msg, __VA_ARGS__)
#define log_warn(msg, ...)  log_write(LOG_WARN, LOG_SCOPE, msg, __VA_ARGS__)
#define log_info(msg, ...)  log_write(LOG_INFO, LOG_SCOPE, msg, __VA_ARGS__)
#define log_debug(msg, ...)                                                                        \
	do {                                                                                       \
		if (log_enabled(LOG_SCOPE, LOG_DEBUG))                                             \
			log_write(LOG_DEBUG, LOG_SCOPE, msg, __VA_ARGS__);                         \
	} while (0)

/* Fields with their types, for lines that both forms must carry well (the access log). */
enum log_field_kind { LOG_TEXT /* quoted */, LOG_BARE /* address, word */, LOG_NUMBER };
struct log_field {
	const char *key;
	enum log_field_kind kind;
	const char *text; /* NULL or "": the field is left out */
	uint64_t number;
};
void log_fields(enum log_level level, const char *scope, const char *message,
                const struct log_field *fields, size_t count);

/*
 * settings_parse: the text of one value to a number, by type. Pure; shared by the settings file and
 * the environment, so that a value means the same in both.
 *
 * All return 0, -EINVAL (not of this form) or -ERANGE (of this form, but too large to hold). Text
 * is strict: no sign, no blank before, between or behind.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/settings.h"

int settings_parse_bool(const char *text, bool *ret_value); /* exactly true or false */
int settings_parse_u64(const char *text, uint64_t *ret_value);
/*
 * "5m", "180s", "1h30m", "1h + 30 min", "90": what ztunnel reads. Without a unit, which only the
 * last number may lack, it is seconds; what is below a millisecond is rounded up. No products.
 */
int settings_parse_duration(const char *text, uint64_t *ret_ms);
/* "4194304", "4Mi", "256Ki", "1Gi". */
int settings_parse_bytes(const char *text, uint64_t *ret_bytes);
/* A Kubernetes CPU quantity, "2", "1.5", "250m", rounded up to whole cores. */
int settings_parse_cpus(const char *text, uint64_t *ret_cores);
/* "4", "0" (all), "50%", "12.5%"; 0 < p <= 100, at most three digits behind the point. */
int settings_parse_threads(const char *text, struct setting_threads *ret_threads);
/* The place of @text in @choices, which is "plain|json". */
int settings_parse_choice(const char *choices, const char *text, uint64_t *ret_index);

/* "1h30m", "0s"; the text form of a duration. Returns @out. */
const char *settings_format_duration(uint64_t ms, char *out, size_t size);

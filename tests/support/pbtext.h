/*
 * pbtext: protobuf messages as one writes them down: "20:'u' 22:{1:'n/h' 2:{1:{1:80 2:8080}}}".
 * A field is its number and ':', then 'text', a number, {fields}, or x'hex'. For tests.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pb {
	uint8_t *bytes; /* free() it */
	size_t size;
};

struct pb pb_of(const char *text); /* a text that is wrong ends the program */
struct pb pb_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "0801" */
struct pb pb_hex(const char *hex);

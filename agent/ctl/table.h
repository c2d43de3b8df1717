/*
 * table: columns of text, as wide as their widest cell, for people. What peers and pods named is
 * shown without control characters, so that no name can speak to the terminal.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 16

struct table {
	const char *const *headings; /* ended by NULL; ">" in front: the column stands right */
	size_t columns;
	char **cells;
	size_t count, room;
};

void table_init(struct table *table, const char *const *headings);
void table_done(struct table *table);
/* The next cell of the row; rows follow from the number of columns. Ends the program without
 * memory. NULL and "" are shown as "-". */
void table_add(struct table *table, const char *text);
__attribute__((format(printf, 2, 3))) void table_add_format(struct table *table, const char *format,
                                                            ...);
void table_print(const struct table *table, FILE *out);

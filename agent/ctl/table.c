/*
 * table: columns of text.
 */
#include "ctl/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GAP "  "

void table_init(struct table *table, const char *const *headings)
{
	*table = (struct table){ .headings = headings };
	while (headings[table->columns])
		table->columns++;
	assert(table->columns <= TABLE_COLUMNS_MAX);
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
}

static void *or_end(void *memory)
{
	if (!memory) {
		fputs("culvertctl: no memory\n", stderr);
		exit(1);
	}
	return memory;
}

/* C0 controls, DEL, and C1 controls in their two bytes of UTF-8 become '?'. */
static void defuse(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			*p = p[1] = '?';
		else if (*p < ' ' || *p == 127)
			*p = '?';
	}
}

void table_add(struct table *table, const char *text)
{
	if (table->count == table->room) {
		table->room = table->room ? table->room * 2 : 64;
		table->cells =
		    or_end(reallocarray(table->cells, table->room, sizeof(*table->cells)));
	}
	table->cells[table->count] = or_end(strdup(text && *text ? text : "-"));
	defuse(table->cells[table->count++]);
}

void table_add_format(struct table *table, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	table_add(table, text);
}

/* Letters, not bytes: those that continue one in UTF-8 do not count. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static bool stands_right(const struct table *table, size_t column)
{
	return table->headings[column][0] == '>';
}

static void print_cell(const struct table *table, size_t column, size_t width, const char *text,
                       FILE *out)
{
	size_t pad = width - width_of(text);
	bool last = column + 1 == table->columns;

	if (stands_right(table, column))
		fprintf(out, "%*s%s", (int)pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : (int)pad, "");
	fputs(last ? "\n" : GAP, out);
}

void table_print(const struct table *table, FILE *out)
{
	size_t widths[TABLE_COLUMNS_MAX];

	for (size_t c = 0; c < table->columns; c++)
		widths[c] = width_of(table->headings[c] + stands_right(table, c));
	for (size_t i = 0; i < table->count; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	for (size_t c = 0; c < table->columns; c++)
		print_cell(table, c, widths[c], table->headings[c] + stands_right(table, c), out);
	for (size_t i = 0; i < table->count; i++)
		print_cell(table, i % table->columns, widths[i % table->columns], table->cells[i],
		           out);
}

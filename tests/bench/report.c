/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A section as JSON:
 *
 *	{ "name", "title", "how", "columns": [TEXT ...], "base": INDEX or -1, "notes": [TEXT ...],
 *	  "rows": [ { "title", "unit", "cells": [ CELL or null ... ] } ... ] }
 *	CELL: { "median", "low", "high", "confidence", "rounds", "p99", "samples",
 *	        "ratio": { "median", "low", "high" }, "quantiles": [51 values] }
 *
 * null: there is no such figure. "ratio" only beside the base, "quantiles" and "p99" only where there
 * is more than one sample a round.
 */
#include "tests/bench/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define RATIO_UNIT 100000u /* ratios are kept as integers, in this part of 1 */

static void add(struct samples *s, uint64_t value)
{
	if (samples_add(s, value))
		exit(1);
}

unsigned section_row(struct section *s, const char *title, const char *unit)
{
	if (s->rows == REPORT_ROWS)
		exit(1);
	s->row[s->rows].title = title;
	s->row[s->rows].unit = unit;
	s->row[s->rows].scale = 1;
	return s->rows++;
}

unsigned section_row_count(struct section *s, const char *title, const char *unit)
{
	unsigned row = section_row(s, title, unit);

	s->row[row].no_ratio = true;
	return row;
}

unsigned section_row_thousandths(struct section *s, const char *title, const char *unit)
{
	unsigned row = section_row_count(s, title, unit);

	s->row[row].scale = 1000;
	return row;
}

void section_note(struct section *s, const char *format, ...)
{
	char *note = s->note[s->notes];
	va_list list;

	if (s->notes == REPORT_NOTES)
		return;
	va_start(list, format);
	vsnprintf(note, sizeof(s->note[0]), format, list);
	va_end(list);
	for (unsigned i = 0; i < s->notes; i++)
		if (!strcmp(s->note[i], note))
			return;
	s->notes++;
}

void cell_round(struct cell *c, struct samples *samples)
{
	if (samples->count)
		add(&c->rounds, samples_quantile(samples, 500));
	for (size_t i = 0; i < samples->count; i++)
		add(&c->all, samples->value[i]);
	samples_free(samples);
}

void cell_value(struct cell *c, uint64_t value)
{
	add(&c->rounds, value);
	add(&c->all, value);
}

/* Where the rounds of the two do not correspond there is no ratio. */
static json_t *ratio_json(const struct cell *c, const struct cell *base)
{
	struct samples ratio = {0};
	uint64_t low, high;
	json_t *json;

	if (c->rounds.count != base->rounds.count || !c->rounds.count)
		return NULL;
	for (size_t i = 0; i < c->rounds.count; i++)
		if (base->rounds.value[i])
			add(&ratio, c->rounds.value[i] * RATIO_UNIT / base->rounds.value[i]);
	if (!ratio.count)
		return NULL;
	samples_interval(&ratio, &low, &high);
	json = json_pack("{sf sf sf}", "median", (double)samples_quantile(&ratio, 500) / RATIO_UNIT, "low",
			 (double)low / RATIO_UNIT, "high", (double)high / RATIO_UNIT);
	samples_free(&ratio);
	return json;
}

static json_t *value_json(uint64_t value, unsigned scale)
{
	return scale == 1 ? json_integer((json_int_t)value) : json_real((double)value / scale);
}

static json_t *quantiles_json(const struct samples *sorted, unsigned scale)
{
	json_t *quantiles = json_array();

	for (size_t i = 0; i <= REPORT_CDF; i++)
		json_array_append_new(quantiles,
				      value_json(sorted->value[(sorted->count - 1) * i / REPORT_CDF], scale));
	return quantiles;
}

static json_t *cell_json(struct cell *c, unsigned scale)
{
	uint64_t low, high;
	double confidence;
	json_t *json;

	if (!c->rounds.count)
		return json_null();
	confidence = samples_interval(&c->rounds, &low, &high);
	json = json_pack("{so so so sf sI sI}", "median",
			 value_json(samples_quantile(&c->rounds, 500), scale), "low", value_json(low, scale),
			 "high", value_json(high, scale), "confidence", confidence, "rounds",
			 (json_int_t)c->rounds.count, "samples", (json_int_t)c->all.count);
	if (c->all.count <= c->rounds.count)
		return json;
	json_object_set_new(json, "p99", value_json(samples_quantile(&c->all, 990), scale));
	json_object_set_new(json, "quantiles", quantiles_json(&c->all, scale)); /* sorted by now */
	return json;
}

static json_t *row_json(struct section *s, unsigned row)
{
	json_t *cells = json_array(), *ratio[REPORT_COLUMNS] = {NULL};

	/* First the ratios: they need the rounds in order of time. */
	for (unsigned i = 0; i < s->columns; i++)
		if (s->base >= 0 && i != (unsigned)s->base && !s->row[row].no_ratio)
			ratio[i] = ratio_json(&s->cell[row][i], &s->cell[row][s->base]);
	for (unsigned i = 0; i < s->columns; i++) {
		json_t *cell = cell_json(&s->cell[row][i], s->row[row].scale);

		if (ratio[i])
			json_object_set_new(cell, "ratio", ratio[i]);
		json_array_append_new(cells, cell);
		samples_free(&s->cell[row][i].rounds);
		samples_free(&s->cell[row][i].all);
	}
	return json_pack("{ss ss so}", "title", s->row[row].title, "unit", s->row[row].unit, "cells", cells);
}

static bool column_empty(const struct section *s, unsigned column)
{
	for (unsigned i = 0; i < s->rows; i++)
		if (s->cell[i][column].rounds.count)
			return false;
	return true;
}

/* Columns after the base only: what there is no figure of. */
static void drop_empty_columns(struct section *s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->columns; i++) {
		if ((int)i > s->base && column_empty(s, i))
			continue;
		s->column[kept] = s->column[i];
		for (unsigned row = 0; row < s->rows; row++)
			s->cell[row][kept] = s->cell[row][i];
		kept++;
	}
	s->columns = kept;
}

json_t *section_json(struct section *s)
{
	json_t *rows = json_array(), *columns = json_array(), *notes = json_array();

	drop_empty_columns(s);
	for (unsigned i = 0; i < s->rows; i++)
		json_array_append_new(rows, row_json(s, i));
	for (unsigned i = 0; i < s->columns; i++)
		json_array_append_new(columns, json_string(s->column[i]));
	for (unsigned i = 0; i < s->notes; i++)
		json_array_append_new(notes, json_string(s->note[i]));
	return json_pack("{ss ss ss so si so so}", "name", s->name, "title", s->title, "how", s->how,
			 "columns", columns, "base", s->base, "rows", rows, "notes", notes);
}

/* --- Text --------------------------------------------------------------------------------------- */

static double real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void print_cell(const json_t *cell, FILE *to)
{
	const json_t *ratio = json_object_get(cell, "ratio");
	const int digits = json_is_real(json_object_get(cell, "median")) ? 3 : 0;

	fprintf(to, " %9.*f  %9.*f %9.*f", digits, real(cell, "median"), digits, real(cell, "low"), digits,
		real(cell, "high"));
	if (json_object_get(cell, "p99"))
		fprintf(to, " %9.*f", digits, real(cell, "p99"));
	else
		fprintf(to, " %9s", "");
	if (ratio)
		fprintf(to, "  %6.3f (%.3f to %.3f)", real(ratio, "median"), real(ratio, "low"),
			real(ratio, "high"));
	fprintf(to, "\n");
}

/* A line for each cell; the first has the row's title. */
static void print_rows(const json_t *section, const json_t *columns, FILE *to)
{
	const json_t *row, *cell;
	size_t r, c;

	json_array_foreach (json_object_get(section, "rows"), r, row) {
		char label[64];

		snprintf(label, sizeof(label), "%s, %s", text(row, "title"), text(row, "unit"));
		json_array_foreach (json_object_get(row, "cells"), c, cell) {
			if (json_is_null(cell))
				continue;
			fprintf(to, "%-36s %-14s", label, json_string_value(json_array_get(columns, c)));
			print_cell(cell, to);
			*label = '\0';
		}
	}
}

/* Lines of at most 110 characters. */
static void print_wrapped(const char *s, FILE *to)
{
	for (int column = 0; *s;) {
		int word = (int)strcspn(s, " ");

		if (column && column + 1 + word > 110) {
			fputc('\n', to);
			column = 0;
		}
		column += fprintf(to, "%s%.*s", column ? " " : "", word, s);
		s += word + (s[word] == ' ');
	}
	fputc('\n', to);
}

void section_print(const json_t *section, FILE *to)
{
	const json_t *columns = json_object_get(section, "columns"), *note;
	json_int_t base = json_integer_value(json_object_get(section, "base"));
	double least = 1, most = 0;
	const json_t *row, *cell;
	size_t r, c;

	json_array_foreach (json_object_get(section, "rows"), r, row)
		json_array_foreach (json_object_get(row, "cells"), c, cell)
			if (!json_is_null(cell)) {
				double confidence = real(cell, "confidence");

				least = confidence < least ? confidence : least;
				most = confidence > most ? confidence : most;
			}
	fprintf(to, "\n%s\n\n", text(section, "title"));
	print_wrapped(text(section, "how"), to);
	fputc('\n', to);
	fprintf(to, "%-36s %-14s %9s  %19s %9s", "", "", "median", "interval", "p99");
	if (base >= 0)
		fprintf(to, "   to %s", json_string_value(json_array_get(columns, (size_t)base)));
	fprintf(to, "\n");
	print_rows(section, columns, to);
	if (most > 0)
		fprintf(to, "  intervals hold with %.0f to %.0f percent confidence\n", least * 100,
			most * 100);
	json_array_foreach (json_object_get(section, "notes"), r, note)
		fprintf(to, "  note: %s\n", json_string_value(note));
}

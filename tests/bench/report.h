/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report: sections, each a table of quantities (rows) by way of doing it (columns), each said how it was
 * measured. A section is filled while it is measured and becomes JSON; the text on the terminal and the page
 * are both made from that JSON, so they cannot say different things.
 *
 * A cell has one value for each round: the median of that round's samples, or the one sample there was.
 * Samples within a round depend on each other (one process, one placement in memory, one mood of the host),
 * rounds do so much less. So the interval that is printed is of the median of the rounds, and a ratio is the
 * median of the ratios of values of the same round.
 *
 * One thread. Functions that can run out of memory end the program: there is nothing to save.
 */
#ifndef DVMM_BENCH_REPORT_H
#define DVMM_BENCH_REPORT_H

#include <stdio.h>

#include "tests/bench/bench.h"

#define REPORT_ROWS    32
#define REPORT_COLUMNS 5
#define REPORT_NOTES   12
#define REPORT_CDF     50 /* a distribution is given as this many steps: 51 quantiles */

struct cell {
	struct samples rounds; /* in order of time until section_json() */
	struct samples all;    /* what the distribution is of */
};

struct section {
	const char *name, *title, *how;
	unsigned rows, columns, notes;
	int base;         /* the column that ratios are to; -1: none */
	bool qemu_failed; /* and is not tried again in this section */
	struct {
		const char *title, *unit;
		unsigned scale; /* what is kept is the value times this: 1 or 1000 */
		bool no_ratio;  /* to the base would say nothing */
	} row[REPORT_ROWS];
	const char *column[REPORT_COLUMNS];
	char note[REPORT_NOTES][256];
	struct cell cell[REPORT_ROWS][REPORT_COLUMNS];
};

/* The number of the new row. Strings are the caller's, for as long as the section lives. */
unsigned section_row(struct section *s, const char *title, const char *unit);

/* The same without ratios; thousandths: for values that are kept, as integers, in these. */
unsigned section_row_count(struct section *s, const char *title, const char *unit);
unsigned section_row_thousandths(struct section *s, const char *title, const char *unit);

/* A remark under the table. */
__attribute__((format(printf, 2, 3))) void section_note(struct section *s, const char *format, ...);

/* One round's samples: none if there are none. Empties them. */
void cell_round(struct cell *c, struct samples *samples);

/* A round that is one value. */
void cell_value(struct cell *c, uint64_t value);

/* The section as JSON (report.c says in which form), without columns that stayed empty; and its end: its
 * samples are freed. */
json_t *section_json(struct section *s);

/* Tables for people. */
void section_print(const json_t *section, FILE *to);

/* --- summary.c -------------------------------------------------------------------------------- */

/* [ { "title", "median", "low", "high", "unit" } ... ] of what there is in these sections; "times" is a
 * ratio. */
json_t *summary_make(const json_t *sections);
void summary_print(const json_t *summary, FILE *to);

/* --- html.c: a page without scripts and without anything from elsewhere ------------------------ */

/* { "host": { KEY: TEXT ... }, "summary": [ ... ], "sections": [ ... ] } as HTML. -1 if it could not be
 * written. */
int html_write(const json_t *report, FILE *to);

#endif

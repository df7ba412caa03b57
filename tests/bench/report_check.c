/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report_check JSON HTML SECTION...: is this a report of dvmm-bench with these sections, in which every
 * figure can be true, and a page that is well-formed and needs nothing else? Says what is wrong; exit status
 * 1 then.
 */
#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAGE  (4u << 20)
#define MAX_DEPTH 32

static int wrong;

static bool require(bool ok, const char *where, const char *what)
{
	if (!ok) {
		printf("%s: %s\n", where, what);
		wrong = 1;
	}
	return ok;
}

/* --- JSON --------------------------------------------------------------------------------------- */

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void check_cell(const char *where, const json_t *cell)
{
	const json_t *ratio = json_object_get(cell, "ratio"), *quantile;
	double last = 0;
	size_t i;

	require(number(cell, "low") <= number(cell, "median") &&
			number(cell, "median") <= number(cell, "high"),
		where, "a median outside of its interval");
	require(number(cell, "samples") >= number(cell, "rounds") && number(cell, "rounds") > 0, where,
		"a cell without samples");
	json_array_foreach (json_object_get(cell, "quantiles"), i, quantile) {
		require(json_number_value(quantile) >= last, where, "quantiles do not ascend");
		last = json_number_value(quantile);
	}
	if (ratio)
		require(number(ratio, "low") <= number(ratio, "median") &&
				number(ratio, "median") <= number(ratio, "high") &&
				number(ratio, "median") > 0,
			where, "a ratio outside of its interval");
}

/* Every row has a cell for every column, and not only empty ones. */
static void check_section(const json_t *section)
{
	const size_t columns = json_array_size(json_object_get(section, "columns"));
	const char *where = text(section, "name");
	const json_t *row, *cell;
	size_t r, c;

	require(*text(section, "how"), where, "does not say how it was measured");
	require(json_array_size(json_object_get(section, "rows")) > 0, where, "no rows");
	json_array_foreach (json_object_get(section, "rows"), r, row) {
		const json_t *cells = json_object_get(row, "cells");
		size_t filled = 0;

		require(columns && json_array_size(cells) == columns, where, "cells do not match columns");
		json_array_foreach (cells, c, cell)
			if (!json_is_null(cell)) {
				check_cell(where, cell);
				filled++;
			}
		/* On a host with one CPU there is no round trip by spinning; small guests may start faster
		 * than one looks. */
		require(filled || !strncmp(text(row, "title"), "spin", 4) || !strcmp(text(row, "unit"), "us"),
			text(row, "title"), "nothing measured");
	}
}

static void check_report(const json_t *report, char **names, size_t count)
{
	const json_t *sections = json_object_get(report, "sections"), *section;
	size_t i;

	require(*text(json_object_get(report, "host"), "kernel"), "report", "no host facts");
	require(json_array_size(json_object_get(report, "failed")) == 0, "report", "a section failed");
	require(json_array_size(json_object_get(report, "summary")) > 0, "report", "no summary");
	require(json_array_size(sections) == count, "report", "other sections than asked for");
	json_array_foreach (sections, i, section) {
		require(i < count && !strcmp(text(section, "name"), names[i]), text(section, "name"),
			"not expected here");
		check_section(section);
	}
}

/* --- HTML --------------------------------------------------------------------------------------- */

struct page {
	const char *at;
	char open[MAX_DEPTH][16]; /* elements that have not been closed */
	unsigned depth, headings, plots;
};

static void take_tag(struct page *p)
{
	const bool closing = p->at[1] == '/';
	const char *name = p->at + 1 + closing, *end = strchr(name, '>');
	int length = 0;

	while (length < 15 && isalnum((unsigned char)name[length]))
		length++;
	if (!require(end && (length || *name == '!'), "page", "a tag without a name or an end")) {
		p->at += strlen(p->at);
		return;
	}
	p->at = end + 1;
	p->headings += !closing && !strncmp(name, "h2>", 3);
	p->plots += !closing && !strncmp(name, "svg ", 4);
	if (*name == '!' || end[-1] == '/')
		return;
	if (closing) {
		bool same = p->depth && !strncmp(p->open[p->depth - 1], name, (size_t)length) &&
			    !p->open[p->depth - 1][length];

		require(same, "page", "elements cross each other");
		p->depth -= p->depth > 0;
	} else if (require(p->depth < MAX_DEPTH, "page", "too deep")) {
		snprintf(p->open[p->depth++], sizeof(p->open[0]), "%.*s", length, name);
	}
}

static void take_entity(struct page *p)
{
	size_t length = strcspn(p->at, "; <\n");

	require(length < 8 && p->at[length] == ';', "page", "a & that begins no character");
	p->at++;
}

static void check_page(const char *html, size_t sections)
{
	struct page p = {.at = html};

	require(!strncmp(html, "<!DOCTYPE html>", 15), "page", "no document type");
	require(!strstr(html, "http") && !strstr(html, "<script"), "page", "refers to something else");
	while (*p.at && !wrong) {
		if (*p.at == '<')
			take_tag(&p);
		else if (*p.at == '&')
			take_entity(&p);
		else
			p.at++;
	}
	require(!p.depth, "page", "an element is not closed");
	require(p.headings == sections + 2, "page", "a section is missing");
	require(p.plots >= sections, "page", "a plot is missing");
}

int main(int argc, char **argv)
{
	static char html[MAX_PAGE];
	json_error_t error;
	json_t *report;
	FILE *page;

	if (argc < 4)
		return 2;
	report = json_load_file(argv[1], 0, &error);
	if (require(report != NULL, argv[1], error.text))
		check_report(report, argv + 3, (size_t)argc - 3);
	json_decref(report);
	page = fopen(argv[2], "re");
	if (require(page != NULL, argv[2], "cannot be opened")) {
		html[fread(html, 1, sizeof(html) - 1, page)] = '\0';
		fclose(page);
		check_page(html, (size_t)argc - 3);
	}
	return wrong;
}

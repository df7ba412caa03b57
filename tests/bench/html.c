/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report as one HTML page: for each section its table, bars with intervals, and where there are
 * distributions a plot of them. Plots are SVG made of rectangles, lines and text. Bars start at zero and
 * share a scale where they share a unit; distributions have a logarithmic axis from the least sample to the
 * 98th percentile or so, because the tail would press the rest into a line (the table has the 99th).
 */
#include "tests/bench/report.h"

#include <math.h>
#include <string.h>

#define LABEL_WIDTH 250
#define BAR_WIDTH   470
#define BAR_HEIGHT  13
#define PLOT_WIDTH  330
#define PLOT_HEIGHT 150
#define MARGIN      40
#define TICKS       4

/* Okabe and Ito's, told apart by the colour-blind too. */
static const char *const colour[REPORT_COLUMNS] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"};

static void put_text(const char *s, FILE *to)
{
	for (; s && *s; s++) {
		switch (*s) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*s, to);
		}
	}
}

static void put_element(const char *name, const char *s, FILE *to)
{
	fprintf(to, "<%s>", name);
	put_text(s, to);
	fprintf(to, "</%s>\n", name);
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static const char *column_title(const json_t *section, size_t column)
{
	return json_string_value(json_array_get(json_object_get(section, "columns"), column));
}

/* --- Table -------------------------------------------------------------------------------------- */

/* Thousandths are the only values that are not whole. */
static int digits_of(const json_t *cell)
{
	return json_is_real(json_object_get(cell, "median")) ? 3 : 0;
}

static void put_cell(const json_t *cell, FILE *to)
{
	const json_t *ratio = json_object_get(cell, "ratio");
	const int digits = digits_of(cell);

	if (json_is_null(cell)) {
		fputs("<td>&#8211;</td>", to);
		return;
	}
	fprintf(to, "<td><b>%.*f</b> <small>[%.*f, %.*f]", digits, number(cell, "median"), digits,
		number(cell, "low"), digits, number(cell, "high"));
	if (json_object_get(cell, "p99"))
		fprintf(to, ", p99 %.*f", digits, number(cell, "p99"));
	fputs("</small>", to);
	if (ratio)
		fprintf(to, "<br/>&#215;%.3f <small>[%.3f, %.3f]</small>", number(ratio, "median"),
			number(ratio, "low"), number(ratio, "high"));
	fputs("</td>", to);
}

static void put_table(const json_t *section, FILE *to)
{
	const json_t *row, *cell, *column;
	size_t r, c;

	fputs("<table>\n<tr><th></th>", to);
	json_array_foreach (json_object_get(section, "columns"), c, column)
		put_element("th", json_string_value(column), to);
	fputs("</tr>\n", to);
	json_array_foreach (json_object_get(section, "rows"), r, row) {
		fputs("<tr><th>", to);
		put_text(text(row, "title"), to);
		fputs(", ", to);
		put_text(text(row, "unit"), to);
		fputs("</th>", to);
		json_array_foreach (json_object_get(row, "cells"), c, cell)
			put_cell(cell, to);
		fputs("</tr>\n", to);
	}
	fputs("</table>\n", to);
}

/* --- Bars --------------------------------------------------------------------------------------- */

/* The greatest value that has this unit. */
static double unit_top(const json_t *section, const char *unit)
{
	const json_t *row, *cell;
	double top = 0;
	size_t r, c;

	json_array_foreach (json_object_get(section, "rows"), r, row)
		if (!strcmp(text(row, "unit"), unit))
			json_array_foreach (json_object_get(row, "cells"), c, cell)
				if (number(cell, "high") > top)
					top = number(cell, "high");
	return top > 0 ? top : 1;
}

static void put_bar(const json_t *cell, double top, unsigned column, double y, FILE *to)
{
	const double scale = BAR_WIDTH / top, middle = y + BAR_HEIGHT / 2.0;
	const double low = LABEL_WIDTH + number(cell, "low") * scale,
		     high = LABEL_WIDTH + number(cell, "high") * scale;

	fprintf(to, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", LABEL_WIDTH, y,
		number(cell, "median") * scale, BAR_HEIGHT - 2, colour[column]);
	fprintf(to, "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fv6M%.1f %.1fv6\" stroke=\"#000\"/>\n", low,
		middle - 1, high, low, middle - 4, high, middle - 4);
	fprintf(to, "<text x=\"%.1f\" y=\"%.1f\">%.*f</text>\n", high + 5, y + BAR_HEIGHT - 3,
		digits_of(cell), number(cell, "median"));
}

static void put_legend(const json_t *section, FILE *to)
{
	const json_t *column;
	size_t c;

	fputs("<p>", to);
	json_array_foreach (json_object_get(section, "columns"), c, column) {
		fprintf(to, "<span style=\"color:%s\">&#9632;</span> ", colour[c % REPORT_COLUMNS]);
		put_text(json_string_value(column), to);
		fputs(" &#160; ", to);
	}
	fputs("</p>\n", to);
}

static void put_bars(const json_t *section, FILE *to)
{
	const json_t *rows = json_object_get(section, "rows"), *row, *cell;
	const size_t columns = json_array_size(json_object_get(section, "columns"));
	const size_t height = json_array_size(rows) * (columns * BAR_HEIGHT + 8) + 8;
	double y = 4;
	size_t r, c;

	fprintf(to, "<svg width=\"%d\" height=\"%zu\" role=\"img\">\n", LABEL_WIDTH + BAR_WIDTH + 90, height);
	json_array_foreach (rows, r, row) {
		const double top = unit_top(section, text(row, "unit"));

		fprintf(to, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LABEL_WIDTH - 8,
			y + (double)columns * BAR_HEIGHT / 2 + 4);
		put_text(text(row, "title"), to);
		fputs(", ", to);
		put_text(text(row, "unit"), to);
		fputs("</text>\n", to);
		json_array_foreach (json_object_get(row, "cells"), c, cell) {
			if (!json_is_null(cell))
				put_bar(cell, top, c % REPORT_COLUMNS, y, to);
			y += BAR_HEIGHT;
		}
		y += 8;
	}
	fputs("</svg>\n", to);
}

/* --- Distributions ------------------------------------------------------------------------------ */

struct axis {
	double low, high; /* logarithms */
};

static double axis_x(const struct axis *a, double value)
{
	double at = (log(value < 1 ? 1 : value) - a->low) / (a->high - a->low);

	return MARGIN + (at < 0 ? 0 : at > 1 ? 1 : at) * PLOT_WIDTH;
}

/* False if no cell of the row has a distribution. */
static bool row_axis(const json_t *row, struct axis *a)
{
	double low = 0, high = 0;
	const json_t *cell;
	size_t c;

	json_array_foreach (json_object_get(row, "cells"), c, cell) {
		const json_t *q = json_object_get(cell, "quantiles");
		double first = json_number_value(json_array_get(q, 0)),
		       last = json_number_value(json_array_get(q, REPORT_CDF - 1));

		if (!q)
			continue;
		low = low == 0 || first < low ? first : low;
		high = last > high ? last : high;
	}
	low = low < 1 ? 1 : low;
	high = high < low * 1.1 ? low * 1.1 : high;
	*a = (struct axis){log(low), log(high)};
	return high > 0 && low > 0 && high > 1.2;
}

static void put_curve(const json_t *quantiles, const struct axis *a, const char *stroke, FILE *to)
{
	const json_t *value;
	size_t i;

	fputs("<polyline fill=\"none\" stroke-width=\"1.6\" points=\"", to);
	json_array_foreach (quantiles, i, value)
		if (i < REPORT_CDF)
			fprintf(to, "%.1f,%.1f ", axis_x(a, json_number_value(value)),
				MARGIN + PLOT_HEIGHT * (1 - (double)i / REPORT_CDF));
	fprintf(to, "\" stroke=\"%s\"/>\n", stroke);
}

static void put_frame(const json_t *row, const struct axis *a, FILE *to)
{
	fprintf(to, "<svg width=\"%d\" height=\"%d\" role=\"img\">\n<text x=\"%d\" y=\"16\">",
		PLOT_WIDTH + 2 * MARGIN, PLOT_HEIGHT + 2 * MARGIN, MARGIN);
	put_text(text(row, "title"), to);
	fputs(", ", to);
	put_text(text(row, "unit"), to);
	fputs("</text>\n", to);
	for (int i = 0; i <= TICKS; i++) {
		double value = exp(a->low + (a->high - a->low) * i / TICKS), x = axis_x(a, value);
		double y = MARGIN + PLOT_HEIGHT * (1 - (double)i / TICKS);

		fprintf(to, "<path d=\"M%.1f %dV%d M%d %.1fH%d\" stroke=\"#ddd\"/>\n", x, MARGIN,
			MARGIN + PLOT_HEIGHT, MARGIN, y, MARGIN + PLOT_WIDTH);
		fprintf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x,
			MARGIN + PLOT_HEIGHT + 16, value);
		fprintf(to, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d%%</text>\n", MARGIN - 2, y + 4,
			100 * i / TICKS);
	}
}

static void put_distributions(const json_t *section, FILE *to)
{
	const json_t *row, *cell;
	struct axis axis;
	size_t r, c;

	json_array_foreach (json_object_get(section, "rows"), r, row) {
		if (!row_axis(row, &axis))
			continue;
		put_frame(row, &axis, to);
		json_array_foreach (json_object_get(row, "cells"), c, cell)
			if (json_object_get(cell, "quantiles"))
				put_curve(json_object_get(cell, "quantiles"), &axis,
					  colour[c % REPORT_COLUMNS], to);
		fputs("</svg>\n", to);
	}
}

/* --- Page --------------------------------------------------------------------------------------- */

static void put_section(const json_t *section, FILE *to)
{
	const json_t *note;
	json_int_t base = json_integer_value(json_object_get(section, "base"));
	size_t i;

	put_element("h2", text(section, "title"), to);
	put_element("p", text(section, "how"), to);
	put_table(section, to);
	if (base >= 0) {
		fputs("<p><small>&#215;: to ", to);
		put_text(column_title(section, (size_t)base), to);
		fputs(", the median of the rounds' ratios.</small></p>\n", to);
	}
	json_array_foreach (json_object_get(section, "notes"), i, note)
		put_element("p", json_string_value(note), to);
	put_legend(section, to);
	put_bars(section, to);
	put_distributions(section, to);
}

static void put_host(json_t *host, FILE *to)
{
	const char *key;
	json_t *value;

	fputs("<h2>Host</h2>\n<table>\n", to);
	json_object_foreach (host, key, value) {
		fputs("<tr><th>", to);
		put_text(key, to);
		fputs("</th><td class=\"text\">", to);
		put_text(json_string_value(value), to);
		fputs("</td></tr>\n", to);
	}
	fputs("</table>\n", to);
}

static void put_summary(const json_t *summary, FILE *to)
{
	const json_t *line;
	size_t i;

	if (!json_array_size(summary))
		return;
	fputs("<h2>Summary</h2>\n<table>\n", to);
	json_array_foreach (summary, i, line) {
		const int digits = digits_of(line);

		fputs("<tr><th>", to);
		put_text(text(line, "title"), to);
		fprintf(to, "</th><td><b>%.*f</b> <small>[%.*f, %.*f]</small> ", digits,
			number(line, "median"), digits, number(line, "low"), digits, number(line, "high"));
		put_text(text(line, "unit"), to);
		fputs("</td></tr>\n", to);
	}
	fputs("</table>\n", to);
}

int html_write(const json_t *report, FILE *to)
{
	const json_t *section;
	size_t i;

	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>dvmm-bench</title>\n<style>\n"
	      "body{font:14px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\n"
	      "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}\n"
	      "th{font-weight:normal;text-align:left;background:#f6f6f6}td.text{text-align:left;"
	      "white-space:pre-wrap}\nsvg{display:inline-block}svg text{font:11px sans-serif}\n"
	      "</style>\n</head>\n<body>\n<h1>What separating the devices costs</h1>\n"
	      "<p>Made by dvmm-bench. Each figure is the median of the rounds; in brackets an interval for it by "
	      "order statistics (its confidence is in the JSON report: at least 95 percent from 6 rounds on). "
	      "Distributions are of all rounds together.</p>\n",
	      to);
	put_host(json_object_get(report, "host"), to);
	put_summary(json_object_get(report, "summary"), to);
	json_array_foreach (json_object_get(report, "sections"), i, section)
		put_section(section, to);
	fputs("</body>\n</html>\n", to);
	return ferror(to) ? -1 : 0;
}

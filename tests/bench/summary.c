/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report on one screen: of what was measured, those figures that the question is about. */
#include "tests/bench/report.h"

#include <string.h>

/* A cell's ratio to the base where it has one, else its value. */
static const struct {
	const char *section, *row, *column, *title;
} lines[] = {
	{"latency", "PIO read", "same-cpu", "PIO read, same-cpu / in-process"},
	{"latency", "PIO write", "same-cpu", "PIO write, same-cpu / in-process"},
	{"latency", "MMIO read", "same-cpu", "MMIO read, same-cpu / in-process"},
	{"latency", "MMIO write", "same-cpu", "MMIO write, same-cpu / in-process"},
	{"latency", "PIO read", "spin", "PIO read, spin / in-process"},
	{"latency", "PIO write", "spin", "PIO write, spin / in-process"},
	{"latency", "MMIO read", "spin", "MMIO read, spin / in-process"},
	{"latency", "MMIO write", "spin", "MMIO write, spin / in-process"},
	{"latency", "PIO read: added / bare", "same-cpu",
	 "PIO read, same-cpu: added / bare futex round trip"},
	{"latency", "bare round trip, no VM", "same-cpu", "bare futex round trip, one CPU"},
	{"latency", "bare round trip, between two KVM_RUNs", "same-cpu",
	 "bare futex round trip, one CPU, between two KVM_RUNs"},
	{"latency", "PIO read: added / bare", "spin", "PIO read, spin: added / bare spin round trip"},
	{"latency", "UART line status, read", "same-cpu", "UART line status read, same-cpu / in-process"},
	{"latency", "UART data, write", "same-cpu", "UART data write, same-cpu / in-process"},
	{"latency", "virtio InterruptStatus, read", "same-cpu",
	 "virtio interrupt status read, same-cpu / in-process"},
	{"latency", "RTC index, write", "same-cpu", "RTC index write, same-cpu / in-process"},
	{"disk", "rate, depth 1", "same-cpu", "virtio-blk IOPS, depth 1, same-cpu / in-process"},
	{"disk", "rate, depth 32", "same-cpu", "virtio-blk IOPS, depth 32, same-cpu / in-process"},
	{"disk", "rate, depth 1", "spin", "virtio-blk IOPS, depth 1, spin / in-process"},
	{"disk", "rate, depth 32", "spin", "virtio-blk IOPS, depth 32, spin / in-process"},
	{"boot", "together", "same-cpu", "Linux, exec to init, same-cpu / in-process"},
	{"boot", "together", "spin", "Linux, exec to init, spin / in-process"},
	{"boot", "together", "all handed off", "Linux, exec to init, all handed off / in-process"},
	{"boot", "device operations", "same-cpu", "Linux, hand-offs in a boot"},
	{"boot", "device operations", "all handed off", "Linux, the same without publishing and posting"},
	{"startup", "exec to exit", "in-process", "exec to exit, in-process / bare KVM program"},
	{"startup", "exec to exit", "sandboxed", "exec to exit, sandboxed / bare KVM program"},
	{"startup", "exec to exit", "qemu", "exec to exit, QEMU microvm / bare KVM program"},
	{"memory", "together", "in-process", "PSS, in-process"},
	{"memory", "together", "sandboxed", "PSS, sandboxed, all processes"},
	{"memory", "a second VM adds", "sandboxed", "PSS that a second VM adds, sandboxed"},
	{"memory", "together", "qemu", "PSS, QEMU microvm"},
	{"operations", "processor time", "same-cpu", "processor time of an operation, same-cpu / in-process"},
	{"restart", "without a reply", "standby ready", "restart, standby ready"},
};

/* The element of an array of objects whose member is this text; its position in *at. */
static const json_t *find(const json_t *array, const char *member, const char *is, size_t *at)
{
	for (*at = 0; *at < json_array_size(array); ++*at) {
		const json_t *element = json_array_get(array, *at);
		const char *s = json_string_value(member ? json_object_get(element, member) : element);

		if (s && !strcmp(s, is))
			return element;
	}
	return NULL;
}

static const json_t *find_cell(const json_t *sections, size_t line, const char **unit)
{
	size_t at, column;
	const json_t *section = find(sections, "name", lines[line].section, &at);
	const json_t *row = find(json_object_get(section, "rows"), "title", lines[line].row, &at);

	if (!row || !find(json_object_get(section, "columns"), NULL, lines[line].column, &column))
		return NULL;
	*unit = json_string_value(json_object_get(row, "unit"));
	return json_array_get(json_object_get(row, "cells"), column);
}

json_t *summary_make(const json_t *sections)
{
	json_t *summary = json_array();

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		const char *unit = "";
		const json_t *cell = find_cell(sections, i, &unit), *ratio = json_object_get(cell, "ratio");
		const json_t *from = ratio ? ratio : cell;

		if (!cell || json_is_null(cell))
			continue;
		json_array_append_new(summary, json_pack("{ss sO sO sO ss}", "title", lines[i].title,
							 "median", json_object_get(from, "median"), "low",
							 json_object_get(from, "low"), "high",
							 json_object_get(from, "high"), "unit",
							 ratio ? "times" : unit));
	}
	return summary;
}

void summary_print(const json_t *summary, FILE *to)
{
	const json_t *line;
	size_t i;

	if (json_array_size(summary))
		fprintf(to, "\n%-54s %9s  %19s\n\n", "Summary", "median", "interval");
	json_array_foreach (summary, i, line) {
		const json_t *median = json_object_get(line, "median");
		const int digits = json_is_real(median) ? 3 : 0;

		fprintf(to, "%-54s %9.*f  %9.*f %9.*f  %s\n",
			json_string_value(json_object_get(line, "title")), digits, json_number_value(median),
			digits, json_number_value(json_object_get(line, "low")), digits,
			json_number_value(json_object_get(line, "high")),
			json_string_value(json_object_get(line, "unit")));
	}
}

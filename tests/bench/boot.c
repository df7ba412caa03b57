/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel's start, by way of running it, and how often it needs a device. */
#include "tests/bench/sections.h"

#include <unistd.h>

enum { HANDED_OFF = WAYS, BOOT_COLUMNS }; /* one column more */
enum {
	ROW_EXEC,
	ROW_SANDBOX,
	ROW_LOAD,
	ROW_KERNEL,
	ROW_INIT,
	ROW_ALL,
	ROW_OPERATIONS,
	ROW_PUBLISHED,
	ROW_POSTED,
};

static json_int_t sum(const json_t *vcpus, const char *key)
{
	const json_t *vcpu;
	json_int_t all = 0;
	size_t i;

	json_array_foreach (vcpus, i, vcpu)
		all += json_integer_value(json_object_get(vcpu, key));
	return all;
}

static void counts_add(const struct plan *p, struct section *s, unsigned column)
{
	json_t *stats = json_load_file(p->stats, 0, NULL);
	const json_t *vcpus = json_object_get(stats, "vcpus");

	if (json_array_size(vcpus)) {
		cell_value(&s->cell[ROW_OPERATIONS][column], (uint64_t)sum(vcpus, "operations"));
		if (p->shortcuts) {
			cell_value(&s->cell[ROW_PUBLISHED][column], (uint64_t)sum(vcpus, "published"));
			cell_value(&s->cell[ROW_POSTED][column], (uint64_t)sum(vcpus, "posted"));
		}
	} else {
		section_note(s, "dvmm left no statistics");
	}
	json_decref(stats);
	unlink(p->stats);
}

static void phases_add(struct section *s, unsigned column, const struct start *t)
{
	const uint64_t sandbox = t->sandbox ? t->sandbox : t->exec;

	if (column != QEMU) {
		cell_value(&s->cell[ROW_EXEC][column], t->exec);
		if (t->sandbox)
			cell_value(&s->cell[ROW_SANDBOX][column], t->sandbox - t->exec);
		if (t->vcpu > sandbox) {
			cell_value(&s->cell[ROW_LOAD][column], t->vcpu - sandbox);
			cell_value(&s->cell[ROW_KERNEL][column], t->first - t->vcpu);
		}
	}
	cell_value(&s->cell[ROW_INIT][column], t->until - t->first);
	cell_value(&s->cell[ROW_ALL][column], t->until);
}

static int boot(const struct plan *p, struct section *s, unsigned column)
{
	const enum way way = column == HANDED_OFF ? SAME_CPU : (enum way)column;
	struct start t;

	if (!start_watch(way_boot_argv(p, way, column == HANDED_OFF, way == QEMU ? NULL : p->stats),
			 p->boot_until, 0, &t)) {
		phases_add(s, column, &t);
		if (way != QEMU)
			counts_add(p, s, column);
		return 0;
	}
	if (way == QEMU) {
		section_qemu_failed(s, t.complaint);
		return 0;
	}
	fprintf(stderr, "dvmm-bench: boot, %s: no \"%s\": %s\n", way_title[way], p->boot_until, t.complaint);
	return -1;
}

static bool column_possible(const struct plan *p, const struct section *s, unsigned column)
{
	return column == HANDED_OFF ? p->shortcuts : way_still_possible(p, s, (enum way)column);
}

json_t *section_boot(const struct plan *p)
{
	struct section *s = &(struct section){
		.name = "boot",
		.title = "A kernel's start",
		.how = "From before exec to the text that announces init, seen from outside: the end of the exec; the "
		       "emulator confined; the vCPU's thread started (the kernel is loaded in between; these two are "
		       "looked for in /proc every millisecond or so); the console's first character; the text. Hand-offs: dvmm --stats. "
		       "One vCPU, 512 MiB.",
		.base = IN_PROCESS,
		.columns = BOOT_COLUMNS,
		.column = {way_title[0], way_title[1], way_title[2], way_title[3], "all handed off"},
	};
	static const char *const title[] = {
		"exec", "sandbox", "load", "kernel, to first character", "kernel, to init", "together"};

	for (unsigned i = 0; i < sizeof(title) / sizeof(title[0]); i++)
		section_row(s, title[i], "us");
	section_row_count(s, "device operations", "handed off");
	if (p->shortcuts) {
		section_row_count(s, "published reads", "not handed off");
		section_row_count(s, "posted writes", "not waited for");
	}
	for (unsigned round = 0; round < p->boot_rounds; round++) {
		progress("boot", round, p->boot_rounds);
		for (unsigned i = 0; i < s->columns; i++) {
			const unsigned column = (i + round) % s->columns;

			if (column_possible(p, s, column) && boot(p, s, column))
				return NULL;
		}
	}
	section_note(s,
		     p->shortcuts
			     ? "all handed off: same-cpu with --published off --posted off"
			     : "this dvmm has no --published and no --posted: every operation is handed off");
	if (!p->qemu)
		section_note(s, "QEMU was not compared");
	if (p->boot_rounds < 6)
		section_note(s, "few boots: intervals are wide, and differences may be the host's");
	return section_json(s);
}

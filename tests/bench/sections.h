/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What dvmm-bench measures, and by which command lines. */
#ifndef DVMM_BENCH_SECTIONS_H
#define DVMM_BENCH_SECTIONS_H

#include "tests/bench/bench.h"
#include "tests/bench/report.h"

struct plan {
	struct bench bench;
	const char *qemu; /* path of qemu-system-x86_64, or NULL: it is not compared with */
	const char *kernel, *initrd, *cmdline, *boot_until; /* kernel NULL: none is booted */
	unsigned rounds, kills, samples, load_ms, boot_rounds;
	bool spin;                /* the hand-off by spinning can be measured */
	bool shortcuts;           /* this dvmm has --published and --posted */
	const char *disk, *stats; /* files that may be made */
};

#define QEMU_DONE 1 /* isa-debug-exit: 2 * 0 + 1 */

/* --- ways.c ------------------------------------------------------------------------------------- */

/* The ways a guest is run, as columns. */
enum way { IN_PROCESS, SAME_CPU, SPIN, QEMU, WAYS };
extern const char *const way_title[WAYS];

/* Whether the host and the command line allow it. */
bool way_possible(const struct plan *p, enum way way);

/* The same until section_qemu_failed(), which notes why. */
bool way_still_possible(const struct plan *p, const struct section *s, enum way way);
void section_qemu_failed(struct section *s, const char *complaint);

/* The columns of a section, with a note if the host has none for spin. */
void section_ways(struct section *s, const struct plan *p);

/*
 * The command line that runs a payload that way, on one vCPU; ends with NULL. disk: an image, or NULL.
 * Strings are in storage that the next call overwrites.
 */
const char *const *way_argv(const struct plan *p, enum way way, const char *payload, const char *words,
			    const char *disk);

/* The same for the kernel that is booted; handed_off: without --published and --posted; stats: a file, or
 * NULL. */
const char *const *way_boot_argv(const struct plan *p, enum way way, bool handed_off, const char *stats);

/* Whether `dvmm --help` has the word. */
bool dvmm_has(const struct plan *p, const char *option);

/* "what: round 2 of 11" on standard error. */
void progress(const char *what, unsigned round, unsigned rounds);

/* --- start.c: the steps of a start -------------------------------------------------------------- */

/* Times since before exec, in us; 0: not seen. */
struct start {
	uint64_t exec, sandbox, vcpu, first, until;
	char complaint[200]; /* why it failed */
};

/*
 * Runs it until its console has said the text (or, if that is NULL, has ended by itself with that status),
 * then ends it with SIGTERM. -1 if it did not get there, with the reason in start->complaint and nothing
 * printed.
 */
int start_watch(const char *const argv[], const char *until, int want_status, struct start *start);

/* --- Sections: each returns itself as JSON, or NULL after a line on stderr ---------------------- */

json_t *section_pingpong(const struct plan *p);
json_t *section_latency(const struct plan *p);
json_t *section_startup(const struct plan *p);
json_t *section_memory(const struct plan *p);
json_t *section_restart(const struct plan *p);
json_t *section_operations(const struct plan *p);
json_t *section_disk(const struct plan *p);
json_t *section_boot(const struct plan *p);

struct section_entry {
	const char *name;
	json_t *(*run)(const struct plan *p);
};
#define SECTION_COUNT 8u
extern const struct section_entry section_table[SECTION_COUNT]; /* in the order of the report */

/* --- host.c ------------------------------------------------------------------------------------- */

/* An object of texts. */
json_t *host_facts(const struct plan *p, bool against_qemu);
void host_print(json_t *host);

/* --- rig.c -------------------------------------------------------------------------------------- */

/*
 * Runs this program, of the build directory `here`, again in the software KVM host, with these arguments
 * (NULL at the end) and a kernel to boot. json, html: where the report goes. Returns its exit status, or 2
 * after a line on stderr. initrd: a file that may be made.
 */
int rig_run(const char *here, const char *const arguments[], const char *initrd, bool qemu, const char *json,
	    const char *html);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm-bench: what the separation costs on this host. Runs the sections one after another, prints each when
 * it is done, and leaves the report as JSON and as a page.
 *
 * In a build directory it measures what was built there, else what is installed.
 */
#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/options.h"

const struct section_entry section_table[SECTION_COUNT] = {
	{"pingpong", section_pingpong},     {"latency", section_latency}, {"startup", section_startup},
	{"memory", section_memory},         {"restart", section_restart}, {"disk", section_disk},
	{"operations", section_operations}, {"boot", section_boot},
};

/* --- Where things are --------------------------------------------------------------------------- */

static char here[PATH_MAX], dvmm_path[PATH_MAX], bare_path[PATH_MAX], guests_path[PATH_MAX];

static void find_programs(struct bench *b)
{
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 64);
	char *slash;

	here[n > 0 ? n : 0] = '\0';
	slash = strrchr(here, '/');
	if (slash)
		*slash = '\0';
	snprintf(dvmm_path, sizeof(dvmm_path), "%.*s/dvmm", PATH_MAX - 64, here);
	snprintf(bare_path, sizeof(bare_path), "%.*s/tests/bench/bare_kvm", PATH_MAX - 64, here);
	snprintf(guests_path, sizeof(guests_path), "%.*s/tests/guests", PATH_MAX - 64, here);
	if (access(bare_path, X_OK)) { /* installed */
		snprintf(bare_path, sizeof(bare_path), "%s/bare_kvm", PKGLIBEXECDIR);
		snprintf(guests_path, sizeof(guests_path), "%s", PKGDATADIR);
	}
	*b = (struct bench){.dvmm = dvmm_path, .bare_kvm = bare_path, .guests = guests_path};
}

/* Everything that is needed, or one line about what is not there. */
static bool programs_complete(const struct bench *b)
{
	static const char *const guests[] = {"blk_speed", "latency", "load", "reset"};
	char path[PATH_MAX + 32];

	if (access(b->dvmm, X_OK) || access(b->bare_kvm, X_OK)) {
		fprintf(stderr, "dvmm-bench: %s: %s\n", access(b->dvmm, X_OK) ? b->dvmm : b->bare_kvm,
			strerror(errno));
		return false;
	}
	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s.elf", b->guests, guests[i]);
		if (access(path, R_OK)) {
			fprintf(stderr, "dvmm-bench: %s: %s\n", path, strerror(errno));
			return false;
		}
	}
	return true;
}

static const char *find_qemu(void)
{
	static const char *const paths[] = {"/usr/bin/qemu-system-x86_64",
					    "/usr/local/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (!access(paths[i], X_OK))
			return paths[i];
	return NULL;
}

/* --- Sections ----------------------------------------------------------------------------------- */

static bool wanted(const char *name, char **names)
{
	bool any = *names != NULL;

	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return !any;
}

/* Those that fail are named in the report. */
static void run_sections(const struct plan *p, json_t *report, char **names)
{
	json_t *done = json_object_get(report, "sections"), *failed = json_object_get(report, "failed");

	for (size_t i = 0; i < SECTION_COUNT; i++) {
		json_t *section;

		if (!wanted(section_table[i].name, names))
			continue;
		if (section_table[i].run == section_boot && !p->kernel) {
			printf("\nboot is left out: no --kernel was given\n");
			continue;
		}
		section = section_table[i].run(p);
		if (section) {
			section_print(section, stdout);
			json_array_append_new(done, section);
		} else {
			fprintf(stderr, "dvmm-bench: %s failed\n", section_table[i].name);
			json_array_append_new(failed, json_string(section_table[i].name));
		}
		fflush(stdout);
	}
}

/* --- The report's files, opened before anything is measured ------------------------------------- */

struct output {
	const char *path;
	FILE *file;
	bool created; /* by us: goes away again if there is nothing to put in */
};

static bool output_open(struct output *o)
{
	o->created = access(o->path, F_OK) != 0;
	o->file = fopen(o->path, "ae"); /* what is there stays until there is something new */
	if (!o->file)
		fprintf(stderr, "dvmm-bench: %s: %s\n", o->path, strerror(errno));
	return o->file != NULL;
}

static bool output_write(struct output *o, const json_t *report, int (*write_it)(const json_t *, FILE *))
{
	bool done = !ftruncate(fileno(o->file), 0) && !write_it(report, o->file) && !fflush(o->file);

	if (fclose(o->file))
		done = false;
	if (!done)
		fprintf(stderr, "dvmm-bench: %s: %s\n", o->path, strerror(errno));
	return done;
}

static void output_abandon(const struct output *o)
{
	struct stat file;

	if (o->created && !stat(o->path, &file) && !file.st_size)
		unlink(o->path);
}

static int json_write(const json_t *report, FILE *to)
{
	return json_dumpf(report, to, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
}

/* --- All of it ---------------------------------------------------------------------------------- */

static char scratch[PATH_MAX], disk[PATH_MAX + 8], stats[PATH_MAX + 8], initrd[PATH_MAX + 8];

static bool scratch_make(const struct output *json, const struct output *html)
{
	static const char *paths[] = {disk, stats, initrd, scratch, NULL, NULL, NULL};
	const char *folder = getenv("TMPDIR");
	unsigned n = 4;

	snprintf(scratch, sizeof(scratch), "%.*s/dvmm-bench-XXXXXX", PATH_MAX - 32,
		 folder && *folder ? folder : "/tmp");
	if (!mkdtemp(scratch)) {
		fprintf(stderr, "dvmm-bench: %s: %s\n", scratch, strerror(errno));
		return false;
	}
	snprintf(disk, sizeof(disk), "%s/disk", scratch);
	snprintf(stats, sizeof(stats), "%s/stats", scratch);
	snprintf(initrd, sizeof(initrd), "%s/initrd", scratch);
	if (json->created)
		paths[n++] = json->path;
	if (html->created)
		paths[n++] = html->path;
	child_signals_init(paths);
	return true;
}

static void scratch_remove(void)
{
	unlink(disk);
	unlink(stats);
	unlink(initrd);
	rmdir(scratch);
}

static int measure(struct choice *c, struct output *json, struct output *html)
{
	json_t *report;
	bool all;

	c->plan.disk = disk;
	c->plan.stats = stats;
	c->plan.shortcuts = dvmm_has(&c->plan, "--published") && dvmm_has(&c->plan, "--posted");
	report = json_pack("{so s[] s[] s[]}", "host", host_facts(&c->plan, c->against_qemu), "failed",
			   "summary", "sections");
	host_print(json_object_get(report, "host"));
	run_sections(&c->plan, report, c->names);
	json_object_set_new(report, "summary", summary_make(json_object_get(report, "sections")));
	summary_print(json_object_get(report, "summary"), stdout);
	all = !json_array_size(json_object_get(report, "failed"));
	if (output_write(json, report, json_write) & output_write(html, report, html_write))
		printf("\nReport: %s and %s\n", html->path, json->path);
	else
		all = false;
	json_decref(report);
	return all ? 0 : 1;
}

/* Whether this host can do it at all. */
static bool host_ready(struct choice *c)
{
	if (!c->rig && access("/dev/kvm", R_OK | W_OK)) {
		fprintf(stderr, "dvmm-bench: /dev/kvm: %s\n", strerror(errno));
		return false;
	}
	if (c->against_qemu && !(c->plan.qemu = find_qemu()))
		fprintf(stderr, "dvmm-bench: qemu-system-x86_64 is not installed: going on without it\n");
	return true;
}

int main(int argc, char **argv)
{
	struct output json, html;
	struct choice c;
	int status = 2;

	if (!options_parse(&c, argc, argv)) {
		fprintf(stderr, "dvmm-bench: see dvmm-bench --help\n");
		return 1;
	}
	if (c.says_only)
		return 0;
	find_programs(&c.plan.bench);
	if (c.other_dvmm)
		c.plan.bench.dvmm = c.other_dvmm;
	if (!programs_complete(&c.plan.bench))
		return 1;
	if (!host_ready(&c))
		return 2;
	json = (struct output){.path = c.json};
	html = (struct output){.path = c.html};
	if (!output_open(&json) || !output_open(&html)) {
		output_abandon(&json);
		return 1;
	}
	if (scratch_make(&json, &html)) {
		status = c.rig ? rig_run(here, c.passed_on, initrd, c.plan.qemu != NULL, c.json, c.html)
			       : measure(&c, &json, &html);
		scratch_remove();
	}
	output_abandon(&json);
	output_abandon(&html);
	return status;
}

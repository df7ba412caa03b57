/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm-bench --rig: the same program once more in the software KVM host of tests/rig, where ring 0 of a guest
 * is not emulated by KVM and a stock kernel boots in seconds. Times there count what QEMU's TCG executes:
 * only their ratios mean anything. The rig's scripts and its kernel belong to the source tree, so this is for
 * build directories only, which know their source tree from their Makefile.
 */
#include "tests/bench/sections.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRIPT_LIMIT_MS 600000

static int complain(const char *what, const char *why)
{
	fprintf(stderr, "dvmm-bench: --rig: %s: %s\n", what, why);
	return 2;
}

/* The source tree that this build directory was configured from. */
static int find_source(const char *here, char source[PATH_MAX])
{
	char path[PATH_MAX], line[PATH_MAX];
	FILE *makefile;

	*source = '\0';
	snprintf(path, sizeof(path), "%s/Makefile", here);
	makefile = fopen(path, "re");
	while (makefile && fgets(line, sizeof(line), makefile))
		if (sscanf(line, "abs_top_srcdir = %4095s", source) == 1)
			break;
	if (makefile)
		fclose(makefile);
	snprintf(path, sizeof(path), "%s/tests/rig/run", source);
	return *source && !access(path, X_OK) ? 0 : -1;
}

/* Runs a script; the line that it prints, at most PATH_MAX bytes, if a buffer is given. */
static int script(const char *const argv[], char *line)
{
	struct child child;
	size_t n = 0;
	int status;

	if (child_start(&child, argv, line != NULL))
		return -1;
	while (line && n < PATH_MAX - 1 && !child_read(&child, &line[n], 1, SCRIPT_LIMIT_MS) &&
	       line[n] != '\n')
		n++;
	if (line)
		line[n] = '\0';
	status = child_end(&child, SCRIPT_LIMIT_MS);
	return status ? complain(argv[0], *child.complaint ? child.complaint : "failed") : 0;
}

/* Debian's kernel, and an initramfs that goes with it. */
static int prepare(const char *source, char kernel[PATH_MAX], const char *initrd)
{
	char get[PATH_MAX + 32], make[PATH_MAX + 64], folder[PATH_MAX];
	const char *const get_argv[] = {get, NULL};
	const char *const make_argv[] = {make, "--kernel", folder, initrd, NULL};

	snprintf(get, sizeof(get), "%s/tests/rig/kernel", source);
	snprintf(make, sizeof(make), "%s/tests/guests/linux/mkinitramfs", source);
	if (script(get_argv, folder) || script(make_argv, NULL))
		return -1;
	return snprintf(kernel, PATH_MAX, "%s/vmlinuz", folder) < PATH_MAX ? 0 : -1;
}

struct words {
	const char *argv[96];
	unsigned n;
};

static void put(struct words *w, const char *option, const char *value)
{
	if (w->n + 3 > sizeof(w->argv) / sizeof(w->argv[0]))
		return;
	w->argv[w->n++] = option;
	if (value)
		w->argv[w->n++] = value;
	w->argv[w->n] = NULL;
}

/* What QEMU in the rig needs besides its libraries; those that this QEMU does not have are left out. */
static void put_qemu(struct words *w)
{
	static const char *const files[] = {"/usr/bin/qemu-system-x86_64", "/usr/share/qemu/bios-microvm.bin",
					    "/usr/share/qemu/linuxboot_dma.bin", "/usr/share/qemu/pvh.bin",
					    "/usr/share/seabios/bios-microvm.bin"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!access(files[i], R_OK))
			put(w, "--add", files[i]);
}

int rig_run(const char *here, const char *const arguments[], const char *initrd, bool qemu, const char *json,
	    const char *html)
{
	static const char *const needed[] = {"tests/bench/bare_kvm", "tests/guests/blk_speed.elf",
					     "tests/guests/latency.elf", "tests/guests/load.elf",
					     "tests/guests/reset.elf"};
	static char source[PATH_MAX], kernel[PATH_MAX], run[PATH_MAX + 32], self[PATH_MAX + 32];
	static char file[sizeof(needed) / sizeof(needed[0])][PATH_MAX + 32], out[2][2 * PATH_MAX];
	static struct words w;
	int status;
	pid_t pid;

	if (find_source(here, source))
		return complain(here, "not a build directory; the software KVM host comes with the sources");
	if (prepare(source, kernel, initrd))
		return 2;
	snprintf(run, sizeof(run), "%s/tests/rig/run", source);
	snprintf(self, sizeof(self), "%s/dvmm-bench", here);
	snprintf(out[0], sizeof(out[0]), "/tmp/report.json:%s", json);
	snprintf(out[1], sizeof(out[1]), "/tmp/report.html:%s", html);
	put(&w, run, NULL);
	put(&w, "--cpus", "4");
	put(&w, "--mem", "3072");
	put(&w, "--timeout", "3000");
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		snprintf(file[i], sizeof(file[i]), "%s/%s", here, needed[i]);
		put(&w, "--add", file[i]);
	}
	put(&w, "--add", kernel);
	put(&w, "--add", initrd);
	if (qemu)
		put_qemu(&w);
	put(&w, "--out", out[0]);
	put(&w, "--out", out[1]);
	put(&w, "--", self);
	put(&w, "--kernel", kernel);
	put(&w, "--initrd", initrd);
	put(&w, "--cmdline", "console=ttyS0 dvmm.run=none");
	put(&w, "--json", "/tmp/report.json");
	put(&w, "--html", "/tmp/report.html");
	/* The rig's processors share one of this machine's. */
	put(&w, "--no-spin", NULL);
	for (; *arguments; arguments++)
		put(&w, *arguments, NULL);
	setenv("DVMM_BUILD", here, 1);
	if (child_spawn(&pid, w.argv, STDOUT_FILENO, STDERR_FILENO))
		return 2;
	status = child_wait(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
	if (!status)
		printf("which are here %s and %s\n", html, json);
	return status;
}

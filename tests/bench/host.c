/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a reader has to know of the host to make sense of the figures. */
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/sections.h"

/* What a program prints, without the last newline; it may be nothing. */
static void add_output(json_t *host, const char *key, const char *program, const char *option,
		       bool first_line)
{
	const char *const argv[] = {program, option, NULL};
	static char text[8192];
	struct child child;
	size_t n = 0;

	if (child_start(&child, argv, true))
		return;
	while (n < sizeof(text) - 1 && !child_read(&child, &text[n], 1, 5000) &&
	       (text[n] != '\n' || !first_line))
		n++;
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	child_end(&child, 5000);
	json_object_set_new(host, key, json_string(text));
}

/* The value of the first line of the file that begins with the word. */
static void add_line(json_t *host, const char *key, const char *path, const char *word)
{
	char line[512], *value;
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, word, strlen(word)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		value = *word ? strchr(line, ':') : line;
		value = value && *word ? value + 1 : value;
		json_object_set_new(host, key, json_string(value ? value + strspn(value, " \t") : line));
		break;
	}
	if (file)
		fclose(file);
}

__attribute__((format(printf, 3, 4))) static void add_text(json_t *host, const char *key, const char *format,
							   ...)
{
	va_list list;

	va_start(list, format);
	json_object_set_new(host, key, json_vsprintf(format, list));
	va_end(list);
}

void host_print(json_t *host)
{
	const char *key;
	json_t *value;

	json_object_foreach (host, key, value)
		printf("%-20s %s\n", key, json_string_value(value));
}

json_t *host_facts(const struct plan *p, bool against_qemu)
{
	json_t *host = json_object();
	const time_t now = time(NULL);
	struct utsname name;
	char date[64];
	cpu_set_t set;

	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", gmtime(&now));
	add_text(host, "date", "%s", date);
	if (!uname(&name))
		add_text(host, "kernel", "%s %s", name.release, name.version);
	add_line(host, "processor", "/proc/cpuinfo", "model name");
	if (!sched_getaffinity(0, sizeof(set), &set))
		add_text(host, "CPUs", "%d allowed of %ld", CPU_COUNT(&set), sysconf(_SC_NPROCESSORS_ONLN));
	add_text(host, "TSC", "%.1f MHz (measured)", tsc_mhz());
	add_line(host, "memory", "/proc/meminfo", "MemTotal");
	add_line(host, "load at the start", "/proc/loadavg", "");
	add_output(host, "dvmm", p->bench.dvmm, "--version", true);
	add_output(host, "dvmm --check-host", p->bench.dvmm, "--check-host", false);
	if (p->qemu)
		add_output(host, "QEMU", p->qemu, "--version", true);
	else
		add_text(host, "QEMU", "%s",
			 against_qemu ? "not compared: not installed" : "not compared: no --against qemu");
	add_text(host, "rounds", "%u, of %u samples", p->rounds, p->samples);
	return host;
}

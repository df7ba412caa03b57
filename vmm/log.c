/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static enum log_level shown = LOG_WARN;

void log_set_level(enum log_level level) { shown = level; }

int log_level_parse(const char *name)
{
	for (int i = 0; i <= LOG_DEBUG; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

void log_message(enum log_level level, const char *format, ...)
{
	char line[512];
	va_list args;
	int n, more;

	if (level > shown)
		return;
	/* Errors speak for themselves; what is less than an error says so. */
	n = snprintf(line, sizeof(line), level == LOG_ERROR ? "dvmm: " : "dvmm: %s: ", names[level]);
	va_start(args, format);
	more = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (more < 0)
		return;
	n = n + more < (int)sizeof(line) - 1 ? n + more : (int)sizeof(line) - 2;
	/* A file's name, or the emulator's words, may hold line feeds and terminal escapes. A message is one line of text. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* there is nowhere left to complain to */
}

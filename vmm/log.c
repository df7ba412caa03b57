/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 200

static const char *const names[] = {"error", "warn", "info", "debug"};
static enum log_level shown = LOG_WARN;

void log_set_level(enum log_level level)
{
	shown = level;
}

int log_level_parse(const char *name)
{
	for (int i = 0; i <= LOG_DEBUG; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

/*
 * A guest can cause messages, and nobody need read them: a thread that waited in write() would keep the
 * watchdog's lock, and the machine would obey no signal any more. So a message that standard error does not
 * take now is dropped; an error, the last word, waits a while. A pipe that is ready takes PIPE_BUF bytes,
 * more than a line has; the lock keeps it so.
 */
static void write_line(enum log_level level, const char *line, size_t bytes)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

	pthread_mutex_lock(&lock);
	if (poll(&ready, 1, level == LOG_ERROR ? PATIENCE_MS : 0) == 1 &&
	    write(STDERR_FILENO, line, bytes) < 0)
		ready.revents = 0; /* there is nowhere left to complain to */
	pthread_mutex_unlock(&lock);
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
	/* A file's name, or the emulator's words, may hold line feeds and terminal escapes. A message is one
	 * line of text. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	write_line(level, line, (size_t)n);
}

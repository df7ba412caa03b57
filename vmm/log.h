/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for the operator, on standard error, one line each: "dvmm: level: text".
 * Any thread; a line is written by one write(2), so lines do not mix.
 */
#ifndef DVMM_VMM_LOG_H
#define DVMM_VMM_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* The least important level that is still shown. Set once, before threads start. */
void log_set_level(enum log_level level);

/* "error", "warn", "info" or "debug" -> level, or -1. */
int log_level_parse(const char *name);

void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_message(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)

#endif

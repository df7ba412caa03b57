/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a function of the privileged process says why it could not do its work: the exit status that dvmm
 * should end with and one line that names the file or option, the cause and the way out. Whoever meets the
 * failure writes it; main() prints it.
 */
#ifndef DVMM_VMM_FAILURE_H
#define DVMM_VMM_FAILURE_H

struct failure {
	int status; /* enum exit_status; 0: none */
	char text[512];
};

/* Fills f and returns -1, so that callers can `return fail_with(f, ...)`. */
int fail_with(struct failure *f, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif

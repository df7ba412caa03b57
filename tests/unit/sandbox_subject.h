/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the sandbox put into it: the test program itself, which sandbox_spawn() starts as the emulator with
 * a word that says what to try. Tests run as they are and, started by root, as an ordinary user too.
 */
#ifndef DVMM_TESTS_UNIT_SANDBOX_SUBJECT_H
#define DVMM_TESTS_UNIT_SANDBOX_SUBJECT_H

#include <check.h>
#include <stdbool.h>
#include <sys/types.h>

#include "seccomp/spawn.h"

#define FD_READY 8 /* eventfd, FILTER_FIRST_EVENT: the emulator says that it is sandboxed */
#define FD_NEVER 9 /* eventfd that never rings */

/* What a start has left to say. */
extern char start_error[SANDBOX_ERROR_BYTES];

/* At the beginning of main(): does not return in the emulator. */
void be_emulator(int argc, char **argv);

/* At its end: each test in a process of its own, whatever the environment says, because tests change who they are.
 * Returns the exit status. */
int run_in_children(TCase *tests, const char *name);

/* Starts it, and waits until it runs. -errno, with start_error[]: it does not. */
int start(const char *what, const struct sandbox_descriptor *descriptors, unsigned count, struct sandbox_child *child);

/* Starts the emulator and returns its exit status, or 128 + the signal that ended it. */
int run(const char *what, const struct sandbox_descriptor *descriptors, unsigned count);

/* One that is in its sandbox, filter and all, and waits to be looked at. */
struct sandbox_child hold(void);

/* Loop index 0: as we were started. 1: as an ordinary user, if we can become one. False: nothing to test. */
bool become(int index);

/* The value of a line of /proc/PID/status, until the next call. */
const char *status_of(pid_t pid, const char *name);

#endif

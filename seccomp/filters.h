/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System call filters: one for the emulator, one for each kind of thread of dvmm.
 *
 * The rules are tables (filter_rules.c): a line per system call, what its arguments must be, who needs it. In the
 * emulator a call that is not in the table kills the process. In dvmm it raises SIGSYS, whose handler puts
 * the terminal right and ends the process.
 *
 * libseccomp translates them when dvmm is built (filter_generate.c). filter_build() copies the result and puts in
 * the two numbers that are known only at run time.
 *
 * The emulator has one filter for all its threads, which one of them installs for all (filter_load_process()): who has taken
 * over one thread can write to the stacks of the others, so what a thread may do, each of them may. dvmm's threads do
 * not run what a guest has written, and differ in their descriptors; each calls filter_load() for itself, and that all
 * have is for the caller to make sure, by a barrier behind it.
 *
 * What the rules ask of the code of a filtered thread:
 *   - emulator: waits by futex(2) have no timeout; reads and writes are of 8 bytes on the eventfds; clocks are
 *     CLOCK_REALTIME and CLOCK_MONOTONIC; getrandom() has no flags; a thread ends by syscall(SYS_exit) or
 *     _exit(), never by returning from its start function (the C library would give back its stack first).
 *     Mutexes and barriers are fine, condition variables are not; no malloc, no stdio;
 *   - vCPU threads: no malloc, no stdio but dprintf(); they may return.
 */
#ifndef DVMM_SECCOMP_FILTERS_H
#define DVMM_SECCOMP_FILTERS_H

#include <linux/filter.h>
#include <stdint.h>

enum filter_kind {
	FILTER_EMULATOR, /* all threads of the emulator */
	FILTER_VCPU,     /* dvmm, vCPU threads */
	FILTER_MAIN,     /* dvmm, main thread (and those of its kind: watchdog, console) */
	FILTER_KINDS
};

/* The emulator's descriptors that rules are about have fixed numbers: the io_uring, the lowest number, since there is no
 * standard input, and eventfds, from ... to; whatever else has had a number in there is closed by then. */
#define FILTER_RING        0
#define FILTER_FIRST_EVENT 8
#define FILTER_LAST_EVENT  127

/* Stand for a vCPU and for a process, in filters as they are generated: numbers that neither can have. */
#define FILTER_SOME_VCPU    0x7fffff01
#define FILTER_SOME_PROCESS 0x7fffff02

#define FILTER_MAX_INSTRUCTIONS 256

struct filter {
	uint16_t length;
	struct sock_filter code[FILTER_MAX_INSTRUCTIONS];
};

/* Makes the filter of a kind for this process; of VCPU, for the thread of this vCPU. */
void filter_build(struct filter *filter, enum filter_kind kind, int vcpu_fd);

/* The calling thread sets no_new_privs and obeys the filter from now on. 0 or -errno. */
int filter_load(const struct filter *filter);

/* The same for all threads of the process, or none. -ESRCH: one of them has a filter already. */
int filter_load_process(const struct filter *filter);

/* What a rule asks of one argument: (argument & mask) == value. */
struct filter_argument {
	uint8_t index;
	uint64_t mask, value;
};

/* What argument 0 may be. */
enum filter_first {
	FILTER_ANY = 0,
	FILTER_EVENT_FD, /* FILTER_FIRST_EVENT .. FILTER_LAST_EVENT */
	FILTER_RING_FD,  /* FILTER_RING */
	FILTER_VCPU_FD,  /* this thread's vCPU */
	FILTER_SELF,     /* this process's id */
};

#define FILTER_ARGUMENTS 3

struct filter_rule {
	int syscall;
	enum filter_first first;
	struct filter_argument argument[FILTER_ARGUMENTS]; /* unused: mask 0 */
	const char *why;
};

/* The table of a kind; a call with several rules passes if one of them fits. */
const struct filter_rule *filter_rules(enum filter_kind kind, unsigned *count);

/* How many different system calls the kinds in the mask (1 << kind | ...) may use between them. */
unsigned filter_syscalls(unsigned kinds);

#endif

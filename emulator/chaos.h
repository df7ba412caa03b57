/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chaos device: a guest's write makes the emulator do whatever an emulator must not do. For tests of what
 * dvmm does about it; present only with --chaos, and never in dvmm's own process.
 *
 * There is one for each vCPU, up to CHAOS_DEVICES, so that several can be stuck at once; the first has a line.
 *
 * Two registers of 32 bits. Accesses of another size read as all ones and do nothing.
 *
 *   CHAOS_COMMAND  write: bits 7:0 an action, bits 31:8 its argument ARG. It completes when the action has.
 *                  read: how many commands have ever been begun; outlives an operation that did not happen.
 *   CHAOS_COUNTER  read: how many commands have been committed, part of the state; write: sets it.
 *
 * So a command that was begun twice and has happened once shows as 2 and 1, one completed by force as 1 and 0.
 */
#ifndef DVMM_EMULATOR_CHAOS_H
#define DVMM_EMULATOR_CHAOS_H

#include "emulator/core.h"

#define CHAOS_COMMAND 0u
#define CHAOS_COUNTER 4u

enum chaos_action {
	CHAOS_COUNT = 0,       /* nothing but being counted */
	CHAOS_SPIN_MS,         /* computes for ARG ms of wall-clock time */
	CHAOS_SPIN,            /* computes for ever */
	CHAOS_SLEEP,           /* waits for ever for what nobody does */
	CHAOS_CRASH,           /* SIGSEGV */
	CHAOS_TRAP,            /* SIGILL */
	CHAOS_EXIT,            /* ends the process with status ARG */
	CHAOS_CRASH_SPARE,     /* SIGSEGV, after damage to the spare copy of its state */
	CHAOS_CRASH_FIRST,     /* SIGSEGV the first ARG times that this command is begun, then CHAOS_COUNT */
	CHAOS_CRASH_COMMITTED, /* SIGSEGV between the commit and the reply */
	CHAOS_EXHAUST,         /* takes all memory that it can still get, its stack; ends by SIGSEGV */
	CHAOS_SCRIBBLE_REGION, /* random bytes, seed ARG, over every device's state; then goes on */
	CHAOS_SCRIBBLE_REPLY,  /* random bytes, seed ARG, over every reply; then sleeps */
	CHAOS_FORGE_REPLY,     /* the same, each field with even odds, with the sequence number waited for */
	CHAOS_INTERRUPTS,      /* raises its line, if it has one, ARG times */
	CHAOS_SYSCALL,         /* system call number ARG, all arguments 0 */
	CHAOS_HANG_IO,         /* takes a lock that the I/O thread then waits for; answers as if nothing were */
};

/* What the device needs beyond a model's state to do its damage; before the first request. */
void chaos_attach(const struct core *core, void *replies);

extern const struct device_ops chaos_ops;

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Futexes in shared memory, and the two ways to wait for a word: spin for a while, then sleep.
 *
 * Linux 6.7 has waiting and waking as system calls of their own. They do the same, but a system call filter can let them
 * through by their number, without looking at an operation, and of such a number the kernel remembers that: 0.1 us of a
 * hand-off on one CPU. A process calls futex_choose() once, before it has threads or filters; if it never does, or the
 * kernel is older, futex(2) serves.
 */
#ifndef DVMM_EMULATOR_FUTEX_H
#define DVMM_EMULATOR_FUTEX_H

#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "seccomp/syscalls.h"

#define FUTEX_SHARED_U32 2 /* FUTEX2_SIZE_U32, and not FUTEX2_PRIVATE */
#define FUTEX_ANYBODY    ((unsigned long)FUTEX_BITSET_MATCH_ANY)

extern bool futex_has_own_calls; /* written by futex_choose() only */
void futex_choose(void);

/* Sleeps while *word == value, until woken or timeout (relative, NULL: none). Spurious returns are normal. */
static inline void futex_wait(const uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	if (futex_has_own_calls && !timeout)
		syscall(SYS_futex_wait, word, (unsigned long)value, FUTEX_ANYBODY, FUTEX_SHARED_U32, NULL, 0);
	else
		syscall(SYS_futex, word, FUTEX_WAIT, value, timeout, NULL, 0);
}

static inline void futex_wake(const uint32_t *word)
{
	if (futex_has_own_calls)
		syscall(SYS_futex_wake, word, FUTEX_ANYBODY, 1, FUTEX_SHARED_U32);
	else
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Spins until *word != value or ns have passed; returns the value seen last. The clock is read
 * once in 64 rounds, so that the round that sees the change is short. */
static inline uint32_t spin_while_equal(const uint32_t *word, uint32_t value, uint32_t ns)
{
	uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	uint64_t end = 0;

	while (now == value && ns) {
		for (int i = 0; i < 64 && now == value; i++) {
			__builtin_ia32_pause();
			now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		}
		if (now != value)
			break;
		uint64_t t = monotonic_ns();
		if (!end)
			end = t + ns;
		else if (t >= end)
			break;
	}
	return now;
}

#endif

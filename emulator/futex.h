/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Futexes in shared memory, and the two ways to wait for a word: spin for a while, then sleep.
 */
#ifndef DVMM_EMULATOR_FUTEX_H
#define DVMM_EMULATOR_FUTEX_H

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *word == value, until woken or timeout (relative, NULL: none). Spurious returns are normal. */
static inline void futex_wait(const uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT, value, timeout, NULL, 0);
}

static inline void futex_wake(const uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

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

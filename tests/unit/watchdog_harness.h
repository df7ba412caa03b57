/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the watchdog's policy share: units of time, random numbers, an assertion for loops. */
#ifndef DVMM_TESTS_WATCHDOG_HARNESS_H
#define DVMM_TESTS_WATCHDOG_HARNESS_H

#include <check.h>

#include "sched/watchdog_policy.h"
#include "tests/unit/run_suite.h"

#define MS       1000000ull
#define SECOND   1000000000ull
#define NEVER    UINT64_MAX
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* As ck_assert_msg(), which costs a system call each time that it holds: too much in the loops here. */
#define must(condition, ...)                                                                                 \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			ck_abort_msg(#condition ": " __VA_ARGS__);                                           \
	} while (0)

static inline uint64_t random_next(void)
{
	static uint64_t x = 88172645463325252ull; /* xorshift64 */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

#endif

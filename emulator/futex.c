/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/futex.h"

#include <errno.h>

bool futex_has_own_calls;

void futex_choose(void)
{
	static uint32_t word;

	futex_has_own_calls = syscall(SYS_futex_wake, &word, FUTEX_ANYBODY, 1, FUTEX_SHARED_U32) == 0 &&
			      syscall(SYS_futex_wait, &word, 1ul, FUTEX_ANYBODY, FUTEX_SHARED_U32, NULL, 0) < 0 &&
			      errno == EAGAIN; /* and not because somebody's filter refuses it */
}

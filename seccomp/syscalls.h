/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls that are younger than the headers we may be built with; numbers as in the kernel's
 * arch/x86/entry/syscalls/syscall_64.tbl.
 */
#ifndef DVMM_SECCOMP_SYSCALLS_H
#define DVMM_SECCOMP_SYSCALLS_H

#include <sys/syscall.h>

/* Linux 6.7: futex_wake(word, mask, count, flags), futex_wait(word, value, mask, flags, timeout, clock). */
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#endif

#endif

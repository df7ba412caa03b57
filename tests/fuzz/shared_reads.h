/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that an attacker changes between two looks at it, reproducibly.
 *
 * Code that is to be tested for it is compiled with -fsanitize=thread, which has the compiler (gcc or clang)
 * announce every access to memory by a call, but not linked with ThreadSanitizer: the calls end in
 * shared_reads.c, which tells the target right before each read. So an attack at the worst moment does not
 * need a second thread and luck. memcpy() is not announced by the compiler; here it is.
 */
#ifndef DVMM_TESTS_FUZZ_SHARED_READS_H
#define DVMM_TESTS_FUZZ_SHARED_READS_H

#include <stddef.h>
#include <string.h>

/* Defined by the target. */
void shared_read(const void *at, size_t bytes);

void *shared_memcpy(void *to, const void *from, size_t len);

#ifndef SHARED_READS_THEMSELVES
#undef memcpy
#define memcpy shared_memcpy
#endif

#endif

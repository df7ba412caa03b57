/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every fuzz target shares. A target is one file that defines LLVMFuzzerTestOneInput(); libFuzzer, AFL++
 * or replay.c calls it.
 *
 * A target reads its input through struct input, front to back, one decision after another. A byte that is
 * missing reads as 0, so every sequence of bytes is a valid input, and cutting one off at the end makes a
 * shorter valid one.
 *
 * Runs must depend on the input alone: no clock, no addresses, nothing kept from the run before.
 */
#ifndef DVMM_TESTS_FUZZ_H
#define DVMM_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input says. Ends the process as a crash, which is what a fuzzer keeps. */
#define fuzz_require(condition)                                                                              \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);       \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

struct input {
	const uint8_t *at;
	size_t left;
};

/* Takes up to len bytes; the rest of `to` is 0. */
static inline void input_copy(struct input *in, void *to, size_t len)
{
	size_t have = len < in->left ? len : in->left;

	if (have)
		memcpy(to, in->at, have);
	memset((uint8_t *)to + have, 0, len - have);
	in->at += have;
	in->left -= have;
}

#define INPUT_NUMBER(name, type)                                                                             \
	static inline type input_##name(struct input *in)                                                    \
	{                                                                                                    \
		type n;                                                                                      \
		input_copy(in, &n, sizeof(n));                                                               \
		return n;                                                                                    \
	}
INPUT_NUMBER(u8, uint8_t)
INPUT_NUMBER(u16, uint16_t)
INPUT_NUMBER(u32, uint32_t)
INPUT_NUMBER(u64, uint64_t)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a console costs: the median time of reading COM1's line status, of writing a character, and, to
 * compare, of reading and writing a register that is neither published nor posted (the scratch register), in
 * TSC cycles with those of nothing at all taken off. The four take turns. samples=N (default 200); the
 * characters are dots.
 */
#include "lib.h"

#define SAMPLES 1000u

enum { NOTHING, LSR, THR, SCR_READ, SCR_WRITE, KINDS };
static const char *const names[KINDS] = {"nothing", "lsr", "thr", "scr-read", "scr-write"};
static uint32_t sample[KINDS][SAMPLES];

#define MEASURE(kind, access)                                                                                \
	do {                                                                                                 \
		uint64_t start = rdtsc();                                                                    \
		access;                                                                                      \
		sample[kind][i] = (uint32_t)(rdtsc() - start);                                               \
	} while (0)

/* Shell sort. */
static uint32_t median(uint32_t *s, unsigned n)
{
	for (unsigned gap = n / 2; gap; gap /= 2)
		for (unsigned i = gap; i < n; i++) {
			uint32_t v = s[i];
			unsigned k = i;

			for (; k >= gap && s[k - gap] > v; k -= gap)
				s[k] = s[k - gap];
			s[k] = v;
		}
	return s[n / 2];
}

unsigned guest_main(void)
{
	unsigned samples = (unsigned)option("samples", 200);
	uint32_t nothing;

	check(samples > 0 && samples <= SAMPLES);
	for (unsigned i = 0; i < samples; i++) {
		MEASURE(NOTHING, barrier());
		MEASURE(LSR, inb(COM1_LSR));
		MEASURE(THR, outb(COM1_THR, '.'));
		MEASURE(SCR_READ, inb(COM1_SCR));
		MEASURE(SCR_WRITE, outb(COM1_SCR, 0x5a));
	}
	nothing = median(sample[NOTHING], samples);
	puts("\n");
	for (unsigned kind = LSR; kind < KINDS; kind++) {
		puts(names[kind]);
		puts(" ");
		putdec(median(sample[kind], samples) - nothing);
		puts("\n");
	}
	return 0;
}

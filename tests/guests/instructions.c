/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that KVM's own emulator may not know, in ring 0: where ring 0 is emulated they reach dvmm's, elsewhere the
 * processor executes them. The results are the same.
 */
#include "irq.h"

static void check_counts(void)
{
	uint64_t n = 0, source = 0xff00ff0010;

	__asm__ volatile("popcnt %1, %0" : "=r"(n) : "r"(source) : "cc");
	check(n == 17);
	__asm__ volatile("popcnt %1, %0" : "=r"(n) : "m"(source) : "cc");
	check(n == 17);
	__asm__ volatile("bsfq %1, %0" : "=r"(n) : "r"(source) : "cc");
	check(n == 4);
}

static void check_cmpxchg16b(void)
{
	static volatile uint64_t pair[2] __attribute__((aligned(16))) = {1, 2};
	uint64_t low = 1, high = 2;
	uint8_t equal;

	__asm__ volatile("lock cmpxchg16b %1; setz %0"
			 : "=q"(equal), "+m"(*(volatile uint64_t(*)[2])pair), "+a"(low), "+d"(high)
			 : "b"(3ul), "c"(4ul)
			 : "cc");
	check(equal && pair[0] == 3 && pair[1] == 4);
	__asm__ volatile("lock cmpxchg16b %1; setz %0"
			 : "=q"(equal), "+m"(*(volatile uint64_t(*)[2])pair), "+a"(low), "+d"(high)
			 : "b"(5ul), "c"(6ul)
			 : "cc");
	check(!equal && pair[0] == 3 && pair[1] == 4 && low == 3 && high == 4);
}

/* Moves through the vector registers, also from a device: all 16 bytes of the virtio-mmio registers 0x000 to 0x00f. */
static void check_vectors(void)
{
	static const uint32_t from[4] __attribute__((aligned(16))) = {1, 2, 3, 4};
	static volatile uint32_t to[4] __attribute__((aligned(16)));
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1u << 9));
	__asm__ volatile("movaps %1, %%xmm3; movups %%xmm3, %0" : "=m"(to) : "m"(from) : "memory");
	check(to[0] == 1 && to[3] == 4);
	for (unsigned i = 0; i < 64; i++)
		__asm__ volatile("prefetcht0 %0; clflush %0" : : "m"(from[i % 4]));
}

unsigned guest_main(void)
{
	check_counts();
	puts("counts\n");
	check_cmpxchg16b();
	puts("cmpxchg16b\n");
	check_vectors();
	puts("vectors\n");
	return 0;
}

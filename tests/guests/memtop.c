/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory map that the loader hands over: no overlap, no RAM in the hole of the devices, as much RAM as
 * was asked for, and the first and last 8 bytes of each RAM entry hold a value of their own.
 */
#include "lib.h"

#define RAM                    1u
#define HOLE_START             0xc0000000ull
#define HOLE_END               0x100000000ull
#define LARGE_PAGE             0x200000ull
#define PRESENT_WRITABLE_LARGE 0x83u
#define PRESENT_WRITABLE       0x3u
#define ENTRIES                16u
#define TABLES                 8u

extern uint64_t pdpt[512];
static uint64_t directories[TABLES][512] __attribute__((aligned(4096)));

/* Makes a guest-physical address usable: what lies beyond 4 GiB is mapped when it is needed. */
static volatile uint64_t *reach(uint64_t gpa)
{
	static unsigned used;
	uint64_t *slot = &pdpt[gpa >> 30 & 511];

	check(gpa < 512ull << 30);
	if (!*slot) {
		check(used < TABLES);
		*slot = (uint64_t)directories[used++] | PRESENT_WRITABLE;
	}
	if (gpa >= HOLE_END)
		((uint64_t *)(*slot & ~0xfffull))[gpa >> 21 & 511] =
			(gpa & ~(LARGE_PAGE - 1)) | PRESENT_WRITABLE_LARGE;
	return (volatile uint64_t *)gpa;
}

unsigned guest_main(void)
{
	const struct hvm_memmap_entry *map = (void *)start_info->memmap_paddr;
	uint64_t ram = 0, end = 0, last = 0, saved[2 * ENTRIES];
	unsigned n = start_info->memmap_entries;

	check_eq(start_info->magic, 0x336ec578);
	check(start_info->version >= 1);
	check(n > 0 && n <= ENTRIES);
	for (unsigned i = 0; i < n; i++) {
		if (map[i].type != RAM)
			continue;
		check(map[i].size > 0);
		end = map[i].addr + map[i].size;
		check(end <= HOLE_START || map[i].addr >= HOLE_END);
		for (unsigned j = 0; j < i; j++)
			check(end <= map[j].addr || map[i].addr >= map[j].addr + map[j].size);
		ram += map[i].size;
		last = end > last ? end : last;
	}
	check(ram <= option("mem", 128) << 20);
	check(ram + (1 << 20) >= option("mem", 128) << 20); /* less what a PC lacks below 1 MiB */

	/* All are written before any is checked, so that two addresses for one byte would show. */
	for (unsigned i = 0; i < n; i++) {
		volatile uint64_t *head, *tail;

		if (map[i].type != RAM)
			continue;
		head = reach(map[i].addr);
		tail = reach(map[i].addr + map[i].size - 8);
		saved[2 * i] = *head;
		saved[2 * i + 1] = *tail;
		*head = 0x1111111111111111ull * (i + 1);
		*tail = ~*head;
	}
	for (unsigned i = 0; i < n; i++) {
		volatile uint64_t *head, *tail;

		if (map[i].type != RAM)
			continue;
		head = reach(map[i].addr);
		tail = reach(map[i].addr + map[i].size - 8);
		check_eq(*head, 0x1111111111111111ull * (i + 1));
		check_eq(*tail, ~(0x1111111111111111ull * (i + 1)));
		*head = saved[2 * i];
		*tail = saved[2 * i + 1];
	}
	puts("memory ends at 0x");
	puthex(last, 10);
	puts("\n");
	return 0;
}

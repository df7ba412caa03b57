/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: one memory map serves all ways of booting. What it does not mention is not RAM:
 * the old video window below 0xe0000, and the hole with the devices below 4 GiB.
 */
#include "emulator/loader/internal.h"

#include "emulator/machine.h"

enum { E820_RAM = 1, E820_RESERVED = 2 }; /* ACPI 6.5, 15.1 */

unsigned load_memory_map(uint64_t ram_bytes, struct boot_e820_entry map[LOAD_MAP_ENTRIES])
{
	uint64_t low_end = ram_bytes < MMIO_HOLE_START ? ram_bytes : MMIO_HOLE_START;
	unsigned n = 0;

	map[n++] = (struct boot_e820_entry){0, BOOT_LOW_END, E820_RAM};
	map[n++] = (struct boot_e820_entry){BOOT_LOW_END, 0xa0000 - BOOT_LOW_END, E820_RESERVED};
	map[n++] = (struct boot_e820_entry){ACPI_BASE, ACPI_END - ACPI_BASE, E820_RESERVED};
	map[n++] = (struct boot_e820_entry){MIB, low_end - MIB, E820_RAM};
	if (ram_bytes > MMIO_HOLE_START)
		map[n++] = (struct boot_e820_entry){MMIO_HOLE_END, ram_bytes - MMIO_HOLE_START, E820_RAM};
	return n;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/machine.h"

void machine_memory(const struct machine *m, void *ram, struct guest_memory *memory)
{
	uint64_t low = m->ram_bytes < MMIO_HOLE_START ? m->ram_bytes : MMIO_HOLE_START;

	*memory = (struct guest_memory){.seg = {
		{.gpa = 0, .size = low, .host = ram},
		{.gpa = MMIO_HOLE_END, .size = m->ram_bytes - low, .host = (uint8_t *)ram + low},
	}};
}

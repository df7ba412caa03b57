/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers that a vCPU uses without waiting for the emulator (devices/device.h): which they are, and where
 * what is published of them is.
 *
 * The table is made once from the machine (which models declare what: devices/device.h) and constant from
 * then on. It holds places only; of a register's meaning dvmm knows nothing. Any thread.
 */
#ifndef DVMM_VMM_REGISTERS_H
#define DVMM_VMM_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "emulator/mailbox.h"

#define REGISTERS_MAX   64
#define REGISTERS_PLACES 256 /* in the hash table; a power of two, and more than REGISTERS_MAX */

struct fast_register {
	uint64_t addr;
	uint32_t space;  /* enum bus_space */
	uint32_t size;   /* bytes; only an access of this size is meant */
	uint32_t use;    /* enum register_use */
	uint32_t device; /* index into machine.device[] */
	const uint64_t *word; /* the emulator's: see struct published */
};

/* A device that has posted registers. */
struct posted_device {
	uint64_t base, size;
	uint32_t space;
	uint32_t device;
};

#define NOT_POSTED UINT32_MAX

struct registers {
	uint32_t count, posted_count;
	struct fast_register entry[REGISTERS_MAX];
	struct posted_device posted[REGISTERS_MAX];
	uint8_t place[REGISTERS_PLACES]; /* 1 + index into entry[], 0: empty */
};

/* Fills *r for a machine whose words are at published[], with registers of these uses (bit n: enum
 * register_use n). Registers beyond REGISTERS_MAX need hand-offs, as all others. */
void registers_build(struct registers *r, const struct machine *m, const struct published *published, uint32_t uses);

static inline uint32_t registers_place(uint32_t space, uint64_t addr)
{
	return ((uint32_t)addr + space) * 0x9e3779b1u >> 24; /* Fibonacci hashing */
}

/* The register at this very address, or NULL. (A place that is both published and posted is two.) */
static inline const struct fast_register *registers_find(const struct registers *r, uint32_t space, uint64_t addr,
							  uint32_t use)
{
	for (uint32_t i = registers_place(space, addr); r->place[i]; i = (i + 1) % REGISTERS_PLACES) {
		const struct fast_register *e = &r->entry[r->place[i] - 1];

		if (e->addr == addr && e->space == space && e->use == use)
			return e;
	}
	return NULL;
}

/* The device with posted registers that is at this address, or NOT_POSTED. */
static inline uint32_t registers_posted_device(const struct registers *r, uint32_t space, uint64_t addr)
{
	for (uint32_t i = 0; i < r->posted_count; i++)
		if (addr - r->posted[i].base < r->posted[i].size && space == r->posted[i].space)
			return r->posted[i].device;
	return NOT_POSTED;
}

/* What is published of it, the value that a read gives; false: the emulator has to be called. */
static inline bool register_read(const struct fast_register *r, uint32_t *value)
{
	const uint64_t word = __atomic_load_n(r->word, __ATOMIC_ACQUIRE); /* once */

	*value = (uint32_t)word;
	return word & PUBLISHED_VALID;
}

#endif

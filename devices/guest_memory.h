/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory, and the one way to look into it.
 *
 * Owns nothing: it describes up to GUEST_MEMORY_SEGMENTS ranges of guest-physical
 * addresses that are mapped in this process. Everything that touches guest memory
 * goes through guest_memory_range(), which checks address and length together.
 *
 * The guest runs while we look. Whoever needs a value that was checked to stay the
 * value that was checked must copy it out first (guest_memory_read()) and use the copy.
 *
 * Threads: immutable after start, so any thread may use it. Addresses and lengths: bytes.
 */
#ifndef DVMM_DEVICES_GUEST_MEMORY_H
#define DVMM_DEVICES_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_SEGMENTS 2 /* below and above the 4 GiB hole */

struct guest_memory_segment {
	uint64_t gpa;  /* first guest-physical address */
	uint64_t size; /* bytes; 0: the segment is absent */
	uint8_t *host; /* where gpa is mapped here */
};

struct guest_memory {
	struct guest_memory_segment seg[GUEST_MEMORY_SEGMENTS];
};

/* The host address of [gpa, gpa + len), or NULL if any byte of it is not RAM of one segment.
 * len 0 is a valid range wherever gpa itself is RAM. */
void *guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len);

/* Copies len bytes out of / into guest memory. False, with nothing copied, if the range is not RAM. */
bool guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *to, uint64_t len);
bool guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "devices/guest_memory.h"

#include <string.h>

void *guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < GUEST_MEMORY_SEGMENTS; i++) {
		const struct guest_memory_segment *s = &mem->seg[i];
		uint64_t at = gpa - s->gpa; /* wraps to a huge value below the segment */

		if (at < s->size && len <= s->size - at)
			return s->host + at;
	}
	return NULL;
}

bool guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *to, uint64_t len)
{
	const void *from = guest_memory_range(mem, gpa, len);

	if (!from)
		return false;
	memcpy(to, from, len);
	/* The copy is what counts: a compiler that sees both must not look at the guest's again (link-time
	 * optimisation). */
	__asm__ volatile("" : : "r"(to) : "memory");
	return true;
}

bool guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len)
{
	void *to = guest_memory_range(mem, gpa, len);

	if (!to)
		return false;
	memcpy(to, from, len);
	return true;
}

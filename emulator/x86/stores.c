/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of stores.
 *
 * Theory of operation: an entry lies within a page. A store that continues the previous one of the same
 * instruction is merged into it, so that a string form or an XSAVE area needs few entries. Loads look
 * through the log; a set of hashed page numbers makes the usual answer, nothing there, quick.
 */
#include "emulator/x86/internal.h"

static uint64_t page_hash(uint64_t gpa)
{
	return BIT((gpa >> 12) & 63);
}

bool stores_room(const struct context *c, uint32_t n)
{
	return c->cpu->stores.count + n <= X86_STORES;
}

/* Bytes of this store that the last entry takes. */
static uint32_t stores_merge(struct context *c, uint64_t gpa, const uint8_t *data, uint32_t size)
{
	struct x86_stores *log = &c->cpu->stores;
	struct x86_store *e;
	uint32_t room;

	if (log->count <= c->merge_from)
		return 0;
	e = &log->entry[log->count - 1];
	if (e->gpa + e->size != gpa || (e->gpa ^ gpa) >> 12)
		return 0;
	room = X86_STORE_BYTES - e->size;
	if (size > room)
		return 0;
	memcpy(e->data + e->size, data, size);
	e->size += size;
	return size;
}

bool stores_add(struct context *c, uint64_t gpa, const void *data, uint32_t size)
{
	struct x86_stores *log = &c->cpu->stores;
	const uint8_t *from = data;

	c->store_pages |= page_hash(gpa);
	if (stores_merge(c, gpa, from, size))
		return true;
	while (size) {
		uint32_t n = size < X86_STORE_BYTES ? size : X86_STORE_BYTES;
		struct x86_store *e;

		if (log->count >= X86_STORES)
			return stop_unknown(c, "stores too much");
		e = &log->entry[log->count++];
		e->gpa = gpa;
		e->size = n;
		memcpy(e->data, from, n);
		gpa += n;
		from += n;
		size -= n;
	}
	return true;
}

/* Copies what of e falls into [gpa, gpa + size). */
static bool overlay_entry(const struct x86_store *e, uint64_t gpa, uint8_t *data, uint32_t size)
{
	uint64_t first = e->gpa > gpa ? e->gpa : gpa;
	uint64_t end = e->gpa + e->size < gpa + size ? e->gpa + e->size : gpa + size;

	if (first >= end)
		return false;
	memcpy(data + (first - gpa), e->data + (first - e->gpa), end - first);
	return true;
}

bool stores_overlay(const struct context *c, uint64_t gpa, void *data, uint32_t size)
{
	const struct x86_stores *log = &c->cpu->stores;
	bool any = false;

	if (!(c->store_pages & page_hash(gpa)))
		return false;
	for (uint32_t i = 0; i < log->count; i++)
		any |= overlay_entry(&log->entry[i], gpa, data, size);
	return any;
}

void memory_copy_in(void *to, const uint8_t *from, uint32_t size)
{
	if (size <= 8 && !((uintptr_t)from & (size - 1)) && !(size & (size - 1))) {
		uint64_t v =
			size == 1   ? __atomic_load_n(from, __ATOMIC_ACQUIRE)
			: size == 2 ? __atomic_load_n((const uint16_t *)(const void *)from, __ATOMIC_ACQUIRE)
			: size == 4 ? __atomic_load_n((const uint32_t *)(const void *)from, __ATOMIC_ACQUIRE)
				    : __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_ACQUIRE);
		memcpy(to, &v, size);
		return;
	}
	memcpy(to, from, size);
	/* The copy is what counts: the compiler must not look at the guest's bytes again. */
	__asm__ volatile("" : : "r"(to) : "memory");
}

static void copy_out(uint8_t *to, const uint8_t *from, uint32_t size)
{
	while (size) {
		uint32_t n = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
		uint64_t v = 0;

		while ((uintptr_t)to & (n - 1))
			n /= 2;
		memcpy(&v, from, n);
		if (n == 8)
			__atomic_store_n((uint64_t *)(void *)to, v, __ATOMIC_RELEASE);
		else if (n == 4)
			__atomic_store_n((uint32_t *)(void *)to, (uint32_t)v, __ATOMIC_RELEASE);
		else if (n == 2)
			__atomic_store_n((uint16_t *)(void *)to, (uint16_t)v, __ATOMIC_RELEASE);
		else
			__atomic_store_n(to, (uint8_t)v, __ATOMIC_RELEASE);
		to += n;
		from += n;
		size -= n;
	}
}

void x86_apply(const struct guest_memory *memory, const struct x86_stores *stores)
{
	uint32_t count = __atomic_load_n(&stores->count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count && i < X86_STORES; i++) {
		struct x86_store e = stores->entry[i]; /* what is checked is what is used */
		uint8_t *to;

		if (!e.size || e.size > X86_STORE_BYTES)
			continue;
		to = guest_memory_range(memory, e.gpa, e.size);
		if (to)
			copy_out(to, e.data, e.size);
	}
}

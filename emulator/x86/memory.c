/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory as instructions see it: segments, alignment, linear memory that may cross pages, RAM or device.
 *
 * Theory of operation: an access is cut at the ends of pages; every page is translated before the first byte
 * is stored. RAM is read through the log of stores and written into it. What is not RAM is a device: a read
 * is answered from the list of reads that the caller has performed, or stops the run to ask; a write, one per
 * instruction, is left to the caller.
 */
#include "emulator/x86/internal.h"

static uint32_t until_page_end(uint64_t linear, uint32_t size)
{
	uint32_t room = 4096 - (uint32_t)(linear & 4095);

	return size < room ? size : room;
}

/* The next byte's address: 32-bit code wraps at 4 GiB. */
static uint64_t linear_advance(const struct context *c, uint64_t linear, uint32_t n)
{
	linear += n;
	return c->code_bits == 64 ? linear : linear & 0xffffffff;
}

static bool device_read_piece(struct context *c, uint64_t gpa, uint8_t *to, uint32_t size)
{
	struct x86_cpu *cpu = c->cpu;
	uint32_t i = c->reads_used;

	if (c->executed)
		return stop_batch(c);
	if (i >= X86_DEVICE_READS)
		return stop_unknown(c, "reads too much from a device");
	if (i < cpu->reads) {
		if (cpu->read[i].gpa != gpa || cpu->read[i].size != size)
			return stop_batch(c); /* memory has changed since it was asked for: from the start */
		memcpy(to, cpu->read[i].data, size);
		c->reads_used++;
		return true;
	}
	cpu->device = (struct x86_device_access){.gpa = gpa, .size = size};
	c->stop = X86_WANT_READ;
	return false;
}

static bool device_read(struct context *c, uint64_t gpa, uint8_t *to, uint32_t size)
{
	while (size) {
		uint32_t n = size < X86_STORE_BYTES ? size : X86_STORE_BYTES;

		if (!device_read_piece(c, gpa, to, n))
			return false;
		gpa += n;
		to += n;
		size -= n;
	}
	return true;
}

static bool device_write(struct context *c, uint64_t gpa, const uint8_t *from, uint32_t size)
{
	struct x86_device_access *d = &c->cpu->device;

	if (c->executed)
		return stop_batch(c);
	if (c->device_write || size > X86_STORE_BYTES)
		return stop_unknown(c, "writes too much to a device");
	*d = (struct x86_device_access){.gpa = gpa, .size = size};
	memcpy(d->data, from, size);
	c->device_write = true;
	return true;
}

bool linear_read(struct context *c, uint64_t linear, void *to, uint32_t size, enum access access)
{
	uint8_t *at = to;

	while (size) {
		uint32_t n = until_page_end(linear, size);
		const struct translation *t = translate(c, linear, access);
		uint64_t gpa;

		if (!t)
			return false;
		gpa = t->gpa | (linear & 4095);
		if (t->host) {
			memory_copy_in(at, t->host + (linear & 4095), n);
			stores_overlay(c, gpa, at, n);
		} else if (access & ACCESS_FETCH) {
			return stop_unknown(c, "code outside of memory");
		} else if (!device_read(c, gpa, at, n)) {
			return false;
		}
		linear = linear_advance(c, linear, n);
		at += n;
		size -= n;
	}
	return true;
}

bool linear_probe_write(struct context *c, uint64_t linear, uint32_t size)
{
	while (size) {
		uint32_t n = until_page_end(linear, size);

		if (!translate(c, linear, ACCESS_WRITE))
			return false;
		linear = linear_advance(c, linear, n);
		size -= n;
	}
	return true;
}

bool linear_write(struct context *c, uint64_t linear, const void *from, uint32_t size)
{
	const uint8_t *at = from;

	if (until_page_end(linear, size) < size && !linear_probe_write(c, linear, size))
		return false;
	while (size) {
		uint32_t n = until_page_end(linear, size);
		const struct translation *t = translate(c, linear, ACCESS_WRITE);
		uint64_t gpa;

		if (!t)
			return false;
		gpa = t->gpa | (linear & 4095);
		if (t->host ? !stores_add(c, gpa, at, n) : !device_write(c, gpa, at, n))
			return false;
		linear = linear_advance(c, linear, n);
		at += n;
		size -= n;
	}
	return true;
}

/*
 * Locked accesses. They are the first instruction of a run, so the log is empty. What crosses a cache line is
 * not attempted with a LOCK prefix, because that stops all of the host's processors.
 */
bool linear_locked_read(struct context *c, uint64_t linear, void *to, uint32_t size)
{
	const struct translation *t = translate(c, linear, ACCESS_WRITE);

	c->locked_host = NULL;
	if (!t)
		return false;
	if (!t->host) /* a device has no atomic operations: read and write */
		return until_page_end(linear, size) == size
			       ? device_read(c, t->gpa | (linear & 4095), to, size)
			       : stop_unknown(c, "locked access across pages");
	if ((linear & 63) + size > 64)
		return stop_unknown(c, "locked access across cache lines");
	c->locked_host = t->host + (linear & 4095);
	memory_copy_in(c->locked_old, c->locked_host, size);
	memcpy(to, c->locked_old, size);
	return true;
}

/* lock cmpxchg on `size` bytes at host. The operand may be unaligned within its cache line, which C's atomics
 * cannot express. */
static bool host_compare_exchange(uint8_t *host, const void *old, const void *new, uint32_t size)
{
	uint64_t o = 0, n = 0;
	bool equal;

	memcpy(&o, old, size);
	memcpy(&n, new, size);
	switch (size) {
	case 1:
		__asm__ volatile("lock cmpxchgb %b3, (%2)"
				 : "=@ccz"(equal), "+a"(o)
				 : "r"(host), "r"(n)
				 : "memory");
		return equal;
	case 2:
		__asm__ volatile("lock cmpxchgw %w3, (%2)"
				 : "=@ccz"(equal), "+a"(o)
				 : "r"(host), "r"(n)
				 : "memory");
		return equal;
	case 4:
		__asm__ volatile("lock cmpxchgl %k3, (%2)"
				 : "=@ccz"(equal), "+a"(o)
				 : "r"(host), "r"(n)
				 : "memory");
		return equal;
	default:
		__asm__ volatile("lock cmpxchgq %3, (%2)"
				 : "=@ccz"(equal), "+a"(o)
				 : "r"(host), "r"(n)
				 : "memory");
		return equal;
	}
}

static bool host_compare_exchange16(uint8_t *host, const void *old, const void *new)
{
	uint64_t o[2], n[2];
	bool equal;

	memcpy(o, old, 16);
	memcpy(n, new, 16);
	__asm__ volatile("lock cmpxchg16b (%3)"
			 : "=@ccz"(equal), "+a"(o[0]), "+d"(o[1])
			 : "r"(host), "b"(n[0]), "c"(n[1])
			 : "memory");
	return equal;
}

bool linear_locked_write(struct context *c, const void *from, uint32_t size)
{
	bool stored = size == 16 ? host_compare_exchange16(c->locked_host, c->locked_old, from)
				 : host_compare_exchange(c->locked_host, c->locked_old, from, size);

	return stored || stop_retry(c);
}

/* --- Logical addresses. */

bool address_canonical(const struct context *c, uint64_t linear)
{
	unsigned shift = c->canonical57 ? 7 : 16;

	return (uint64_t)((int64_t)(linear << shift) >> shift) == linear;
}

static bool segment_fault(struct context *c, enum x86_segment_register seg)
{
	return stop_exception_error(c, seg == X86_SS ? VECTOR_SS : VECTOR_GP, 0);
}

/* SDM 3A, 5.4 to 5.5: type and limit. offset is within 32 bits. */
static bool segment_allows(const struct context *c, enum x86_segment_register seg, uint64_t offset,
			   uint32_t size, enum access access)
{
	const struct x86_segment *s = &c->s->segment[seg];
	uint32_t type = s->attributes & 15;
	bool code = type & 8;
	uint64_t last = offset + size - 1;

	if (c->protected_mode) {
		if ((s->attributes & X86_SEGMENT_UNUSABLE) || !(s->attributes & BIT(7)))
			return false;
		if ((access & ACCESS_WRITE) && (code || !(type & 2)))
			return false;
		if (access == ACCESS_READ && code && !(type & 2))
			return false;
		if (!code && (type & 4)) /* expands down */
			return offset > s->limit && last <= (s->attributes & BIT(14) ? 0xffffffff : 0xffff);
	}
	return last <= s->limit;
}

bool segment_linear(struct context *c, enum x86_segment_register seg, uint64_t offset, uint32_t size,
		    enum access access, uint64_t *linear)
{
	if (c->code_bits == 64) {
		if (seg == X86_FS || seg == X86_GS)
			offset += c->s->segment[seg].base;
		*linear = offset;
		if (address_canonical(c, offset) && address_canonical(c, offset + size - 1))
			return true;
		return segment_fault(c, seg);
	}
	offset &= 0xffffffff;
	if (!segment_allows(c, seg, offset, size, access))
		return segment_fault(c, seg);
	*linear = (c->s->segment[seg].base + offset) & 0xffffffff;
	return true;
}

bool alignment_check(struct context *c, uint64_t linear, uint32_t size)
{
	if ((linear & (size - 1)) && c->cpl == 3 && (c->s->cr0 & CR0_AM) && (c->s->rflags & FLAG_AC))
		return stop_exception_error(c, VECTOR_AC, 0);
	return true;
}

bool segment_read(struct context *c, enum x86_segment_register seg, uint64_t offset, uint64_t *value,
		  uint32_t size)
{
	uint64_t linear;

	*value = 0;
	return segment_linear(c, seg, offset, size, ACCESS_READ, &linear) &&
	       alignment_check(c, linear, size) && linear_read(c, linear, value, size, ACCESS_READ);
}

bool segment_write(struct context *c, enum x86_segment_register seg, uint64_t offset, uint64_t value,
		   uint32_t size)
{
	uint64_t linear;

	return segment_linear(c, seg, offset, size, ACCESS_WRITE, &linear) &&
	       alignment_check(c, linear, size) && linear_write(c, linear, &value, size);
}

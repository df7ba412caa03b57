/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From linear to guest-physical addresses: SDM 3A, chapter 4.
 *
 * Theory of operation: five formats of one walk, described by a table: none, 32-bit, PAE, 4 levels, 5 levels.
 * Each entry is read once. Rights are collected on the way down and judged at the leaf, then the accessed
 * and dirty bits are set by compare-and-swap against the entry that was judged, as the processor does; if
 * another processor has changed it, the walk starts again, a bounded number of times. There is no
 * recursion and no loop that a table could prolong: the number of levels is the format's.
 *
 * Tables outside of memory are taken as entries with reserved bits set.
 */
#include "emulator/x86/internal.h"

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_NX BIT(63)

#define ERROR_P    (1u << 0)
#define ERROR_W    (1u << 1)
#define ERROR_U    (1u << 2)
#define ERROR_RSVD (1u << 3)
#define ERROR_I    (1u << 4)

#define ADDRESS_BITS 0x000ffffffffff000ull

struct walk {
	uint64_t linear;
	enum access access;
	bool user;
	unsigned levels; /* 2 to 5 */
	bool pae;        /* 8-byte entries */
	bool no_execute; /* NX exists */
	uint64_t gpa;    /* out: of the page of 4 KiB */
	uint64_t rights; /* PTE_W, PTE_U: of all levels; PTE_NX: of any */
	unsigned visited;
	struct {
		uint64_t gpa, value;
	} entry[5];
};

static uint32_t fault_error(const struct context *c, const struct walk *w, uint32_t why)
{
	uint32_t error = why;

	if (w->access & ACCESS_WRITE)
		error |= ERROR_W;
	if (w->user)
		error |= ERROR_U;
	if ((w->access & ACCESS_FETCH) && (w->no_execute || (c->s->cr4 & CR4_SMEP)))
		error |= ERROR_I;
	return error;
}

static bool fault(struct context *c, const struct walk *w, uint32_t why)
{
	return stop_page_fault(c, w->linear, fault_error(c, w, why));
}

static void walk_format(const struct context *c, struct walk *w)
{
	w->pae = c->s->cr4 & CR4_PAE;
	w->levels = 2;
	if (c->s->efer & EFER_LMA) {
		w->pae = true;
		w->levels = c->s->cr4 & CR4_LA57 ? 5 : 4;
	} else if (w->pae) {
		w->levels = 3;
	}
	w->no_execute = w->pae && (c->s->efer & EFER_NXE);
}

/* Bits of an address within the region that one entry at this level (1: a page) maps. */
static unsigned level_shift(const struct walk *w, unsigned level)
{
	return w->pae ? 12 + 9 * (level - 1) : 12 + 10 * (level - 1);
}

/* Does the entry end the walk? */
static bool entry_is_leaf(const struct context *c, const struct walk *w, unsigned level, uint64_t entry)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS) || level > 3 || (level == 3 && w->levels == 3))
		return false;
	return w->pae || (c->s->cr4 & CR4_PSE);
}

/* The bits that must be zero in an entry: SDM 3A, tables 4-4 to 4-20. */
static uint64_t entry_reserved(const struct context *c, const struct walk *w, unsigned level, bool leaf)
{
	unsigned width = c->machine->physical_bits >= 52 ? 52 : c->machine->physical_bits;
	uint64_t reserved;

	if (!w->pae) {
		if (level == 1 || !leaf)
			return 0;
		/* PSE-36: bits 13 to 20 are bits 32 to 39 of the address. */
		return BIT(21) | (width < 40 ? BIT(21) - BIT(13 + (width - 32)) : 0);
	}
	reserved = BIT(52) - BIT(width);
	if (!w->no_execute)
		reserved |= PTE_NX;
	if (w->levels == 3) {
		reserved |= BIT(63) - BIT(52);
		if (level == 3)
			return reserved | PTE_NX | 0x1e6;
	}
	if (level > 3)
		return reserved | PTE_PS;
	if (leaf && level > 1)
		reserved |= BIT(level_shift(w, level)) - BIT(13);
	return reserved;
}

/* Reads one entry, through the log of stores. False: it is not in memory. */
static bool entry_read(const struct context *c, const struct walk *w, uint64_t gpa, uint64_t *entry)
{
	uint32_t size = w->pae ? 8 : 4;
	const uint8_t *host = guest_memory_range(c->machine->memory, gpa, size);

	if (!host)
		return false;
	*entry = 0;
	memory_copy_in(entry, host, size);
	stores_overlay(c, gpa, entry, size);
	return true;
}

static void rights_add(struct walk *w, unsigned level, uint64_t entry)
{
	/* The entries of PAE's third level have no rights. */
	if (w->levels == 3 && level == 3)
		return;
	w->rights &= entry | ~(PTE_W | PTE_U);
	w->rights |= entry & (w->no_execute ? PTE_NX : 0);
}

static void leaf_address(struct walk *w, unsigned level, uint64_t entry)
{
	uint64_t inside = BIT(level_shift(w, level)) - 1;

	if (w->pae)
		w->gpa = (entry & ADDRESS_BITS & ~inside) | (w->linear & inside);
	else if (level == 1)
		w->gpa = (entry & 0xfffff000) | (w->linear & inside);
	else
		w->gpa = (entry & 0xffc00000) | ((entry >> 13 & 0xff) << 32) | (w->linear & inside);
	w->gpa &= ~0xfffull;
}

static uint64_t walk_root(const struct context *c, const struct walk *w)
{
	if (!w->pae)
		return c->s->cr3 & 0xfffff000;
	return w->levels == 3 ? c->s->cr3 & 0xffffffe0 : c->s->cr3 & ADDRESS_BITS;
}

static bool walk_down(struct context *c, struct walk *w)
{
	uint64_t table = walk_root(c, w);

	w->rights = PTE_W | PTE_U;
	w->visited = 0;
	for (unsigned level = w->levels; level; level--) {
		uint64_t index = w->linear >> level_shift(w, level) & (w->pae ? 511 : 1023);
		uint64_t gpa, entry;
		bool leaf;

		if (w->levels == 3 && level == 3)
			index &= 3;
		gpa = table + index * (w->pae ? 8 : 4);
		if (!entry_read(c, w, gpa, &entry))
			return fault(c, w, ERROR_P | ERROR_RSVD);
		if (!(entry & PTE_P))
			return fault(c, w, 0);
		leaf = entry_is_leaf(c, w, level, entry);
		if (entry & entry_reserved(c, w, level, leaf))
			return fault(c, w, ERROR_P | ERROR_RSVD);
		rights_add(w, level, entry);
		w->entry[w->visited].gpa = gpa;
		w->entry[w->visited++].value = entry;
		if (leaf) {
			leaf_address(w, level, entry);
			return true;
		}
		table = entry & (w->pae ? ADDRESS_BITS : 0xfffff000);
	}
	return fault(c, w, 0); /* not reached: level 1 is a leaf */
}

/* SDM 3A, 4.6.1. */
static bool rights_suffice(const struct context *c, const struct walk *w)
{
	bool user_page = w->rights & PTE_U;

	if (w->access & ACCESS_FETCH) {
		if (w->rights & PTE_NX)
			return false;
		return w->user ? user_page : !(user_page && (c->s->cr4 & CR4_SMEP));
	}
	if (w->user)
		return user_page && (!(w->access & ACCESS_WRITE) || (w->rights & PTE_W));
	if (user_page && (c->s->cr4 & CR4_SMAP) && !(c->s->rflags & FLAG_AC))
		return false;
	return !(w->access & ACCESS_WRITE) || (w->rights & PTE_W) || !(c->s->cr0 & CR0_WP);
}

/* Sets bits in an entry that is as it was read. False: it is not any more. */
static bool entry_update(struct context *c, const struct walk *w, uint64_t gpa, uint64_t old, uint64_t bits)
{
	uint64_t current = old, wanted = old | bits;
	uint8_t *host = guest_memory_range(c->machine->memory, gpa, w->pae ? 8 : 4);
	uint32_t old32 = (uint32_t)old;

	if (stores_overlay(c, gpa, &current, w->pae ? 8 : 4))
		return stores_add(c, gpa, &wanted, w->pae ? 8 : 4); /* the entry itself is in the log */
	/* Aligned: tables are, and entries in them; host was checked by the read. */
	if (w->pae)
		return __atomic_compare_exchange_n((uint64_t *)(void *)host, &current, wanted, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return __atomic_compare_exchange_n((uint32_t *)(void *)host, &old32, (uint32_t)wanted, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* SDM 3A, 4.8. False: another processor has changed an entry. */
static bool accessed_dirty(struct context *c, const struct walk *w)
{
	for (unsigned i = 0; i < w->visited; i++) {
		uint64_t bits = PTE_A;

		if (w->levels == 3 && i == 0)
			continue; /* PAE's third level has neither */
		if (i + 1 == w->visited && (w->access & ACCESS_WRITE))
			bits |= PTE_D;
		if ((w->entry[i].value & bits) == bits)
			continue;
		if (!entry_update(c, w, w->entry[i].gpa, w->entry[i].value, bits))
			return false;
	}
	return true;
}

static bool walk(struct context *c, uint64_t linear, enum access access, uint64_t *gpa)
{
	struct walk w = {.linear = linear, .access = access, .user = c->cpl == 3};

	if (!(c->s->cr0 & CR0_PG)) {
		*gpa = linear & 0xfffff000;
		return true;
	}
	walk_format(c, &w);
	if (!walk_down(c, &w))
		return false;
	if (!rights_suffice(c, &w))
		return fault(c, &w, ERROR_P);
	if (!accessed_dirty(c, &w))
		return stop_retry(c);
	*gpa = w.gpa;
	return true;
}

const struct translation *translate(struct context *c, uint64_t linear, enum access access)
{
	uint64_t page = linear >> 12;
	/* AC is in the tag because it suspends SMAP, and STAC and CLAC do not end a run. */
	uint64_t tag = page << 4 | 8 | (c->s->rflags & FLAG_AC ? 4 : 0) | access;
	struct translation *t = &c->translation[(page ^ access << 2) % TRANSLATIONS];
	uint64_t gpa = 0;

	if (t->tag == tag)
		return t;
	if (!walk(c, linear, access, &gpa))
		return NULL;
	t->tag = tag;
	t->gpa = gpa;
	t->host = guest_memory_range(c->machine->memory, gpa, 4096);
	return t;
}

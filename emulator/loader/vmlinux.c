/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: what the kernel's own extractor (arch/x86/boot/compressed/misc.c, kaslr.c) does, done
 * in its place. The payload is an ELF file, vmlinux, with a relocation table behind it:
 *
 *     |<- 2 MiB ->|
 *     ELF header  .text ...   .data ...   .init ...   sections   relocations
 *     ^ unpacked to here
 *                 ^ the address that was chosen
 *
 * .text begins 2 MiB into the file, so that is how far below the kernel's address the file is unpacked: most
 * of it is then in its place already, and the other segments, which are apart in the file and closer together
 * in memory, move down. All of this happens inside of the room that the bzImage's header asks for, and in the
 * 2 MiB below it. If a segment would have to move up, everything is moved up first.
 *
 * The table is three lists of addresses, or two since Linux 6.15, each behind a zero: 64-bit fields that the
 * distance is added to, 32-bit fields that it is taken from (per-CPU offsets; the list that went away), and
 * 32-bit fields that it is added to. An address is the link-time virtual one, as a signed 32-bit number.
 *
 * A refusal may come after guest memory has been written to. That does no harm: what the guest's own
 * extractor needs is loaded afterwards.
 */
#include "emulator/loader/internal.h"

#include <string.h>

#define MAP_BASE      0xffffffff80000000ull /* __START_KERNEL_map */
#define MAP_BYTES     (1ull << 30)          /* KERNEL_IMAGE_SIZE with CONFIG_RANDOMIZE_BASE */
#define TEXT_OFFSET   (2 * MIB)
#define ALIGNMENT_MIN (2 * MIB) /* the kernel maps itself by pages of this size */
#define SEGMENTS_MAX  16

struct segment {
	uint64_t offset, file_bytes, memory_bytes;
	uint64_t at; /* from the kernel's start */
};

/* A vmlinux in guest memory. */
struct vmlinux {
	uint8_t *file; /* unpacked */
	uint64_t file_bytes;
	uint64_t elf_bytes; /* of these: the relocations are behind */
	uint8_t *start;     /* where the kernel goes */
	uint64_t span;      /* bytes from there to the end of the last segment */
	uint64_t entry;     /* from the kernel's start */
	unsigned segments;
	struct segment segment[SEGMENTS_MAX];
};

/* Adds a segment; they come in the order of both their offsets and their addresses, and do not overlap. */
static bool add_segment(struct vmlinux *v, const struct vmlinux_place *place, const Elf64_Phdr *p)
{
	const struct segment *last = v->segments ? &v->segment[v->segments - 1] : NULL;
	struct segment *s = &v->segment[v->segments];

	if (v->segments == SEGMENTS_MAX || p->p_filesz > p->p_memsz || p->p_offset > v->file_bytes ||
	    p->p_filesz > v->file_bytes - p->p_offset || p->p_paddr < place->linked ||
	    p->p_paddr - place->linked > place->room ||
	    p->p_memsz > place->room - (p->p_paddr - place->linked))
		return false;
	*s = (struct segment){p->p_offset, p->p_filesz, p->p_memsz, p->p_paddr - place->linked};
	if (last && (s->offset < last->offset + last->file_bytes || s->at < last->at + last->memory_bytes))
		return false;
	v->segments++;
	v->span = s->at + s->memory_bytes;
	if (s->offset + s->file_bytes > v->elf_bytes)
		v->elf_bytes = s->offset + s->file_bytes;
	return true;
}

static bool entry_is_loaded(const struct vmlinux *v)
{
	for (unsigned i = 0; i < v->segments; i++)
		if (v->entry >= v->segment[i].at && v->entry - v->segment[i].at < v->segment[i].file_bytes)
			return true;
	return false;
}

static const char *read_headers(struct vmlinux *v, const struct vmlinux_place *place)
{
	static const char unusual[] = "the vmlinux in it is unusual";
	Elf64_Ehdr h;

	if (v->file_bytes < sizeof(h))
		return unusual;
	memcpy(&h, v->file, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_machine != EM_X86_64 || h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phoff > v->file_bytes ||
	    h.e_phnum * sizeof(Elf64_Phdr) > v->file_bytes - h.e_phoff || h.e_shoff > v->file_bytes ||
	    (uint64_t)h.e_shnum * h.e_shentsize > v->file_bytes - h.e_shoff)
		return unusual;
	v->elf_bytes = h.e_shoff + (uint64_t)h.e_shnum * h.e_shentsize;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p;

		memcpy(&p, v->file + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_LOAD && p.p_memsz && !add_segment(v, place, &p))
			return unusual;
	}
	v->entry = h.e_entry - place->linked;
	return entry_is_loaded(v) ? NULL : unusual;
}

/* Moves the file up until no segment has to. */
static const char *make_room(struct vmlinux *v, const struct vmlinux_place *place)
{
	uint64_t file_at = (uint64_t)(v->file - v->start); /* modulo 2^64: mostly it is below */
	int64_t up = 0;

	for (unsigned i = 0; i < v->segments; i++) {
		int64_t distance = (int64_t)(v->segment[i].at - v->segment[i].offset - file_at);

		up = distance > up ? distance : up;
	}
	if (up == 0)
		return NULL;
	if ((int64_t)file_at + up > (int64_t)place->room ||
	    v->file_bytes > place->room - (uint64_t)((int64_t)file_at + up))
		return "the vmlinux in it needs more room than its header says";
	memmove(v->file + up, v->file, v->file_bytes);
	v->file += up;
	return NULL;
}

/* The address that a table's entry means, or NULL. */
static uint8_t *relocated_field(const struct vmlinux *v, const uint8_t *word, uint64_t linked, uint64_t bytes)
{
	int32_t address;
	uint64_t at;

	memcpy(&address, word, sizeof(address));
	at = (uint64_t)(int64_t)address - MAP_BASE - linked;
	return v->span >= bytes && at <= v->span - bytes ? v->start + at : NULL;
}

static bool relocate_field(const struct vmlinux *v, const uint8_t *word, uint64_t linked, unsigned kind,
			   uint64_t distance)
{
	enum { ADD_64, SUBTRACT_32 };
	uint8_t *field = relocated_field(v, word, linked, kind == ADD_64 ? 8 : 4);
	uint64_t value = 0;

	if (!field)
		return false;
	memcpy(&value, field, kind == ADD_64 ? 8 : 4);
	value = kind == SUBTRACT_32 ? value - distance : value + distance;
	memcpy(field, &value, kind == ADD_64 ? 8 : 4);
	return true;
}

static bool is_zero(const uint8_t *word)
{
	return !(word[0] | word[1] | word[2] | word[3]);
}

/* Adds distance to all addresses that the table names. */
static const char *relocate(const struct vmlinux *v, uint64_t linked, uint64_t distance)
{
	static const char unusual[] = "its relocations are unusual";
	const uint8_t *table = v->file + v->elf_bytes, *end = v->file + v->file_bytes;
	unsigned lists = 0, kind = 0;

	if ((end - table) % 4 || !is_zero(table))
		return unusual;
	for (const uint8_t *word = table; word < end; word += 4)
		lists += is_zero(word);
	if (lists != 2 && lists != 3)
		return unusual;
	for (const uint8_t *word = table + 4; word < end; word += 4) {
		if (is_zero(word))
			kind += lists == 2 ? 2 : 1;
		else if (!relocate_field(v, word, linked, kind, distance))
			return unusual;
	}
	return NULL;
}

static void move_segments(const struct vmlinux *v)
{
	for (unsigned i = 0; i < v->segments; i++)
		if (v->start + v->segment[i].at != v->file + v->segment[i].offset)
			memmove(v->start + v->segment[i].at, v->file + v->segment[i].offset,
				v->segment[i].file_bytes);
}

static void clear_rest(const struct vmlinux *v)
{
	for (unsigned i = 0; i < v->segments; i++)
		memset(v->start + v->segment[i].at + v->segment[i].file_bytes, 0,
		       v->segment[i].memory_bytes - v->segment[i].file_bytes);
}

/* kaslr.c, find_random_phys_addr() and find_random_virt_addr(): any slot is as good as another. */
static uint64_t random_address(uint64_t lowest, uint64_t end, uint64_t room, uint64_t alignment,
			       uint64_t entropy)
{
	if (end < lowest || end - lowest < room)
		return lowest;
	return lowest + entropy % ((end - lowest - room) / alignment + 1) * alignment;
}

static const char *put_in_place(struct load *l, struct vmlinux *v, const struct vmlinux_place *place)
{
	const char *why = read_headers(v, place);
	uint64_t virtual;

	if (!why)
		why = make_room(v, place);
	if (why)
		return why;
	move_segments(v); /* never over what is behind elf_bytes: they move down */
	if (l->options.kaslr && v->elf_bytes < v->file_bytes) {
		virtual = random_address(place->linked, MAP_BYTES, place->room, place->alignment,
					 l->options.entropy[1]);
		why = relocate(v, place->linked, virtual - place->linked);
		if (!why)
			l->result->flags |= LOADER_RELOCATED;
	}
	clear_rest(v); /* the table may be there */
	return why;
}

const char *vmlinux_load(struct load *l, struct vmlinux_place *place)
{
	struct vmlinux v = {.file_bytes = unpack_size(place->payload, place->payload_bytes)};
	uint64_t gpa = place->linked, file_gpa;
	const char *why;

	if (place->alignment < ALIGNMENT_MIN || place->linked % place->alignment)
		return "its alignment is unusual";
	if (l->options.kaslr)
		gpa = random_address(gpa, place->limit, place->room, place->alignment, l->options.entropy[0]);
	file_gpa = gpa < BOOT_KERNEL_MIN + TEXT_OFFSET ? gpa : gpa - TEXT_OFFSET;
	if (v.file_bytes == 0 || v.file_bytes > place->room)
		return "the vmlinux in it is larger than its header says";
	v.file = guest_memory_range(l->mem, file_gpa, gpa - file_gpa + place->room);
	if (!v.file)
		return "there is no room to unpack it";
	v.start = v.file + (gpa - file_gpa);
	why = unpack(place->payload, place->payload_bytes, v.file, v.file_bytes, l->workspace);
	if (!why)
		why = put_in_place(l, &v, place);
	if (why)
		return why;
	place->entry = gpa + v.entry;
	l->result->flags |= LOADER_UNPACKED;
	return NULL;
}

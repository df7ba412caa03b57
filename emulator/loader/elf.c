/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: an ELF file says where its segments go (p_paddr). The program headers are walked
 * twice, to check all segments and to load them, and each header is copied and checked where it is used, so
 * an image that changes meanwhile can spoil the guest, and nothing else.
 *
 * Paragraphs: System V gABI, chapters 4 and 5.
 */
#include "emulator/loader/internal.h"

#include <errno.h>
#include <string.h>

#include "emulator/machine.h"

int elf_damaged(struct load *l, const char *what)
{
	return load_fail(l, EINVAL, LOADER_KERNEL, "damaged ELF file: %s: get a new copy", what);
}

int elf_read(struct load *l, struct elf *elf)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} h;
	uint16_t machine;

	memset(&h, 0, sizeof(h)); /* what is cut off reads as no program headers */
	load_read(l, 0, &h, l->image.have < sizeof(h) ? l->image.have : sizeof(h));
	elf->is64 = h.ident[EI_CLASS] == ELFCLASS64;
	machine = elf->is64 ? h.e64.e_machine : h.e32.e_machine;
	if (h.ident[EI_DATA] != ELFDATA2LSB || (!elf->is64 && h.ident[EI_CLASS] != ELFCLASS32) ||
	    machine != (elf->is64 ? EM_X86_64 : EM_386))
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "an ELF file for another kind of processor: build it for x86-64");
	elf->entry = elf->is64 ? h.e64.e_entry : h.e32.e_entry;
	elf->headers_at = elf->is64 ? h.e64.e_phoff : h.e32.e_phoff;
	elf->headers = elf->is64 ? h.e64.e_phnum : h.e32.e_phnum;
	elf->header_bytes = elf->is64 ? h.e64.e_phentsize : h.e32.e_phentsize;
	if (elf->headers == 0)
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "an ELF file without program headers, so not linked or truncated: give "
				 "vmlinux itself");
	if (elf->headers > ELF_HEADERS_MAX)
		return elf_damaged(l, "too many program headers");
	if (elf->header_bytes < (elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return elf_damaged(l, "its program headers are too small");
	if (elf->headers_at > l->image.size)
		return elf_damaged(l, "its program headers are past its end");
	return 0;
}

int elf_read_segment(struct load *l, const struct elf *elf, uint32_t index, Elf64_Phdr *p)
{
	uint64_t at = elf->headers_at + (uint64_t)index * elf->header_bytes; /* below 2^63 + 2^23 */
	Elf32_Phdr p32;
	int r;

	if (elf->is64)
		return load_read(l, at, p, sizeof(*p));
	r = load_read(l, at, &p32, sizeof(p32));
	if (r < 0)
		return r;
	*p = (Elf64_Phdr){.p_type = p32.p_type,
			  .p_offset = p32.p_offset,
			  .p_paddr = p32.p_paddr,
			  .p_filesz = p32.p_filesz,
			  .p_memsz = p32.p_memsz,
			  .p_align = p32.p_align};
	return 0;
}

static int check_segment(struct load *l, const Elf64_Phdr *p)
{
	if (p->p_filesz > p->p_memsz)
		return elf_damaged(l, "a segment is larger in the file than in memory");
	if (p->p_offset > l->image.have || p->p_filesz > l->image.have - p->p_offset)
		return load_truncated(l, "a segment ends");
	if (p->p_paddr < BOOT_KERNEL_MIN || p->p_paddr >= MMIO_HOLE_START ||
	    p->p_memsz > MMIO_HOLE_START - p->p_paddr)
		return load_fail(l, ENOEXEC, LOADER_KERNEL,
				 "a segment of 0x%llx bytes for address 0x%llx, where no memory can be: link "
				 "it to run from 1 MiB to 3 GiB",
				 (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr);
	if (p->p_paddr + p->p_memsz > l->low_end)
		return load_too_large(l, p->p_paddr + p->p_memsz);
	return 0;
}

static int load_segment(struct load *l, const Elf64_Phdr *p)
{
	uint64_t zeros = p->p_memsz - p->p_filesz;
	int r = load_put_image(l, p->p_offset, p->p_paddr, p->p_filesz);
	void *rest;

	if (r < 0 || zeros == 0)
		return r;
	rest = guest_memory_range(l->mem, p->p_paddr + p->p_filesz, zeros);
	if (!rest)
		return load_fail(l, ENOMEM, LOADER_KERNEL,
				 "has no room in the guest's memory: give more --mem");
	memset(rest, 0, zeros);
	return 0;
}

int elf_walk(struct load *l, const struct elf *elf, bool load, uint64_t entry, uint64_t *end)
{
	bool entered = false;

	*end = 0;
	for (uint32_t i = 0; i < elf->headers; i++) {
		Elf64_Phdr p;
		int r = elf_read_segment(l, elf, i, &p);

		if (r < 0)
			return r;
		if (p.p_type != PT_LOAD || p.p_memsz == 0)
			continue;
		r = check_segment(l, &p);
		if (r < 0)
			return r;
		entered |= entry >= p.p_paddr && entry - p.p_paddr < p.p_filesz;
		*end = p.p_paddr + p.p_memsz > *end ? p.p_paddr + p.p_memsz : *end;
		if (load)
			r = load_segment(l, &p);
		if (r < 0)
			return r;
	}
	if (!entered)
		return elf_damaged(l, "its entry is in none of its segments");
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the GDT in guest memory and the segment registers that KVM is told are made from the
 * same descriptors, so that a kernel that reloads a segment finds what it already has.
 *
 * Long mode is what boot.rst, "64-bit Boot Protocol", asks for: flat CS 0x10 and DS, ES, SS 0x18, interrupts
 * off, and memory mapped one to one where kernel, parameters and command line are: here all of 4 GiB.
 *
 * Protected mode is what Xen's pvh.pandoc asks for: flat segments, a 32-bit TSS of limit 0x67, CR0 with PE
 * alone, CR4 zero. The Multiboot Specification (3.2) asks for the same, and a number in eax.
 */
#include "vmm/boot_internal.h"

#include <asm/processor-flags.h>
#include <errno.h>
#include <string.h>

#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITE    (1ull << 1)
#define PTE_LARGE    (1ull << 7)
#define PAGE_BYTES   4096ull
#define PAGE_ENTRIES 512ull
#define MAPPED_GIB   4ull

#define SELECTOR_CS 0x10
#define SELECTOR_DS 0x18
#define SELECTOR_TR 0x20

/* SDM volume 3, 3.4.5: base 0, limit 4 GiB, present, accessed. */
#define DESCRIPTOR_CODE32 0x00cf9b000000ffffull
#define DESCRIPTOR_CODE64 0x00af9b000000ffffull
#define DESCRIPTOR_DATA   0x00cf93000000ffffull
#define DESCRIPTOR_TSS    0x00008b0000000067ull /* busy; in long mode its upper half, zero, follows */

#define MULTIBOOT_MAGIC 0x2badb002u

#define GDT_ENTRIES 6
static const uint64_t gdt_of_kind[LOADER_KINDS][GDT_ENTRIES] = {
	[LOADER_LONG_MODE] = {0, 0, DESCRIPTOR_CODE64, DESCRIPTOR_DATA, DESCRIPTOR_TSS, 0},
	[LOADER_PVH] = {0, 0, DESCRIPTOR_CODE32, DESCRIPTOR_DATA, DESCRIPTOR_TSS, 0},
	[LOADER_MULTIBOOT] = {0, 0, DESCRIPTOR_CODE32, DESCRIPTOR_DATA, DESCRIPTOR_TSS, 0},
};

/* PML4, one page of pointers, and MAPPED_GIB pages that map 1 GiB each in pages of 2 MiB. */
static int put_page_tables(const struct guest_memory *mem, char error[BOOT_ERROR_BYTES])
{
	const uint64_t flags = PTE_PRESENT | PTE_WRITE;
	const uint64_t pointers_gpa = BOOT_PML4_GPA + PAGE_BYTES, directories_gpa = pointers_gpa + PAGE_BYTES;
	uint64_t *pml4 = guest_memory_range(mem, BOOT_PML4_GPA, (2 + MAPPED_GIB) * PAGE_BYTES);
	uint64_t *pointers, *directories;

	if (!pml4)
		return boot_fail(error, ENOMEM, "--mem", "the guest's memory ends below 1 MiB: give more");
	pointers = pml4 + PAGE_ENTRIES;
	directories = pointers + PAGE_ENTRIES;
	memset(pml4, 0, 2 * PAGE_BYTES);
	pml4[0] = pointers_gpa | flags;
	for (uint64_t i = 0; i < MAPPED_GIB; i++)
		pointers[i] = (directories_gpa + i * PAGE_BYTES) | flags;
	for (uint64_t i = 0; i < MAPPED_GIB * PAGE_ENTRIES; i++)
		directories[i] = i * 2 * MIB | flags | PTE_LARGE;
	return 0;
}

int boot_put_tables(const struct guest_memory *mem, enum loader_kind kind, char error[BOOT_ERROR_BYTES])
{
	int r = boot_put(mem, BOOT_GDT_GPA, gdt_of_kind[kind], sizeof(gdt_of_kind[kind]), error);

	if (r == 0 && kind == LOADER_LONG_MODE)
		r = put_page_tables(mem, error);
	return r;
}

/* What the processor would load for this selector, SDM volume 3, figure 3-8. All our bases are 0. */
static struct kvm_segment segment(enum loader_kind kind, uint16_t selector)
{
	uint64_t d = gdt_of_kind[kind][selector / 8];
	struct kvm_segment s = {
		.selector = selector,
		.limit = (uint32_t)((d >> 32 & 0xf0000) | (d & 0xffff)),
		.type = d >> 40 & 15,
		.s = d >> 44 & 1,
		.dpl = d >> 45 & 3,
		.present = d >> 47 & 1,
		.l = d >> 53 & 1,
		.db = d >> 54 & 1,
		.g = d >> 55 & 1,
	};

	if (s.g) /* KVM wants bytes */
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

void boot_sregs(const struct boot_entry *entry, struct kvm_sregs *sregs)
{
	struct kvm_segment data = segment(entry->kind, SELECTOR_DS);

	sregs->cs = segment(entry->kind, SELECTOR_CS);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = segment(entry->kind, SELECTOR_TR);
	sregs->ldt = (struct kvm_segment){.type = 2, .unusable = 1};
	sregs->gdt = (struct kvm_dtable){.base = BOOT_GDT_GPA, .limit = sizeof(gdt_of_kind[0]) - 1};
	/* No IDT: an exception before the kernel has its own is a triple fault. */
	sregs->idt = (struct kvm_dtable){0};
	sregs->cr0 = X86_CR0_PE | X86_CR0_ET;
	sregs->cr2 = sregs->cr3 = sregs->cr4 = sregs->efer = 0;
	if (entry->kind == LOADER_LONG_MODE) {
		sregs->cr0 |= X86_CR0_PG;
		sregs->cr3 = BOOT_PML4_GPA;
		sregs->cr4 = X86_CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
	}
}

void boot_regs(const struct boot_entry *entry, struct kvm_regs *regs)
{
	*regs = (struct kvm_regs){.rip = entry->rip, .rflags = X86_EFLAGS_FIXED};
	if (entry->kind == LOADER_LONG_MODE)
		regs->rsi = entry->params_gpa;
	else
		regs->rbx = entry->params_gpa;
	if (entry->kind == LOADER_MULTIBOOT)
		regs->rax = MULTIBOOT_MAGIC;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot: puts a kernel, its initrd and its command line into guest memory, and says in which state the first
 * processor has to start. No KVM calls: numbers in, bytes in guest memory and numbers out.
 *
 * Two kinds of kernel are taken:
 * - bzImage by its 64-bit entry (Linux, Documentation/arch/x86/boot.rst, protocol 2.12 or newer);
 * - an ELF file, 32 or 64 bits, by its PVH entry (Xen, docs/misc/pvh.pandoc; XEN_ELFNOTE_PHYS32_ENTRY).
 *
 * Files are not trusted: every field is checked before it is used, and the data is read straight into guest
 * memory.
 *
 * Owns, until the kernel takes over: [0x1000, 0x20000) of guest memory, and what the kernel and the initrd
 * occupy. The memory map leaves out [0x9fc00, 1 MiB); the ACPI tables are there (vmm/acpi.h).
 * Threads: call before any vCPU runs. Sizes and addresses: bytes.
 */
#ifndef DVMM_VMM_BOOT_H
#define DVMM_VMM_BOOT_H

#include <stdint.h>

#include <linux/kvm.h>

#include "devices/guest_memory.h"

#define BOOT_ERROR_BYTES 512 /* of an error message, with its NUL; longer ones are cut */

struct boot_file {
	int fd; /* open for reading, a regular file; -1: none. Its file offset is neither used nor moved */
	const char *name; /* for messages */
};

struct boot_files {
	struct boot_file kernel;
	struct boot_file initrd; /* optional */
	const char *cmdline;
};

enum boot_mode {
	BOOT_LONG_MODE,      /* 64 bits, the first 4 GiB mapped one to one */
	BOOT_PROTECTED_MODE, /* 32 bits, flat segments, paging off */
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t params_gpa; /* what the kernel gets: struct boot_params in rsi, or hvm_start_info in ebx */
};

/*
 * Loads everything. Guest memory holds ram_bytes of RAM, mapped as emulator/machine.h says: from 0 up to
 * MMIO_HOLE_START, the rest from 4 GiB on. It need not be zero. rsdp_gpa is what acpi_build() returned.
 *
 * Returns 0, or -errno with one line in `error`: what is wrong with which file or option, and the way out.
 *
 *   -ENOEXEC  not a kernel that can be booted
 *   -EINVAL   a file that is damaged, empty or not a regular file
 *   -ENOMEM   it does not fit in the guest's memory
 *   -E2BIG    the command line is too long
 *   others    what fstat() or pread() said
 *
 * After an error guest memory holds anything at all.
 */
int boot_load(const struct guest_memory *mem, uint64_t ram_bytes, const struct boot_files *files,
	      uint64_t rsdp_gpa, struct boot_entry *entry, char error[BOOT_ERROR_BYTES]);

/*
 * The state of the first processor. boot_sregs() changes what KVM_GET_SREGS returned: segments, descriptor
 * tables, control registers and EFER; it leaves the APIC base alone. boot_regs() sets every register. The
 * other processors stay as KVM makes them: they wait for the start-up IPI.
 */
void boot_sregs(const struct boot_entry *entry, struct kvm_sregs *sregs);
void boot_regs(const struct boot_entry *entry, struct kvm_regs *regs);

#endif

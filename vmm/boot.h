/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot, dvmm's part: gets the bytes of kernel, initrd and command line into shared memory, has the loader
 * (emulator/loader, in the emulator) make a guest of them, checks what that says, and knows in which state
 * the first processor has to start. No KVM calls, and no look at any byte of the files.
 *
 *     boot_examine()   are these files? how large?
 *     boot_stage()     command line and kernel into memory; the request for the loader
 *     ...              loader_run(), in the emulator or here
 *     boot_finish()    the initrd to where the loader wants it; tables; entry
 *
 * Threads: call before any vCPU runs. Sizes and addresses: bytes.
 */
#ifndef DVMM_VMM_BOOT_H
#define DVMM_VMM_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/kvm.h>

#include "emulator/loader/loader.h"

#define BOOT_ERROR_BYTES 512 /* of an error message, with its NUL; longer ones are cut */

struct boot_file {
	int fd; /* open for reading, a regular file; -1: none. Its file offset is neither used nor moved */
	const char *name; /* for messages */
	uint64_t bytes;   /* by boot_examine() */
};

struct boot_files {
	struct boot_file kernel;
	struct boot_file initrd; /* optional */
	const char *cmdline;     /* or NULL */
	bool kaslr;
};

struct boot_entry {
	enum loader_kind kind;
	uint64_t rip;
	uint64_t params_gpa; /* what the kernel gets, in rsi or ebx */
};

/*
 * All return 0, or -errno with one line in `error`: what is wrong with which file or option, and the way out.
 *
 *   -ENOEXEC  not a kernel that can be booted
 *   -EINVAL   a file that is damaged, empty or not a regular file
 *   -ENOMEM   it does not fit in the guest's memory
 *   -E2BIG    the command line is too long
 *   -EPROTO   the loader answered nonsense
 *   others    what fstat(), pread() or getrandom() said
 *
 * After an error guest memory holds anything at all. boot_finish() may also succeed with a line: why the
 * guest has to unpack itself.
 *
 * Guest memory holds ram_bytes of RAM, mapped as emulator/machine.h says: from 0 up to MMIO_HOLE_START, the
 * rest from 4 GiB on. It need not be zero. rsdp_gpa is what acpi_build() returned. staging is
 * loader_staging_bytes(files->kernel.bytes) large. *result is our own copy of what the loader said.
 */
int boot_examine(struct boot_files *files, char error[BOOT_ERROR_BYTES]);
int boot_stage(const struct guest_memory *mem, uint64_t ram_bytes, const struct boot_files *files,
	       uint64_t rsdp_gpa, void *staging, struct loader_request *request,
	       char error[BOOT_ERROR_BYTES]);
int boot_finish(const struct guest_memory *mem, uint64_t ram_bytes, const struct boot_files *files,
		const struct loader_result *result, struct boot_entry *entry, char error[BOOT_ERROR_BYTES]);

/*
 * The state of the first processor. boot_sregs() changes what KVM_GET_SREGS returned: segments, descriptor
 * tables, control registers and EFER; it leaves the APIC base alone. boot_regs() sets every register. The
 * other processors stay as KVM makes them: they wait for the start-up IPI.
 */
void boot_sregs(const struct boot_entry *entry, struct kvm_sregs *sregs);
void boot_regs(const struct boot_entry *entry, struct kvm_regs *regs);

#endif

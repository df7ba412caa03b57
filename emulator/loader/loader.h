/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loader: the bytes of a kernel file in, a guest that can be entered out.
 *
 * Whatever parses or unpacks the kernel is here, so that it runs in the sandbox: dvmm itself looks at no byte
 * of the file. With --emulation=in-process dvmm calls the same function.
 *
 * Taken are:
 * - bzImage (Linux, Documentation/arch/x86/boot.rst, protocol 2.12 or newer). Its payload, gzip, lz4, zstd or
 *   xz, is unpacked here, the vmlinux in it put into place, relocated by its own table (KASLR) and entered at
 * its 64-bit entry. Where anything about it is unusual, the guest gets the bzImage's own code and unpacks
 *   itself;
 * - ELF, 32 or 64 bits, by its PVH entry (Xen, docs/misc/pvh.pandoc);
 * - multiboot 1 images, ELF or with addresses in their header (Multiboot Specification 0.6.96).
 *
 * A pure function: no system call, no allocation, no variable of its own, no pointer kept. Everything comes
 * as an argument, and everything is written to guest memory, the workspace and the result. The image is not
 * trusted, nor must it stay the same: whatever is checked is a copy.
 *
 * Owns, until the kernel takes over: [0x1000, 0x20000) of guest memory, and what kernel and initrd occupy.
 * Threads: any, before a vCPU runs. Sizes and addresses: bytes.
 */
#ifndef DVMM_EMULATOR_LOADER_LOADER_H
#define DVMM_EMULATOR_LOADER_LOADER_H

#include <stddef.h>
#include <stdint.h>

#include "devices/guest_memory.h"

/* Low memory, as the kernel finds it. */
#define BOOT_GDT_GPA     0x1000ull /* dvmm's, as the page tables */
#define BOOT_PARAMS_GPA  0x2000ull /* struct boot_params, or what PVH or multiboot have in its place */
#define BOOT_PML4_GPA    0x4000ull /* then one page of pointers and four of 2 MiB pages */
#define BOOT_CMDLINE_GPA 0x10000ull
#define BOOT_CMDLINE_MAX 0xffffull   /* name, a space and the command line, without the NUL */
#define BOOT_LOW_END     0x9fc00ull  /* where the EBDA of a PC begins */
#define BOOT_KERNEL_MIN  0x100000ull /* nothing is loaded below */

#define LOADER_IMAGE_MAX  (128ull << 20) /* of a file, so much is looked at */
#define LOADER_WORKSPACE  (48ull << 20)  /* xz needs most: its dictionary, 32 MiB for Linux */
#define LOADER_TEXT_BYTES 384

/* The kernel file, as far as it was read. */
struct loader_image {
	const uint8_t *bytes;
	uint64_t have; /* bytes that are there */
	uint64_t size; /* of the file; what is behind `have` cannot be used */
};

/* What dvmm asks for. */
struct loader_options {
	uint64_t ram_bytes;     /* guest memory, mapped as emulator/machine.h says */
	uint64_t rsdp_gpa;      /* ACPI's root pointer */
	uint64_t initrd_bytes;  /* 0: there is none; the loader only finds a place */
	uint32_t name_bytes;    /* at BOOT_CMDLINE_GPA: a name, a space, the command line, NUL */
	uint32_t cmdline_bytes; /* without NUL */
	uint32_t kaslr;         /* 1: at an address made of entropy[], where the kernel can */
	uint32_t unused;
	uint64_t entropy[2]; /* random numbers: for the physical and for the virtual address */
};

enum loader_kind {
	LOADER_NOTHING = 0,
	LOADER_LONG_MODE, /* 64 bits, the first 4 GiB mapped one to one; rsi: struct boot_params */
	LOADER_PVH,       /* 32 bits, flat segments, paging off; ebx: struct hvm_start_info */
	LOADER_MULTIBOOT, /* the same, with eax 0x2badb002; ebx: the multiboot information */
	LOADER_KINDS
};

/* Which file or option an error is about. */
enum loader_subject { LOADER_KERNEL = 0, LOADER_INITRD, LOADER_CMDLINE, LOADER_MEM, LOADER_SUBJECTS };

enum loader_flags {
	LOADER_UNPACKED = 1u << 0,  /* the guest need not unpack itself */
	LOADER_RELOCATED = 1u << 1, /* its addresses are random */
};

struct loader_result {
	uint32_t kind;  /* enum loader_kind; LOADER_NOTHING: `text` says why */
	uint32_t flags; /* enum loader_flags */
	int32_t error;  /* 0, or -errno */
	uint32_t subject;
	uint64_t entry;               /* first instruction, guest-physical */
	uint64_t params_gpa;          /* for rsi or ebx */
	uint64_t initrd_gpa;          /* where the initrd belongs; a multiple of 4096 */
	char text[LOADER_TEXT_BYTES]; /* one line without the name of the file. With LOADER_NOTHING the error;
					 otherwise empty, or why the guest has to unpack itself */
};

/*
 * Loads. workspace is LOADER_WORKSPACE bytes, 16-byte aligned, that hold anything; of it only what is needed
 * is touched. Guest memory need not be zero.
 *
 * Returns 0 and a result of one of the kinds, or -errno, the result saying why:
 *   -ENOEXEC  not a kernel that can be booted
 *   -EINVAL   a damaged or truncated file
 *   -ENOMEM   it does not fit in the guest's memory
 *   -E2BIG    the command line is too long
 * After an error guest memory holds anything at all.
 */
int loader_load(const struct loader_image *image, const struct guest_memory *mem,
		const struct loader_options *options, void *workspace, struct loader_result *result);

/*
 * How dvmm and the emulator do it: the image's bytes and then the workspace lie behind guest memory, in the
 * same file, where no guest sees them and dvmm can give them back in one piece. The request is in the
 * request file, the result in the reply file (mailbox.h).
 */
struct loader_request {
	uint32_t posted; /* futex; 1: all of the rest is valid */
	uint32_t unused;
	uint64_t image_have, image_size;
	struct loader_options options;
};

static inline uint64_t loader_image_room(uint64_t image_size)
{
	return ((image_size < LOADER_IMAGE_MAX ? image_size : LOADER_IMAGE_MAX) + 4095) & ~4095ull;
}
/* What the file has behind guest memory. */
static inline uint64_t loader_staging_bytes(uint64_t image_size)
{
	return loader_image_room(image_size) + LOADER_WORKSPACE;
}

/* loader_load() on that; staging is the address behind guest memory. */
int loader_run(const struct loader_request *request, const struct guest_memory *mem, uint8_t *staging,
	       struct loader_result *result);

#endif

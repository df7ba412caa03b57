/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of booting share: guest memory, the files of a guest, all that is done to boot it from them,
 * and kernels made here: a bzImage, and ELF files with a PVH entry.
 */
#ifndef DVMM_TESTS_BOOT_HARNESS_H
#define DVMM_TESTS_BOOT_HARNESS_H

#include <asm/bootparam.h>
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulator/machine.h"
#include "tests/unit/run_suite.h"
#include "vmm/boot.h"

#define MIB         (1ull << 20)
#define RAM_BYTES   (32 * MIB)
#define LOAD_GPA    0x1000000ull
#define INIT_SIZE   0x20000u
#define SETUP_BYTES 1024u
#define CODE_BYTES  8192u
#define IMAGE_MAX   16384u
#define RSDP_GPA    0xe0000ull

/* A fresh one for every test. RAM is full of garbage, with an inaccessible page behind. */
static struct guest_memory mem;
static uint8_t *staging; /* room for an image of IMAGE_MAX and the workspace */
static struct boot_files files;
static struct boot_entry entry;
static char error[BOOT_ERROR_BYTES];
static uint8_t image[IMAGE_MAX]; /* what goes into the kernel file */
static size_t image_bytes;

static inline int make_file(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
	return fd;
}

static inline void setup(void)
{
	mem.seg[0] = (struct guest_memory_segment){.gpa = 0, .size = RAM_BYTES};
	mem.seg[0].host = mmap(NULL, RAM_BYTES + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(mem.seg[0].host != MAP_FAILED);
	ck_assert_int_eq(mprotect(mem.seg[0].host, RAM_BYTES, PROT_READ | PROT_WRITE), 0);
	staging = mmap(NULL, loader_staging_bytes(IMAGE_MAX), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(staging != MAP_FAILED);
	memset(mem.seg[0].host, 0xa5, MIB);
	memset(mem.seg[0].host + LOAD_GPA, 0xa5, MIB);
	files = (struct boot_files){.kernel = {make_file("", 0), "vmlinuz", 0},
				    .initrd = {-1, "initrd", 0},
				    .cmdline = "console=ttyS0"};
}

static inline void teardown(void)
{
	munmap(mem.seg[0].host, RAM_BYTES + 4096);
	munmap(staging, loader_staging_bytes(IMAGE_MAX));
	close(files.kernel.fd);
	if (files.initrd.fd >= 0)
		close(files.initrd.fd);
}

static inline void *at(uint64_t gpa, uint64_t len)
{
	void *host = guest_memory_range(&mem, gpa, len);

	ck_assert_ptr_nonnull(host);
	return host;
}

/* All that dvmm and the emulator do, one after the other. */
static inline int load_files(uint64_t ram_bytes)
{
	struct loader_request request;
	struct loader_result result;
	int r = boot_examine(&files, error);

	if (r == 0)
		r = boot_stage(&mem, ram_bytes, &files, RSDP_GPA, staging, &request, error);
	if (r < 0)
		return r;
	r = loader_run(&request, &mem, staging, &result);
	ck_assert_int_eq(r, result.error);
	ck_assert_int_eq(r == 0, result.kind != LOADER_NOTHING);
	return boot_finish(&mem, ram_bytes, &files, &result, &entry, error);
}

static inline int load_with(uint64_t ram_bytes)
{
	ck_assert_int_eq(ftruncate(files.kernel.fd, 0), 0);
	ck_assert_int_eq(pwrite(files.kernel.fd, image, image_bytes, 0), (ssize_t)image_bytes);
	memset(error, 'x', sizeof(error));
	return load_files(ram_bytes);
}

static inline int load(void)
{
	return load_with(RAM_BYTES);
}

static inline void must_load(void)
{
	int r = load();

	ck_assert_msg(r == 0, "%d: %s", r, error);
	if (entry.kind == LOADER_LONG_MODE) /* the bzImages here have no payload */
		ck_assert_str_eq(error,
				 "vmlinuz: the guest has to unpack it: its header tells of no payload");
	else
		ck_assert_str_eq(error, "");
}

/* The load fails with this errno and a line that begins and goes on like this. */
static inline void must_fail(int err, const char *name, const char *text)
{
	int r = load();

	ck_assert_msg(r == -err, "%d instead of %d: %s", r, -err, error);
	ck_assert_msg(strncmp(error, name, strlen(name)) == 0 && error[strlen(name)] == ':', "%s", error);
	ck_assert_msg(strstr(error, text) != NULL, "'%s' without '%s'", error, text);
}

/* ---- Kernels ---- */

static inline struct setup_header *header(void)
{
	return (struct setup_header *)(image + 0x1f1);
}

static inline void make_bzimage(void)
{
	struct setup_header h = {
		.setup_sects = SETUP_BYTES / 512 - 1,
		.syssize = CODE_BYTES / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = LOAD_GPA,
		.init_size = INIT_SIZE,
	};

	image_bytes = SETUP_BYTES + CODE_BYTES;
	memset(image, 0, sizeof(image));
	memcpy(image + 0x1f1, &h, sizeof(h));
	for (unsigned i = 0; i < CODE_BYTES; i++)
		image[SETUP_BYTES + i] = (uint8_t)(i * 7 + i / 256);
}

#define ELF_CODE_AT     0x1000u
#define ELF_CODE_BYTES  0x800u
#define ELF_CODE_MEMORY 0x1800u
#define ELF_NOTES_AT    0x400u
#define ELF_ENTRY       (LOAD_GPA + 0x123)

static inline Elf64_Phdr *phdr(unsigned i)
{
	return (Elf64_Phdr *)(image + sizeof(Elf64_Ehdr)) + i;
}

/* Two notes: somebody else's, with a length that needs padding, and the one that matters. */
static inline uint32_t make_notes(uint8_t *to, bool is64)
{
	static const struct {
		Elf64_Nhdr h;
		char name[8];
		char desc[8];
	} other = {{4, 5, 18}, "GNU", "xxxxx"};
	const struct {
		Elf64_Nhdr h;
		char name[4];
		uint32_t desc[2];
	} xen = {{4, is64 ? 8 : 4, 18}, "Xen", {ELF_ENTRY, 0}};

	memset(to, 0, 64);
	memcpy(to, &other.h, 12);
	memcpy(to + 12, other.name, 4);
	memcpy(to + 16, other.desc, 5);
	memcpy(to + 24, &xen, sizeof(xen));
	return 24 + 16 + (is64 ? 8 : 4);
}

static inline void make_elf_code(void)
{
	memset(image, 0, sizeof(image));
	image_bytes = ELF_CODE_AT + ELF_CODE_BYTES;
	for (unsigned i = 0; i < ELF_CODE_BYTES; i++)
		image[ELF_CODE_AT + i] = (uint8_t)(i * 11 + 3);
}

static inline void make_elf64(void)
{
	Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_phoff = sizeof(h),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3};

	make_elf_code();
	memcpy(image, &h, sizeof(h));
	*phdr(0) = (Elf64_Phdr){.p_type = PT_LOAD,
				.p_offset = ELF_CODE_AT,
				.p_paddr = LOAD_GPA,
				.p_filesz = ELF_CODE_BYTES,
				.p_memsz = ELF_CODE_MEMORY};
	*phdr(1) = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_paddr = LOAD_GPA + 0x10000, .p_memsz = 0x100}; /* only zeros */
	*phdr(2) = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = ELF_NOTES_AT, .p_align = 4};
	phdr(2)->p_filesz = make_notes(image + ELF_NOTES_AT, true);
}

static inline void make_elf32(void)
{
	Elf32_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_386,
			.e_phoff = sizeof(h),
			.e_phentsize = sizeof(Elf32_Phdr),
			.e_phnum = 2};
	Elf32_Phdr p[2] = {
		{.p_type = PT_NOTE, .p_offset = ELF_NOTES_AT, .p_align = 4},
		{.p_type = PT_LOAD,
		 .p_offset = ELF_CODE_AT,
		 .p_paddr = LOAD_GPA,
		 .p_filesz = ELF_CODE_BYTES,
		 .p_memsz = ELF_CODE_MEMORY},
	};

	make_elf_code();
	p[0].p_filesz = make_notes(image + ELF_NOTES_AT, false);
	memcpy(image, &h, sizeof(h));
	memcpy(image + sizeof(h), p, sizeof(p));
}

/* A flat segment of privilege level 0. */
static inline void check_flat(const struct kvm_segment *s, uint16_t selector, uint8_t type)
{
	ck_assert_uint_eq(s->selector, selector);
	ck_assert_uint_eq(s->base, 0);
	ck_assert_uint_eq(s->limit, UINT32_MAX);
	ck_assert_uint_eq(s->type, type);
	ck_assert_uint_eq(s->s, 1);
	ck_assert_uint_eq(s->dpl, 0);
	ck_assert_uint_eq(s->present, 1);
	ck_assert_uint_eq(s->g, 1);
}

/* A case whose tests have fresh memory and files each. */
static inline TCase *boot_tests(const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	return t;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boot loader on images made here: what a good one leaves in guest memory and in the registers, what each
 * kind of bad one is told, and, with images damaged at random (a fixed seed), that none does more than that.
 */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulator/machine.h"

#define MIB         (1ull << 20)
#define RAM_BYTES   (32 * MIB)
#define HIGH_BYTES  MIB /* what test_high_memory has above 4 GiB */
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

static int make_file(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
	return fd;
}

static void setup(void)
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

static void teardown(void)
{
	munmap(mem.seg[0].host, RAM_BYTES + 4096);
	munmap(staging, loader_staging_bytes(IMAGE_MAX));
	close(files.kernel.fd);
	if (files.initrd.fd >= 0)
		close(files.initrd.fd);
}

static void *at(uint64_t gpa, uint64_t len)
{
	void *host = guest_memory_range(&mem, gpa, len);

	ck_assert_ptr_nonnull(host);
	return host;
}

/* All that dvmm and the emulator do, one after the other. */
static int load_files(uint64_t ram_bytes)
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

static int load_with(uint64_t ram_bytes)
{
	ck_assert_int_eq(ftruncate(files.kernel.fd, 0), 0);
	ck_assert_int_eq(pwrite(files.kernel.fd, image, image_bytes, 0), (ssize_t)image_bytes);
	memset(error, 'x', sizeof(error));
	return load_files(ram_bytes);
}

static int load(void)
{
	return load_with(RAM_BYTES);
}

static void must_load(void)
{
	int r = load();

	ck_assert_msg(r == 0, "%d: %s", r, error);
	if (entry.kind == LOADER_LONG_MODE) /* the bzImages here have no payload */
		ck_assert_str_eq(error, "vmlinuz: the guest has to unpack it: its header tells of no payload");
	else
		ck_assert_str_eq(error, "");
}

/* The load fails with this errno and a line that begins and goes on like this. */
static void must_fail(int err, const char *name, const char *text)
{
	int r = load();

	ck_assert_msg(r == -err, "%d instead of %d: %s", r, -err, error);
	ck_assert_msg(strncmp(error, name, strlen(name)) == 0 && error[strlen(name)] == ':', "%s", error);
	ck_assert_msg(strstr(error, text) != NULL, "'%s' without '%s'", error, text);
}

/* ---- bzImage ---- */

static struct setup_header *header(void)
{
	return (struct setup_header *)(image + 0x1f1);
}

static void make_bzimage(void)
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

START_TEST(bzimage_is_loaded)
{
	const struct boot_params *p;

	make_bzimage();
	must_load();
	ck_assert_int_eq(entry.kind, LOADER_LONG_MODE);
	ck_assert_uint_eq(entry.rip, LOAD_GPA + 0x200);
	ck_assert_mem_eq(at(LOAD_GPA, CODE_BYTES), image + SETUP_BYTES, CODE_BYTES);
	p = at(entry.params_gpa, sizeof(*p));
	ck_assert_uint_eq(p->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(p->hdr.header, 0x53726448);
	ck_assert_uint_eq(p->hdr.init_size, INIT_SIZE);
	ck_assert_uint_eq(p->hdr.ramdisk_size, 0);
	ck_assert_uint_eq(p->acpi_rsdp_addr, RSDP_GPA);
	ck_assert_uint_eq(p->sentinel, 0);
	ck_assert_str_eq(at(p->hdr.cmd_line_ptr, 64), "console=ttyS0");
}
END_TEST

START_TEST(e820_below_the_hole)
{
	static const struct boot_e820_entry want[] = {
		{0, 0x9fc00, 1},
		{0x9fc00, 0x400, 2},
		{0xe0000, 0x20000, 2},
		{MIB, RAM_BYTES - MIB, 1},
	};
	const struct boot_params *p;

	make_bzimage();
	must_load();
	p = at(entry.params_gpa, sizeof(*p));
	ck_assert_uint_eq(p->e820_entries, 4);
	ck_assert_mem_eq(p->e820_table, want, sizeof(want));
}
END_TEST

/* RAM that says to be 3 GiB and 1 MiB large: what is not touched need not exist. */
START_TEST(e820_above_the_hole)
{
	const struct boot_params *p;

	make_bzimage();
	ck_assert_int_eq(load_with(MMIO_HOLE_START + HIGH_BYTES), 0);
	p = at(entry.params_gpa, sizeof(*p));
	ck_assert_uint_eq(p->e820_entries, 5);
	ck_assert_uint_eq(p->e820_table[3].size, MMIO_HOLE_START - MIB);
	ck_assert_uint_eq(p->e820_table[4].addr, MMIO_HOLE_END);
	ck_assert_uint_eq(p->e820_table[4].size, HIGH_BYTES);
}
END_TEST

START_TEST(initrd_is_at_the_top)
{
	static uint8_t bytes[5000];
	const struct boot_params *p;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13);
	make_bzimage();
	files.initrd.fd = make_file(bytes, sizeof(bytes));
	must_load();
	p = at(entry.params_gpa, sizeof(*p));
	ck_assert_uint_eq(p->hdr.ramdisk_image, RAM_BYTES - 8192);
	ck_assert_uint_eq(p->hdr.ramdisk_size, sizeof(bytes));
	ck_assert_mem_eq(at(p->hdr.ramdisk_image, sizeof(bytes)), bytes, sizeof(bytes));

	header()->initrd_addr_max = 24 * MIB - 1;
	must_load();
	ck_assert_uint_eq(p->hdr.ramdisk_image, 24 * MIB - 8192);

	header()->initrd_addr_max = LOAD_GPA + INIT_SIZE + 8191; /* just enough */
	must_load();
	ck_assert_uint_eq(p->hdr.ramdisk_image, LOAD_GPA + INIT_SIZE);
	header()->initrd_addr_max--; /* a byte less is a page less */
	must_fail(ENOMEM, "initrd", "cannot be placed");
}
END_TEST

START_TEST(initrd_that_does_not_fit)
{
	make_bzimage();
	files.initrd.fd = make_file("", 0);
	must_fail(EINVAL, "initrd", "empty");
	ck_assert_int_eq(ftruncate(files.initrd.fd, (off_t)(RAM_BYTES - LOAD_GPA - INIT_SIZE)), 0);
	must_load();
	ck_assert_int_eq(ftruncate(files.initrd.fd, (off_t)(RAM_BYTES - LOAD_GPA - INIT_SIZE + 1)), 0);
	must_fail(ENOMEM, "initrd", "give --mem 33M or more");
	ck_assert_int_eq(ftruncate(files.initrd.fd, 1ll << 40), 0);
	must_fail(ENOMEM, "initrd", "make it smaller");
	close(files.initrd.fd);
	files.initrd.fd = open("/", O_RDONLY);
	must_fail(EINVAL, "initrd", "directory");
	close(files.initrd.fd);
	files.initrd.fd = open("/dev/zero", O_RDONLY);
	must_fail(EINVAL, "initrd", "regular file");
	close(files.initrd.fd);
	files.initrd.fd = open("/dev/null", O_WRONLY);
	must_fail(EINVAL, "initrd", "regular file");
}
END_TEST

/* A file of sysfs says to have 4096 bytes and gives fewer, as one does that shrinks while it is read. */
START_TEST(file_that_shrinks)
{
	make_bzimage();
	files.initrd.fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
	if (files.initrd.fd < 0)
		return; /* not everywhere */
	must_fail(EINVAL, "initrd", "truncated");
}
END_TEST

START_TEST(cmdline_has_a_limit)
{
	static char cmdline[70000];

	make_bzimage();
	files.cmdline = cmdline;
	memset(cmdline, 'a', 2047);
	must_load();
	cmdline[2047] = 'a';
	must_fail(E2BIG, "--cmdline", "2048 characters, but this kernel takes at most 2047");
	header()->cmdline_size = UINT32_MAX; /* then our own room is the limit */
	memset(cmdline, 'a', 65279);
	must_load();
	cmdline[65279] = 'a';
	must_fail(E2BIG, "--cmdline", "no kernel takes more than 65279");
	files.cmdline = NULL;
	must_load();
}
END_TEST

START_TEST(bad_kernel_files)
{
	make_bzimage();
	image_bytes = 0;
	must_fail(EINVAL, "vmlinuz", "empty");
	for (image_bytes = 1; image_bytes < 0x206; image_bytes += 7)
		must_fail(ENOEXEC, "vmlinuz", "not a kernel");
	for (image_bytes = 0x208; image_bytes < 0x264; image_bytes++)
		must_fail(EINVAL, "vmlinuz", "truncated");
	for (; image_bytes < SETUP_BYTES + CODE_BYTES; image_bytes += 61)
		must_fail(EINVAL, "vmlinuz", "truncated");
	image_bytes = SETUP_BYTES + CODE_BYTES + 100; /* a signature */
	must_load();
	memset(image, 0x5a, sizeof(image));
	must_fail(ENOEXEC, "vmlinuz", "not a kernel");
	close(files.kernel.fd);
	files.kernel.fd = open("/", O_RDONLY);
	ck_assert_int_eq(load_files(RAM_BYTES), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "is a directory"));
	close(files.kernel.fd);
	ck_assert_int_eq(load_files(RAM_BYTES), -EBADF);
	ck_assert_ptr_nonnull(strstr(error, "vmlinuz: "));
	files.kernel.fd = make_file("", 0);
}
END_TEST

START_TEST(bad_bzimage_headers)
{
	make_bzimage();
	header()->boot_flag = 0;
	must_fail(ENOEXEC, "vmlinuz", "not a kernel");
	make_bzimage();
	header()->version = 0x20b;
	must_fail(ENOEXEC, "vmlinuz", "protocol 2.11 is too old");
	make_bzimage();
	header()->jump = 0x10eb;
	must_fail(EINVAL, "vmlinuz", "damaged");
	make_bzimage();
	header()->loadflags = 0;
	must_fail(ENOEXEC, "vmlinuz", "zImage");
	make_bzimage();
	header()->xloadflags = 0;
	must_fail(ENOEXEC, "vmlinuz", "32-bit kernel: dvmm needs a 64-bit kernel (CONFIG_X86_64)");
	make_bzimage();
	header()->kernel_alignment = 3;
	must_fail(EINVAL, "vmlinuz", "alignment");
	make_bzimage();
	header()->syssize = 0x20;
	must_fail(EINVAL, "vmlinuz", "no code");
	header()->syssize = UINT32_MAX;
	must_fail(EINVAL, "vmlinuz", "truncated");
}
END_TEST

START_TEST(bzimage_that_does_not_fit)
{
	make_bzimage();
	header()->init_size = RAM_BYTES - LOAD_GPA;
	must_load();
	header()->init_size++;
	must_fail(ENOMEM, "vmlinuz", "give --mem 33M or more");
	header()->init_size = UINT32_MAX;
	must_fail(ENOMEM, "vmlinuz", "more than any guest has");
	make_bzimage();
	header()->relocatable_kernel = 0; /* its own address, as given */
	header()->pref_address = 0x1234000;
	must_load();
	ck_assert_uint_eq(entry.rip, 0x1234200);
	header()->pref_address = RAM_BYTES;
	must_fail(ENOMEM, "vmlinuz", "does not fit in 32 MiB");
	header()->pref_address = MIB - 1;
	must_fail(ENOEXEC, "vmlinuz", "wants to run at 0xfffff");
	header()->pref_address = UINT64_MAX - 10;
	must_fail(ENOEXEC, "vmlinuz", "wants to run at 0xfffffffffffffff5");
	make_bzimage();
	ck_assert_int_eq(load_with(64 << 10), -ENOMEM);
	ck_assert_int_eq(strncmp(error, "--mem: ", 7), 0);
}
END_TEST

/* More RAM is promised than there is: an error, not a crash. */
START_TEST(memory_that_is_not_there)
{
	make_bzimage();
	files.initrd.fd = make_file("initrd", 6);
	ck_assert_int_eq(load_with(2 * RAM_BYTES), -ENOMEM);
	mem.seg[0].size = 0x1800;
	ck_assert_int_eq(load_with(RAM_BYTES), -ENOMEM);
	mem.seg[0].size = RAM_BYTES;
}
END_TEST

START_TEST(messages_are_one_line)
{
	char name[2 * BOOT_ERROR_BYTES];

	make_bzimage();
	image_bytes = 0;
	files.kernel.name = "vm\nli\x1b[2Jnuz";
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_int_eq(strncmp(error, "vm?li?[2Jnuz: is empty", 22), 0);
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	files.kernel.name = name;
	ck_assert_int_eq(load(), -EINVAL);
	ck_assert_uint_lt(strlen(error), BOOT_ERROR_BYTES);
	files.kernel.name = "vmlinuz";
}
END_TEST

/* ---- processor state ---- */

/* Where the page tables in guest memory map an address of the first 4 GiB. */
static uint64_t translate(uint64_t cr3, uint64_t va)
{
	const uint64_t present_write = 3, large = 1 << 7, address = 0xffffffffff000;
	uint64_t e = *(uint64_t *)at(cr3 + (va >> 39 & 511) * 8, 8);

	ck_assert_uint_eq(e & (present_write | large), present_write);
	e = *(uint64_t *)at((e & address) + (va >> 30 & 511) * 8, 8);
	ck_assert_uint_eq(e & (present_write | large), present_write);
	e = *(uint64_t *)at((e & address) + (va >> 21 & 511) * 8, 8);
	ck_assert_uint_eq(e & (present_write | large), present_write | large);
	return (e & address) + (va & 0x1fffff);
}

static void check_flat(const struct kvm_segment *s, uint16_t selector, uint8_t type)
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

START_TEST(long_mode_state)
{
	struct kvm_sregs s = {.apic_base = 0xfee00900, .cr8 = 5};
	struct kvm_regs r;

	make_bzimage();
	must_load();
	boot_sregs(&entry, &s);
	boot_regs(&entry, &r);
	check_flat(&s.cs, 0x10, 0xb);
	ck_assert_uint_eq(s.cs.l, 1);
	ck_assert_uint_eq(s.cs.db, 0);
	check_flat(&s.ds, 0x18, 3);
	check_flat(&s.es, 0x18, 3);
	check_flat(&s.ss, 0x18, 3);
	ck_assert_uint_eq(s.tr.type, 0xb);
	ck_assert_uint_eq(s.tr.present, 1);
	ck_assert_uint_eq(s.tr.limit, 0x67);
	ck_assert_uint_eq(s.cr0 & 0x80000001, 0x80000001);
	ck_assert_uint_eq(s.cr4, 0x20);
	ck_assert_uint_eq(s.efer, 0x500);
	ck_assert_uint_eq(s.apic_base, 0xfee00900); /* KVM's own stays */
	ck_assert_uint_eq(translate(s.cr3, 0), 0);
	ck_assert_uint_eq(translate(s.cr3, entry.rip), entry.rip);
	ck_assert_uint_eq(translate(s.cr3, 0xffffffff), 0xffffffff);
	ck_assert_uint_eq(*(uint64_t *)at(s.gdt.base + 0x10, 8), 0x00af9b000000ffff);
	ck_assert_uint_eq(*(uint64_t *)at(s.gdt.base + 0x18, 8), 0x00cf93000000ffff);
	ck_assert_uint_ge(s.gdt.limit, 0x2f);
	ck_assert_uint_eq(r.rip, LOAD_GPA + 0x200);
	ck_assert_uint_eq(r.rsi, entry.params_gpa);
	ck_assert_uint_eq(r.rflags, 2);
}
END_TEST

/* ---- PVH ---- */

#define ELF_CODE_AT     0x1000u
#define ELF_CODE_BYTES  0x800u
#define ELF_CODE_MEMORY 0x1800u
#define ELF_NOTES_AT    0x400u
#define ELF_ENTRY       (LOAD_GPA + 0x123)

static Elf64_Phdr *phdr(unsigned i)
{
	return (Elf64_Phdr *)(image + sizeof(Elf64_Ehdr)) + i;
}

/* Two notes: somebody else's, with a length that needs padding, and the one that matters. */
static uint32_t make_notes(uint8_t *to, bool is64)
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

static void make_elf_code(void)
{
	memset(image, 0, sizeof(image));
	image_bytes = ELF_CODE_AT + ELF_CODE_BYTES;
	for (unsigned i = 0; i < ELF_CODE_BYTES; i++)
		image[ELF_CODE_AT + i] = (uint8_t)(i * 11 + 3);
}

static void make_elf64(void)
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

static void make_elf32(void)
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

static uint64_t field(uint64_t gpa, unsigned len)
{
	uint64_t value = 0;

	memcpy(&value, at(gpa, len), len);
	return value;
}

static void check_pvh_load(void)
{
	static const uint8_t zeros[ELF_CODE_MEMORY - ELF_CODE_BYTES];
	uint64_t info, map;

	must_load();
	ck_assert_int_eq(entry.kind, LOADER_PVH);
	ck_assert_uint_eq(entry.rip, ELF_ENTRY);
	ck_assert_mem_eq(at(LOAD_GPA, ELF_CODE_BYTES), image + ELF_CODE_AT, ELF_CODE_BYTES);
	ck_assert_mem_eq(at(LOAD_GPA + ELF_CODE_BYTES, sizeof(zeros)), zeros, sizeof(zeros));
	info = entry.params_gpa;
	ck_assert_uint_eq(field(info, 4), 0x336ec578);
	ck_assert_uint_eq(field(info + 4, 4), 1);
	ck_assert_str_eq(at(field(info + 24, 8), 64), "console=ttyS0");
	ck_assert_uint_eq(field(info + 32, 8), RSDP_GPA);
	map = field(info + 40, 8);
	ck_assert_uint_eq(field(info + 48, 4), 4);
	ck_assert_uint_eq(field(map, 8), 0);
	ck_assert_uint_eq(field(map + 8, 8), 0x9fc00);
	ck_assert_uint_eq(field(map + 16, 4), 1);
	ck_assert_uint_eq(field(map + 3 * 24 + 8, 8), RAM_BYTES - MIB);
}

START_TEST(elf_is_loaded)
{
	make_elf64();
	check_pvh_load();
	ck_assert_uint_eq(field(LOAD_GPA + 0x10000, 8), 0);
	ck_assert_uint_eq(field(LOAD_GPA + 0x10100, 1), 0xa5); /* and no further */
	ck_assert_uint_eq(field(entry.params_gpa + 12, 4), 0); /* no module */
	make_elf32();
	check_pvh_load();
}
END_TEST

START_TEST(elf_with_initrd)
{
	uint64_t module;

	make_elf64();
	files.initrd.fd = make_file("initial ramdisk", 15);
	must_load();
	ck_assert_uint_eq(field(entry.params_gpa + 12, 4), 1);
	module = field(entry.params_gpa + 16, 8);
	ck_assert_uint_eq(field(module, 8), RAM_BYTES - 4096);
	ck_assert_uint_eq(field(module + 8, 8), 15);
	ck_assert_mem_eq(at(field(module, 8), 15), "initial ramdisk", 15);
}
END_TEST

START_TEST(protected_mode_state)
{
	struct kvm_sregs s = {.cr4 = 0x20, .efer = 0x500, .cr3 = 4096};
	struct kvm_regs r;

	make_elf64();
	must_load();
	boot_sregs(&entry, &s);
	boot_regs(&entry, &r);
	check_flat(&s.cs, 0x10, 0xb);
	ck_assert_uint_eq(s.cs.l, 0);
	ck_assert_uint_eq(s.cs.db, 1);
	check_flat(&s.ds, 0x18, 3);
	ck_assert_uint_eq(s.tr.limit, 0x67);
	ck_assert_uint_eq(s.cr0 & 0x80000001, 1);
	ck_assert_uint_eq(s.cr3 | s.cr4 | s.efer, 0);
	ck_assert_uint_eq(r.rip, ELF_ENTRY);
	ck_assert_uint_eq(r.rbx, entry.params_gpa);
	ck_assert_uint_eq(r.rflags, 2);
}
END_TEST

START_TEST(bad_elf_headers)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)image;

	for (image_bytes = 4; image_bytes < sizeof(*h); image_bytes++) {
		size_t cut = image_bytes;

		make_elf64();
		image_bytes = cut;
		ck_assert_int_lt(load(), 0);
	}
	make_elf64();
	h->e_machine = EM_AARCH64;
	must_fail(ENOEXEC, "vmlinuz", "another kind of processor");
	make_elf64();
	h->e_ident[EI_DATA] = ELFDATA2MSB;
	must_fail(ENOEXEC, "vmlinuz", "another kind of processor");
	make_elf64();
	h->e_phnum = 0;
	must_fail(ENOEXEC, "vmlinuz", "without program headers");
	h->e_phnum = PN_XNUM;
	must_fail(EINVAL, "vmlinuz", "too many");
	make_elf64();
	h->e_phentsize = 55;
	must_fail(EINVAL, "vmlinuz", "too small");
	make_elf64();
	h->e_phoff = UINT64_MAX;
	must_fail(EINVAL, "vmlinuz", "past its end");
	h->e_phoff = image_bytes - 8;
	must_fail(EINVAL, "vmlinuz", "truncated");
}
END_TEST

START_TEST(bad_elf_notes)
{
	Elf64_Nhdr *n = (Elf64_Nhdr *)(image + ELF_NOTES_AT + 24);

	make_elf64();
	phdr(2)->p_type = PT_NULL;
	must_fail(ENOEXEC, "vmlinuz", "without a PVH entry");
	make_elf64();
	n->n_type = 17;
	must_fail(ENOEXEC, "vmlinuz", "without a PVH entry");
	make_elf64();
	n->n_namesz = UINT32_MAX;
	must_fail(ENOEXEC, "vmlinuz", "without a PVH entry");
	make_elf64();
	phdr(2)->p_filesz -= 4;
	must_fail(EINVAL, "vmlinuz", "note is cut");
	phdr(2)->p_filesz = UINT64_MAX - ELF_NOTES_AT;
	must_fail(EINVAL, "vmlinuz", "notes are past its end");
	make_elf64();
	image[ELF_NOTES_AT + 24 + 16 + 3] = 0x40; /* entry: 1 GiB up */
	must_fail(EINVAL, "vmlinuz", "in none of its segments");
}
END_TEST

START_TEST(bad_elf_segments)
{
	make_elf64();
	phdr(0)->p_paddr = 0x9000;
	must_fail(ENOEXEC, "vmlinuz", "where no memory can be");
	phdr(0)->p_paddr = UINT64_MAX - 5;
	must_fail(ENOEXEC, "vmlinuz", "where no memory can be");
	phdr(0)->p_paddr = RAM_BYTES - ELF_CODE_MEMORY + 1;
	must_fail(ENOMEM, "vmlinuz", "give --mem 33M or more");
	make_elf64();
	phdr(0)->p_memsz = UINT64_MAX;
	must_fail(ENOEXEC, "vmlinuz", "where no memory can be");
	phdr(0)->p_memsz = ELF_CODE_BYTES - 1;
	must_fail(EINVAL, "vmlinuz", "larger in the file");
	make_elf64();
	image_bytes--;
	must_fail(EINVAL, "vmlinuz", "truncated");
	make_elf64();
	phdr(0)->p_offset = UINT64_MAX - 10;
	must_fail(EINVAL, "vmlinuz", "truncated");
	make_elf64();
	phdr(0)->p_type = phdr(1)->p_type = PT_NULL;
	must_fail(EINVAL, "vmlinuz", "in none of its segments");
	make_elf64();
	files.cmdline = (char[]){[0 ... 2047] = 'a', 0};
	must_fail(E2BIG, "--cmdline", "at most 2047");
}
END_TEST

/* ---- damage at random ---- */

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % limit;
}

/* One to eight fields of the first 1 KiB, where all headers are, become interesting numbers or noise. */
static void damage(void)
{
	static const uint64_t numbers[] = {
		0,        1,         0x7f,          0xff,       0xffff,    0x7fffffff, 0x80000000, 0xffffffff,
		LOAD_GPA, RAM_BYTES, RAM_BYTES - 1, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX};
	unsigned fields = 1 + (unsigned)random_below(8);

	while (fields--) {
		uint64_t value = numbers[random_below(sizeof(numbers) / sizeof(numbers[0]))];
		size_t len = 1u << random_below(4), offset;

		if (random_below(3) == 0)
			value = random_below(1u << 30) << random_below(34);
		/* half of them in the headers proper: 0x1f1 for a bzImage, 0 for ELF, its notes at 0x400 */
		offset = random_below(2) ? random_below(240) : 0x1f0 + random_below(0x260);
		memcpy(image + offset, &value, len);
	}
	if (random_below(8) == 0)
		image_bytes = random_below(image_bytes + 1);
}

static void check_damaged_load(void)
{
	int r = load();

	ck_assert_int_le(r, 0);
	ck_assert_ptr_nonnull(memchr(error, '\0', sizeof(error)));
	ck_assert_ptr_null(strchr(error, '\n'));
	if (r < 0) {
		ck_assert_ptr_nonnull(strchr(error, ':'));
		return;
	}
	ck_assert_uint_ge(entry.rip, MIB);
	ck_assert_uint_lt(entry.rip, RAM_BYTES);
	ck_assert_ptr_nonnull(guest_memory_range(&mem, entry.params_gpa, 4096));
	if (entry.kind == LOADER_LONG_MODE) {
		const struct boot_params *p = at(entry.params_gpa, sizeof(*p));

		ck_assert_uint_ge(p->hdr.ramdisk_image, p->hdr.pref_address + p->hdr.init_size);
		ck_assert_uint_le(p->hdr.ramdisk_image + p->hdr.ramdisk_size, RAM_BYTES);
	}
}

START_TEST(damaged_images_do_no_harm)
{
	static void (*const make[])(void) = {make_bzimage, make_elf64, make_elf32};

	files.initrd.fd = make_file("initrd", 6);
	random_state = 2024;
	for (unsigned i = 0; i < 15000; i++) {
		make[i % 3]();
		damage();
		check_damaged_load();
	}
	for (unsigned i = 0; i < 1000; i++) { /* and noise */
		image_bytes = 1 + random_below(IMAGE_MAX);
		for (size_t k = 0; k < image_bytes; k++)
			image[k] = (uint8_t)random_below(256);
		if (i % 2)
			memcpy(image, ELFMAG, SELFMAG);
		check_damaged_load();
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot");
	TCase *t = tcase_create("images");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, bzimage_is_loaded);
	tcase_add_test(t, e820_below_the_hole);
	tcase_add_test(t, e820_above_the_hole);
	tcase_add_test(t, initrd_is_at_the_top);
	tcase_add_test(t, initrd_that_does_not_fit);
	tcase_add_test(t, file_that_shrinks);
	tcase_add_test(t, cmdline_has_a_limit);
	tcase_add_test(t, bad_kernel_files);
	tcase_add_test(t, bad_bzimage_headers);
	tcase_add_test(t, bzimage_that_does_not_fit);
	tcase_add_test(t, memory_that_is_not_there);
	tcase_add_test(t, messages_are_one_line);
	tcase_add_test(t, long_mode_state);
	tcase_add_test(t, elf_is_loaded);
	tcase_add_test(t, elf_with_initrd);
	tcase_add_test(t, protected_mode_state);
	tcase_add_test(t, bad_elf_headers);
	tcase_add_test(t, bad_elf_notes);
	tcase_add_test(t, bad_elf_segments);
	tcase_add_test(t, damaged_images_do_no_harm);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

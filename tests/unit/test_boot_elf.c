/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting ELF files by their PVH entry: what a good one leaves in guest memory and in the registers
 * (protected mode, flat), and what each kind of bad one is told.
 */
#include "tests/unit/boot_harness.h"

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

int main(void)
{
	Suite *s = suite_create("boot_elf");
	TCase *t = boot_tests("images");

	tcase_add_test(t, elf_is_loaded);
	tcase_add_test(t, elf_with_initrd);
	tcase_add_test(t, protected_mode_state);
	tcase_add_test(t, bad_elf_headers);
	tcase_add_test(t, bad_elf_notes);
	tcase_add_test(t, bad_elf_segments);
	suite_add_tcase(s, t);
	return run_suite(s);
}

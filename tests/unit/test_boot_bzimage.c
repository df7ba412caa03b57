/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting a bzImage: what a good one leaves in guest memory and in the registers (long mode, flat), and what
 * each kind of bad one is told.
 */
#include "tests/unit/boot_harness.h"

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

int main(void)
{
	Suite *s = suite_create("boot_bzimage");
	TCase *t = boot_tests("images");

	tcase_add_test(t, bzimage_is_loaded);
	tcase_add_test(t, bad_bzimage_headers);
	tcase_add_test(t, bzimage_that_does_not_fit);
	tcase_add_test(t, long_mode_state);
	suite_add_tcase(s, t);
	return run_suite(s);
}

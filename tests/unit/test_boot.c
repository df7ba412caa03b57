/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting, whatever the kernel's format is: memory map, initrd, command line; what users of bad files are
 * told, and, with images damaged at random (a fixed seed), that none does more than that.
 */
#include "tests/unit/boot_harness.h"

#include <fcntl.h>

#define HIGH_BYTES MIB /* above 4 GiB */

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
	TCase *t = boot_tests("images");

	tcase_add_test(t, e820_below_the_hole);
	tcase_add_test(t, e820_above_the_hole);
	tcase_add_test(t, initrd_is_at_the_top);
	tcase_add_test(t, initrd_that_does_not_fit);
	tcase_add_test(t, file_that_shrinks);
	tcase_add_test(t, cmdline_has_a_limit);
	tcase_add_test(t, bad_kernel_files);
	tcase_add_test(t, memory_that_is_not_there);
	tcase_add_test(t, messages_are_one_line);
	tcase_add_test(t, damaged_images_do_no_harm);
	suite_add_tcase(s, t);
	return run_suite(s);
}

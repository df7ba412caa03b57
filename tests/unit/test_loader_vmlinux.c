/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loader on what it has unpacked: KASLR and relocations, that odd files are left to the guest, and, with
 * files damaged at random (a fixed seed), that nothing is touched but guest memory and the workspace.
 */
#include "tests/unit/loader_kernel.h"

/* Slots are 2 MiB; the highest that is possible follows from what is there. */
START_TEST(kaslr_moves_and_relocates)
{
	const uint64_t last = RAM_BYTES - ROOM, last_virtual = (1ull << 30) - ROOM;
	const uint64_t slots = (last - LINKED) / ALIGNMENT + 1,
		       virtual_slots = (last_virtual - LINKED) / ALIGNMENT + 1;
	const struct boot_params *p;

	pack(LZ4);
	options.kaslr = 1;
	for (unsigned i = 0; i < 200; i++) {
		uint64_t n = i < 2 ? i * (slots - 1) : random_below(slots);
		uint64_t v = i < 2 ? i * (virtual_slots - 1) : random_below(virtual_slots);

		options.entropy[0] = n + slots * random_below(1u << 20);
		options.entropy[1] = v + virtual_slots * random_below(1u << 20);
		must_unpack();
		ck_assert_uint_eq(result.flags, LOADER_UNPACKED | LOADER_RELOCATED);
		ck_assert_uint_eq(result.entry, LINKED + n * ALIGNMENT + ENTRY);
		check_segments(LINKED + n * ALIGNMENT, v * ALIGNMENT, true);
		p = at(result.params_gpa, sizeof(*p));
		ck_assert_uint_eq(p->hdr.loadflags & KASLR_FLAG, KASLR_FLAG);
	}
}
END_TEST

START_TEST(kaslr_stays_below_the_initrd)
{
	pack(LZ4);
	options.kaslr = 1;
	options.initrd_bytes = 33 * MIB + 1;
	for (options.entropy[0] = 0; options.entropy[0] < 40; options.entropy[0]++) {
		must_unpack();
		ck_assert_uint_le(result.entry - ENTRY + ROOM, result.initrd_gpa);
	}
	options.initrd_bytes = RAM_BYTES - LINKED - ROOM; /* then there is one place */
	must_unpack();
	ck_assert_uint_eq(result.entry, LINKED + ENTRY);
	options.initrd_bytes++;
	must_fail(ENOMEM, "does not fit in memory behind the kernel");
}
END_TEST

static const uint32_t two_lists[] = {0, AT(0x10), AT(DATA + 8), 0, AT(0x20), AT(CPU + 0x7fc)};

/* Linux since 6.15. */
START_TEST(table_without_inverse_relocations)
{
	TABLE(two_lists);
	pack(LZ4);
	options.kaslr = 1;
	options.entropy[1] = 3;
	must_unpack();
	ck_assert_uint_eq(result.flags, LOADER_UNPACKED | LOADER_RELOCATED);
	check_segments(result.entry - ENTRY, 3 * ALIGNMENT, false);
}
END_TEST

START_TEST(kernel_without_relocations)
{
	vmlinux_bytes = ELF_BYTES;
	pack(LZ4);
	options.kaslr = 1;
	options.entropy[1] = 3;
	must_unpack();
	ck_assert_uint_eq(result.flags, LOADER_UNPACKED);
	check_segments(result.entry - ENTRY, 0, true);
}
END_TEST

/* Nothing is 2 MiB into the file: all of it has to be moved up before the segments move down. */
START_TEST(file_of_another_layout)
{
	memmove(vmlinux + 0x1000, vmlinux + TEXT_AT, TEXT_BYTES);
	segment(0)->p_offset = 0x1000;
	pack(ZSTD);
	must_unpack();
	ck_assert_mem_eq(at(LINKED, TEXT_BYTES), vmlinux + 0x1000, TEXT_BYTES);
	ck_assert_mem_eq(at(LINKED + DATA, DATA_BYTES), vmlinux + DATA_AT, DATA_BYTES);
	header.init_size =
		(uint32_t)(vmlinux_bytes + 0x1000); /* too little for that, but enough for the file */
	header.pref_address = LINKED;
	pack(ZSTD);
	must_unpack();
	segment(0)->p_offset = 0;
	header.init_size = (uint32_t)vmlinux_bytes - 1;
	pack(ZSTD);
	must_fall_back("larger than its header says");
}
END_TEST

START_TEST(odd_vmlinuxes_are_left_to_the_guest)
{
	static const struct {
		unsigned segment;
		Elf64_Phdr p;
	} odd[] = {
		/* overlapping in memory; in the file; in another order; beyond the room; before the start */
		{1,
		 {.p_type = PT_LOAD,
		  .p_offset = DATA_AT,
		  .p_paddr = LINKED + 0x2fff,
		  .p_filesz = 16,
		  .p_memsz = 16}},
		{1,
		 {.p_type = PT_LOAD,
		  .p_offset = TEXT_AT + 0x2fff,
		  .p_paddr = LINKED + DATA,
		  .p_filesz = 16,
		  .p_memsz = 16}},
		{0,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT + CPU_BYTES,
		  .p_paddr = LINKED,
		  .p_filesz = 0x200,
		  .p_memsz = 0x200}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + ROOM,
		  .p_filesz = 0,
		  .p_memsz = 1}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = 0,
		  .p_memsz = UINT64_MAX}},
		{0,
		 {.p_type = PT_LOAD,
		  .p_offset = TEXT_AT,
		  .p_paddr = LINKED - 1,
		  .p_filesz = 0x200,
		  .p_memsz = 0x200}},
		{2,
		 {.p_type = PT_LOAD, .p_offset = CPU_AT, .p_paddr = UINT64_MAX, .p_filesz = 0, .p_memsz = 1}},
		/* beyond the file; larger than in memory; without the entry */
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = UINT64_MAX,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = 2,
		  .p_memsz = 2}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = ELF_BYTES,
		  .p_memsz = ELF_BYTES}},
		{2,
		 {.p_type = PT_LOAD,
		  .p_offset = CPU_AT,
		  .p_paddr = LINKED + CPU,
		  .p_filesz = 2,
		  .p_memsz = 1}},
		{0,
		 {.p_type = PT_LOAD,
		  .p_offset = TEXT_AT,
		  .p_paddr = LINKED,
		  .p_filesz = ENTRY,
		  .p_memsz = ENTRY}},
	};

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		make_vmlinux();
		*segment(odd[i].segment) = odd[i].p;
		pack(LZ4);
		must_fall_back("unusual");
	}
	for (unsigned i = 0; i < 4; i++) {
		make_vmlinux();
		switch (i) {
		case 0:
			elf()->e_phnum = UINT16_MAX;
			break;
		case 1:
			elf()->e_phoff = UINT64_MAX;
			break;
		case 2:
			elf()->e_shoff = UINT64_MAX;
			break;
		case 3:
			elf()->e_machine = EM_386;
		}
		pack(LZ4);
		must_fall_back("unusual");
	}
	vmlinux_bytes = 10; /* not even a header */
	pack(LZ4);
	must_fall_back("unusual");
}
END_TEST

START_TEST(odd_relocations_are_left_to_the_guest)
{
	static const uint32_t outside[] = {AT(-1), AT(CPU + CPU_BYTES - 3), AT(CPU + CPU_BYTES),
					   AT(0x70000000), 1};
	uint32_t words[] = {0, AT(0x10), 0, AT(CPU + 0x10), 0, AT(0x20)};

	options.kaslr = 1;
	options.entropy[1] = 1;
	TABLE(words);
	pack(LZ4);
	must_unpack();
	for (unsigned i = 0; i < 3 * sizeof(outside) / sizeof(outside[0]); i++) {
		uint32_t *word = &words[1 + i % 3 * 2], good = *word;

		*word = outside[i / 3];
		TABLE(words);
		pack(LZ4);
		must_fall_back("relocations");
		*word = good;
	}
	words[1] = AT(CPU + CPU_BYTES - 7); /* the last byte of 8 is outside, of 4 it would not be */
	TABLE(words);
	pack(LZ4);
	must_fall_back("relocations");
	words[0] = words[1] = AT(0x10); /* no zero in front */
	TABLE(words);
	pack(LZ4);
	must_fall_back("relocations");
	put_table((uint32_t[]){0, AT(0x10)}, 2);
	pack(LZ4);
	must_fall_back("relocations");
	put_table((uint32_t[]){0, 0, 0, 0}, 4);
	pack(LZ4);
	must_fall_back("relocations");
	TABLE(three_lists);
	vmlinux_bytes++;
	pack(LZ4);
	must_fall_back("relocations");
	options.kaslr = 0; /* then nobody looks at them */
	must_unpack();
}
END_TEST

/* What comes out of the packed file: headers and table. */
START_TEST(damaged_vmlinuxes_do_no_harm)
{
	static const uint64_t numbers[] = {
		0,       1,    0xff,          0xffff,    0x7fffffff, 0x80000000, UINT32_MAX, LINKED,
		TEXT_AT, ROOM, LINKED + ROOM, ELF_BYTES, 1ull << 32, INT64_MAX,  1ull << 63, UINT64_MAX};
	unsigned unpacked = 0;

	for (unsigned i = 0; i < 2000; i++) {
		make_vmlinux();
		for (uint64_t fields = 1 + random_below(4); fields; fields--) {
			uint64_t value = numbers[random_below(sizeof(numbers) / sizeof(numbers[0]))];
			uint64_t where =
				random_below(3) ? random_below(288 - 8) : ELF_BYTES + random_below(24);

			if (random_below(3) == 0)
				value = random_below(1u << 26);
			memcpy(vmlinux + where, &value, 1u << random_below(4));
		}
		options.kaslr = random_below(4) != 0;
		options.entropy[0] = random_below(1u << 30);
		options.entropy[1] = random_below(1u << 30);
		pack(LZ4);
		ck_assert_int_eq(load(), 0); /* at worst the guest is left with it */
		unpacked += result.flags & LOADER_UNPACKED;
	}
	ck_assert_uint_gt(unpacked, 100);
	ck_assert_uint_lt(unpacked, 1900);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loader_vmlinux");
	TCase *t = loader_tests("images", setup_kernel);

	tcase_add_test(t, kaslr_moves_and_relocates);
	tcase_add_test(t, kaslr_stays_below_the_initrd);
	tcase_add_test(t, table_without_inverse_relocations);
	tcase_add_test(t, kernel_without_relocations);
	tcase_add_test(t, file_of_another_layout);
	tcase_add_test(t, odd_vmlinuxes_are_left_to_the_guest);
	tcase_add_test(t, odd_relocations_are_left_to_the_guest);
	tcase_add_test(t, damaged_vmlinuxes_do_no_harm);
	suite_add_tcase(s, t);
	return run_suite(s);
}

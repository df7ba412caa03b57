/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's page walks: each format, each right, hostile tables. */
#include "tests/unit/x86_harness.h"

#define ERR_P    1u
#define ERR_W    2u
#define ERR_U    4u
#define ERR_RSVD 8u
#define ERR_I    16u
#define PF       14u

#define AT 0x400000u /* an address that start() has not mapped */

/* mov eax, [rbx] and mov [rbx], eax: the same bytes in all modes of 32 and 64 bits. */
static enum x86_stop load(uint64_t linear)
{
	CODE(0x8b, 0x03);
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RBX] = linear;
	return run(1);
}

static enum x86_stop store(uint64_t linear)
{
	CODE(0x89, 0x03);
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RBX] = linear;
	return run(1);
}

/* What a page at `level` covers. */
static uint64_t page_bytes(unsigned level)
{
	return 1ull << (mode == MODE_32 ? 12 + 10 * (level - 1) : 12 + 9 * (level - 1));
}

static const struct {
	enum mode mode;
	unsigned level; /* of the leaf */
} formats[] = {
	{MODE_32, 1},      {MODE_32, 2},      {MODE_PAE, 1},     {MODE_PAE, 2},     {MODE_4_LEVEL, 1},
	{MODE_4_LEVEL, 2}, {MODE_4_LEVEL, 3}, {MODE_5_LEVEL, 1}, {MODE_5_LEVEL, 2}, {MODE_5_LEVEL, 3},
};

START_TEST(format_translates_and_marks)
{
	unsigned level = formats[_i].level;
	uint64_t linear, gpa = level == 1 ? DATA_GPA : 0, offset = level == 1 ? 0x128 : DATA_GPA + 0x128;

	start(formats[_i].mode, 0);
	linear = page_bytes(level) * (mode_is_64() || level == 1 ? 1025 : 3);
	entry_set(linear, level, gpa | PTE_P | PTE_W | (level > 1 ? PTE_PS : 0));
	ram64_set(DATA_GPA + 0x128, 0x11223344);
	ck_assert_int_eq(load(linear + offset), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0x11223344);
	ck_assert_uint_eq(entry_get(linear, level) & (PTE_A | PTE_D), PTE_A);
	if (level == 1 || mode_is_64()) /* there is one above that has the bit */
		ck_assert_uint_eq(entry_get(linear, level + 1) & PTE_A, PTE_A);
	cpu.state.gpr[X86_RAX] = 0x55667788;
	ck_assert_int_eq(store(linear + offset), X86_DONE);
	ck_assert_uint_eq(entry_get(linear, level) & (PTE_A | PTE_D), PTE_A | PTE_D);
	ck_assert_uint_eq(ram64(DATA_GPA + 0x128), 0x11223344); /* not before x86_apply() */
	apply();
	ck_assert_uint_eq(ram64(DATA_GPA + 0x128), 0x55667788);
}
END_TEST

START_TEST(without_paging_linear_is_physical)
{
	start(MODE_FLAT, 0);
	ram64_set(DATA_GPA, 0xabcd);
	ck_assert_int_eq(load(DATA_GPA), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0xabcd);
}
END_TEST

static const struct {
	const char *what;
	unsigned cpl;
	bool write;
	uint64_t leaf;     /* besides the address */
	uint64_t cr0, cr4; /* cleared; set */
	uint64_t rflags;   /* set */
	int error;         /* or -1: no fault */
} rights[] = {
	{"not present", 0, false, 0, 0, 0, 0, 0},
	{"not present, write", 0, true, 0, 0, 0, 0, ERR_W},
	{"not present, user", 3, true, 0, 0, 0, 0, ERR_W | ERR_U},
	{"user reads a supervisor page", 3, false, PTE_P | PTE_W, 0, 0, 0, ERR_P | ERR_U},
	{"user reads", 3, false, PTE_P | PTE_U, 0, 0, 0, -1},
	{"user writes read-only", 3, true, PTE_P | PTE_U, 0, 0, 0, ERR_P | ERR_W | ERR_U},
	{"user writes read-only without WP", 3, true, PTE_P | PTE_U, 0x10000, 0, 0, ERR_P | ERR_W | ERR_U},
	{"supervisor writes read-only", 0, true, PTE_P, 0, 0, 0, ERR_P | ERR_W},
	{"supervisor writes read-only without WP", 0, true, PTE_P, 0x10000, 0, 0, -1},
	{"supervisor reads a user page", 0, false, PTE_P | PTE_U, 0, 0, 0, -1},
	{"the same with SMAP", 0, false, PTE_P | PTE_U, 0, 1u << 21, 0, ERR_P},
	{"the same with SMAP, write", 0, true, PTE_P | PTE_W | PTE_U, 0, 1u << 21, 0, ERR_P | ERR_W},
	{"the same with SMAP and AC", 0, false, PTE_P | PTE_U, 0, 1u << 21, 1u << 18, -1},
	{"SMAP does not concern the user", 3, false, PTE_P | PTE_U, 0, 1u << 21, 0, -1},
	{"NX does not concern data", 0, false, PTE_P | PTE_NX, 0, 0, 0, -1},
	{"a reserved bit", 0, false, PTE_P | 1ull << 40, 0, 0, 0, ERR_P | ERR_RSVD},
	{"the highest reserved bit", 0, true, PTE_P | PTE_W | 1ull << 51, 0, 0, 0, ERR_P | ERR_RSVD | ERR_W},
};

START_TEST(rights_decide)
{
	enum x86_stop stop;

	start(MODE_4_LEVEL, rights[_i].cpl);
	entry_set(AT, 1, DATA_GPA | rights[_i].leaf);
	cpu.state.cr0 &= ~rights[_i].cr0;
	cpu.state.cr4 |= rights[_i].cr4;
	cpu.state.rflags |= rights[_i].rflags;
	stop = rights[_i].write ? store(AT + 8) : load(AT + 8);
	if (rights[_i].error < 0)
		ck_assert_msg(stop == X86_DONE, "%s: stop %d", rights[_i].what, stop);
	else
		expect_fault(stop, PF, true, (uint32_t)rights[_i].error, AT + 8);
	/* What faulted is not marked. */
	if (rights[_i].error >= 0)
		ck_assert_uint_eq(entry_get(AT, 1) & (PTE_A | PTE_D), 0);
}
END_TEST

START_TEST(fetch_obeys_nx_and_smep)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x90);
	entry_set(CODE_GPA, 1, CODE_GPA | PTE_P | PTE_NX);
	expect_fault(run(1), PF, true, ERR_P | ERR_I, CODE_GPA);
	entry_set(CODE_GPA, 1, CODE_GPA | PTE_P | PTE_U);
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.cr4 |= 1u << 20;
	expect_fault(run(1), PF, true, ERR_P | ERR_I, CODE_GPA);
	/* Without NX the bit is reserved, and the error code does not speak of fetching without SMEP. */
	cpu.state.cr4 &= ~(1ull << 20);
	cpu.state.efer &= ~0x800ull;
	entry_set(CODE_GPA, 1, CODE_GPA | PTE_P | PTE_NX);
	expect_fault(run(1), PF, true, ERR_P | ERR_RSVD, CODE_GPA);
}
END_TEST

START_TEST(rights_of_all_levels_count)
{
	start(MODE_4_LEVEL, 3);
	entry_set(AT, 1, DATA_GPA | PTE_P | PTE_W | PTE_U);
	for (unsigned level = 2; level <= 4; level++) {
		uint64_t good = entry_get(AT, level);

		/* The upper levels are shared with the code, which the user must still be able to read. */
		entry_set(AT, level, good & ~PTE_W);
		expect_fault(store(AT), PF, true, ERR_P | ERR_W | ERR_U, AT);
		entry_set(AT, level, good);
	}
	entry_set(AT, 2, entry_get(AT, 2) & ~PTE_U);
	expect_fault(load(AT), PF, true, ERR_P | ERR_U, AT);
}
END_TEST

START_TEST(reserved_bits_of_large_pages)
{
	start(MODE_4_LEVEL, 0);
	entry_set(1ull << 39, 3, PTE_P | PTE_PS | 1u << 13);
	expect_fault(load(1ull << 39), PF, true, ERR_P | ERR_RSVD, 1ull << 39);
	entry_set(1ull << 40, 2, PTE_P | PTE_PS | 1u << 20);
	expect_fault(load(1ull << 40), PF, true, ERR_P | ERR_RSVD, 1ull << 40);
	entry_set(1ull << 41, 4, PTE_P | PTE_PS);
	expect_fault(load(1ull << 41), PF, true, ERR_P | ERR_RSVD, 1ull << 41);
	start(MODE_32, 0);
	entry_set(3u << 22, 2, PTE_P | PTE_PS | 1u << 21);
	expect_fault(load(3u << 22), PF, true, ERR_P | ERR_RSVD, 3u << 22);
	start(MODE_PAE, 0);
	entry_set(1u << 30, 3, table_new() | PTE_P | PTE_W);
	expect_fault(load(1u << 30), PF, true, ERR_P | ERR_RSVD, 1u << 30);
}
END_TEST

START_TEST(tables_that_loop_end)
{
	start(MODE_5_LEVEL, 0);
	/* Every entry of a table points to the table: the walk ends after five of them, at the table as a
	 * page. */
	for (unsigned i = 1; i < 512; i++)
		ram64_set(cpu.state.cr3 + 8 * i, cpu.state.cr3 | PTE_P | PTE_W | PTE_A);
	ck_assert_int_eq(load(0x01fffffffffff000 & 0x00ffffffffffffff), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], (uint32_t)ram64(cpu.state.cr3));
}
END_TEST

START_TEST(tables_outside_of_memory_fault)
{
	start(MODE_4_LEVEL, 0);
	for (unsigned level = 2; level <= 4; level++) {
		uint64_t linear = 0x7f0000000000ull;

		entry_set(linear, level, (RAM_BYTES + (uint64_t)level * 4096) | PTE_P | PTE_W);
		expect_fault(load(linear), PF, true, ERR_P | ERR_RSVD, linear);
		entry_set(linear, level, 0xfffffff000 | PTE_P | PTE_W);
		expect_fault(load(linear), PF, true, ERR_P | ERR_RSVD, linear);
		entry_set(linear, level, 0);
	}
	cpu.state.cr3 = 0xfffffffffff000;
	expect_fault(run(1), PF, true, ERR_P | ERR_RSVD | ERR_I, CODE_GPA);
}
END_TEST

START_TEST(access_across_pages_faults_at_the_second)
{
	start(MODE_4_LEVEL, 0);
	entry_set(AT, 1, DATA_GPA | PTE_P | PTE_W);
	expect_fault(store(AT + 4094), PF, true, ERR_W, AT + 4096);
	expect_fault(load(AT + 4094), PF, true, 0, AT + 4096);
	entry_set(AT + 4096, 1, (DATA_GPA + 0x2000) | PTE_P | PTE_W);
	cpu.state.gpr[X86_RAX] = 0x44332211;
	ck_assert_int_eq(store(AT + 4094), X86_DONE);
	apply();
	ck_assert_uint_eq(ram[DATA_GPA + 4095], 0x22);
	ck_assert_uint_eq(ram[DATA_GPA + 0x2000], 0x33);
	cpu.state.gpr[X86_RAX] = 0;
	ck_assert_int_eq(load(AT + 4094), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0x44332211);
}
END_TEST

START_TEST(addresses_must_be_canonical)
{
	start(MODE_4_LEVEL, 0);
	expect_fault(load(0x800000000000), 13, true, 0, 0);
	expect_fault(load(0x7ffffffffffe), 13, true, 0, 0);
	CODE(0x8b, 0x45, 0x00); /* mov eax, [rbp]: the stack segment */
	cpu.state.gpr[X86_RBP] = 0x800000000000;
	expect_fault(run(1), 12, true, 0, 0);
	cpu.state.rip = 0x800000000000;
	expect_fault(run(1), 13, true, 0, 0);
	start(MODE_5_LEVEL, 0);
	expect_fault(load(0x800000000000), PF, true, 0, 0x800000000000);
	expect_fault(load(0x0100000000000000), 13, true, 0, 0);
}
END_TEST

/* A page walk sees what the same run has stored, and leaves its marks there. */
START_TEST(walk_sees_the_log)
{
	start(MODE_4_LEVEL, 0);
	/* The stack lies in the page table itself: push a new entry for AT, then use it. */
	entry_set(AT, 1, 0);
	entry_set(AT + 0x1000, 1, ((uint64_t)((uint8_t *)entry_of(AT, 1) - ram) & ~0xfffull) | PTE_P | PTE_W);
	cpu.state.gpr[X86_RSP] = AT + 0x1000 + (((uint8_t *)entry_of(AT, 1) - ram) & 0xfff) + 8;
	cpu.state.gpr[X86_RCX] = DATA_GPA | PTE_P | PTE_W;
	cpu.state.gpr[X86_RBX] = AT;
	ram64_set(DATA_GPA, 0x7777);
	CODE(0x51, 0x8b, 0x03, 0x0f, 0x0b); /* push rcx; mov eax, [rbx]; ud2 */
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 2);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0x7777);
	ck_assert_uint_eq(entry_get(AT, 1), 0);
	apply();
	ck_assert_uint_eq(entry_get(AT, 1), DATA_GPA | PTE_P | PTE_W | PTE_A);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_paging");
	TCase *tc = tcase_create("paging");

	tcase_add_loop_test(tc, format_translates_and_marks, 0, sizeof(formats) / sizeof(formats[0]));
	tcase_add_test(tc, without_paging_linear_is_physical);
	tcase_add_loop_test(tc, rights_decide, 0, sizeof(rights) / sizeof(rights[0]));
	tcase_add_test(tc, fetch_obeys_nx_and_smep);
	tcase_add_test(tc, rights_of_all_levels_count);
	tcase_add_test(tc, reserved_bits_of_large_pages);
	tcase_add_test(tc, tables_that_loop_end);
	tcase_add_test(tc, tables_outside_of_memory_fault);
	tcase_add_test(tc, access_across_pages_faults_at_the_second);
	tcase_add_test(tc, addresses_must_be_canonical);
	tcase_add_test(tc, walk_sees_the_log);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's runs: fetch, batches, the log of stores, and state and code of any content. */
#include "tests/unit/x86_harness.h"

/* --- Fetch. */

START_TEST(fetch_crosses_pages)
{
	static const uint8_t code[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}; /* mov rax, imm64 */

	for (unsigned split = 1; split < sizeof(code); split++) {
		start(MODE_4_LEVEL, 0);
		cpu.state.rip = 0x2000 - split;
		memcpy(ram + 0x2000 - split, code, sizeof(code));
		ck_assert_int_eq(run(1), X86_DONE);
		ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0x0807060504030201);
		/* The second page is another one, or none. */
		cpu.state.rip = 0x2000 - split;
		memcpy(ram + DATA_GPA, code + split, sizeof(code) - split);
		ram[DATA_GPA + sizeof(code) - split - 1] = 0x55;
		entry_set(0x2000, 1, DATA_GPA | PTE_P);
		ck_assert_int_eq(run(1), X86_DONE);
		ck_assert_uint_eq(cpu.state.gpr[X86_RAX] >> 56, 0x55);
		cpu.state.rip = 0x2000 - split;
		entry_set(0x2000, 1, 0);
		expect_fault(run(1), 14, true, 16, 0x2000);
	}
}
END_TEST

START_TEST(fetch_does_not_touch_what_it_does_not_need)
{
	start(MODE_4_LEVEL, 0);
	cpu.state.rip = 0x1fff;
	ram[0x1fff] = 0x90;
	entry_set(0x2000, 1, 0);
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rip, 0x2000);
}
END_TEST

START_TEST(instructions_have_15_bytes)
{
	start(MODE_4_LEVEL, 0);
	memset(ram + CODE_GPA, 0x66, 14);
	ram[CODE_GPA + 14] = 0x90;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 15);
	cpu.state.rip = CODE_GPA;
	ram[CODE_GPA + 14] = 0x66;
	ram[CODE_GPA + 15] = 0x90;
	expect_fault(run(1), 13, true, 0, 0);
}
END_TEST

START_TEST(code_ends_with_its_segment)
{
	start(MODE_FLAT, 0);
	CODE(0xb8, 1, 2, 3, 4); /* mov eax, imm32 */
	cpu.state.segment[X86_CS].limit = CODE_GPA + 4;
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.segment[X86_CS].limit = CODE_GPA + 3;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_CS].limit = CODE_GPA - 1;
	expect_fault(run(1), 13, true, 0, 0);
	/* A jump behind the limit faults at the jump. */
	CODE(0xeb, 0x40);
	cpu.state.segment[X86_CS].limit = CODE_GPA + 0x20;
	expect_fault(run(1), 13, true, 0, 0);
}
END_TEST

START_TEST(code_outside_of_memory_is_unknown)
{
	start(MODE_FLAT, 0);
	cpu.state.rip = DEVICE;
	ck_assert_int_eq(run(1), X86_UNKNOWN);
	ck_assert_uint_eq(cpu.unknown.length, 0);
	ck_assert_uint_ne(cpu.unknown.text[0], 0);
}
END_TEST

/* call pushes its return address over the bytes that are executed next. */
START_TEST(code_that_the_run_has_changed_is_executed)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x68, 0xb0, 0x2a, 0x0f, 0x0b, 0x90, 0x90, 0x90); /* push 0x0b0f2ab0: mov al, 42; ud2 */
	cpu.state.gpr[X86_RSP] = CODE_GPA + 5 + 8;
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 2);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 42);
	ck_assert_uint_eq(ram[CODE_GPA + 5], 0x90);
}
END_TEST

/* A SIB byte without a base, REX.B, 32-bit addresses: what Zydis 4.0 gets wrong. */
START_TEST(no_base_is_not_r13)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x67, 0x43, 0x8b, 0x04, 0xed, 0x08, 0x40, 0x00, 0x00); /* mov eax, [r13d*8+0x4008] */
	cpu.state.gpr[X86_R13] = 2;
	ram64_set(DATA_GPA + 0x18, 0x1234);
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 9);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0x1234);
}
END_TEST

START_TEST(unknown_instructions_are_disassembled)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x0f, 0x58, 0xc1); /* addps xmm0, xmm1 */
	ck_assert_int_eq(run(1), X86_UNKNOWN);
	ck_assert_uint_eq(cpu.unknown.length, 3);
	ck_assert_uint_eq(cpu.unknown.bytes[1], 0x58);
	ck_assert_str_eq(cpu.unknown.text, "addps xmm0, xmm1");
	ck_assert(!memcmp(&cpu.state, &before, sizeof(before)));
	CODE(0x90, 0x0f, 0x58, 0xc1);
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 1);
}
END_TEST

START_TEST(missing_state_is_asked_for)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x0f, 0x01, 0xf8); /* swapgs */
	cpu.state.have = X86_REGS | X86_SREGS;
	ck_assert_int_eq(run(1), X86_WANT_STATE);
	ck_assert_uint_eq(cpu.want, X86_MSRS);
	cpu.state.have |= X86_MSRS;
	cpu.state.kernel_gs_base = 0x1234;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.segment[X86_GS].base, 0x1234);
	ck_assert_uint_eq(cpu.changed, X86_REGS | X86_SREGS | X86_MSRS);
	cpu.state.have = X86_REGS;
	ck_assert_int_eq(run(1), X86_WANT_STATE);
	ck_assert_uint_eq(cpu.want, X86_SREGS);
}
END_TEST

/* --- Batches and the log. */

START_TEST(a_batch_stops_before_what_kvm_must_do)
{
	static const struct {
		uint8_t code[8];
		unsigned executed;
	} cases[] = {
		{{0x90, 0x89, 0x03}, 1},                         /* mov [rbx], eax */
		{{0x90, 0x01, 0x03}, 1},                         /* add [rbx], eax */
		{{0x90, 0xaa}, 1},                               /* stosb */
		{{0x90, 0x89, 0x45, 0x00, 0x0f, 0xa2}, 2},       /* mov [rbp], eax; cpuid */
		{{0x90, 0x89, 0x04, 0x24, 0x0f, 0xa2}, 2},       /* mov [rsp], eax; cpuid */
		{{0x90, 0x65, 0x89, 0x03, 0xf4}, 2},             /* mov gs:[rbx], eax; hlt */
		{{0x90, 0x8b, 0x03, 0x0f, 0x22, 0xd8}, 2},       /* mov eax, [rbx]; mov cr3, rax */
		{{0x90, 0xf0, 0x01, 0x04, 0x24}, 1},             /* lock add [rsp], eax */
		{{0x90, 0x87, 0x04, 0x24}, 1},                   /* xchg [rsp], eax */
		{{0x90, 0x8e, 0xd8}, 1},                         /* mov ds, eax */
		{{0x90, 0x0f, 0x01, 0xf8}, 1},                   /* swapgs */
		{{0x90, 0xfb, 0x90}, 2},                         /* sti */
		{{0x90, 0x50, 0x0f, 0xae, 0xf0}, 2},             /* push rax; mfence */
		{{0x90, 0x0f, 0xae, 0xf0, 0xe4, 0x10}, 2},       /* mfence; in al, 0x10 */
		{{0x0f, 0x01, 0xca, 0x50, 0x58, 0x0f, 0x32}, 3}, /* clac; push; pop; rdmsr */
	};

	start(MODE_4_LEVEL, 0);
	cpu.state.cr4 |= 1u << 21;
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	cpu.state.gpr[X86_RBP] = DATA_GPA;
	cpu.state.gpr[X86_RDI] = DATA_GPA;
	memcpy(ram + CODE_GPA, cases[_i].code, sizeof(cases[_i].code));
	ck_assert_int_eq(run(4), X86_DONE);
	ck_assert_msg(cpu.executed == cases[_i].executed, "case %d: %u executed", _i, cpu.executed);
}
END_TEST

START_TEST(a_fault_in_a_batch_leaves_what_came_before)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xb8, 5, 0, 0, 0, 0x50, 0x8b, 0x03); /* mov eax, 5; push rax; mov eax, [rbx] */
	cpu.state.gpr[X86_RBX] = 0x100000;
	ck_assert_int_eq(run(8), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.executed, 2);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 6);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 5);
	ck_assert_uint_eq(cpu.stores.count, 1);
	ck_assert_uint_eq(cpu.exception.address, 0x100000);
}
END_TEST

START_TEST(the_log_never_overflows)
{
	start(MODE_4_LEVEL, 0);
	/* push rax; jmp back: for ever. */
	CODE(0x50, 0xeb, 0xfd);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(run(1000000), X86_DONE);
		ck_assert_uint_le(cpu.stores.count, X86_STORES);
		ck_assert_uint_gt(cpu.executed, 30);
		cpu.state.gpr[X86_RSP] = STACK_GPA + 0x800;
	}
	/* enter with all levels, again and again. */
	CODE(0xc8, 0, 0, 31, 0xeb, 0xfa);
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RBP] = STACK_GPA + 0x700;
	ck_assert_int_eq(run(1000000), X86_DONE);
	ck_assert_uint_le(cpu.stores.count, X86_STORES);
}
END_TEST

START_TEST(loads_see_the_log)
{
	start(MODE_4_LEVEL, 0);
	ram64_set(STACK_GPA + 0x7f8, 0x1111111111111111);
	/* push rax; mov byte [rsp+3], 0x77; mov rcx, [rsp]; mov rdx, [rsp-4] */
	CODE(0x50, 0xc6, 0x44, 0x24, 0x03, 0x77, 0x48, 0x8b, 0x0c, 0x24, 0x48, 0x8b, 0x54, 0x24, 0xfc);
	cpu.state.gpr[X86_RAX] = 0x2222222222222222;
	ck_assert_int_eq(run(4), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 4);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 0x2222222277222222);
	ck_assert_uint_eq(cpu.state.gpr[X86_RDX], 0x7722222200000000);
	ck_assert_uint_eq(ram64(STACK_GPA + 0x7f8), 0x1111111111111111);
	apply();
	apply();
	ck_assert_uint_eq(ram64(STACK_GPA + 0x7f8), 0x2222222277222222);
}
END_TEST

START_TEST(apply_takes_nothing_on_trust)
{
	start(MODE_FLAT, 0);
	memset(&cpu.stores, 0xff, sizeof(cpu.stores)); /* count, sizes and addresses beyond everything */
	apply();
	cpu.stores.count = 4;
	cpu.stores.entry[0] = (struct x86_store){.gpa = RAM_BYTES - 1, .size = 2, .data = {1, 2}};
	cpu.stores.entry[1] = (struct x86_store){.gpa = DATA_GPA, .size = X86_STORE_BYTES + 1, .data = {1}};
	cpu.stores.entry[2] = (struct x86_store){.gpa = DATA_GPA + 1, .size = 0, .data = {1}};
	cpu.stores.entry[3] = (struct x86_store){.gpa = DATA_GPA + 1, .size = 3, .data = {7, 8, 9}};
	apply();
	ck_assert_uint_eq(ram[RAM_BYTES - 1], 0);
	ck_assert_uint_eq(ram64(DATA_GPA), 0x09080700);
}
END_TEST

START_TEST(hostile_state_is_harmless)
{
	static const uint8_t fill[] = {0xff, 0x00, 0x80, 0x7f, 0x55};

	for (unsigned i = 0; i < sizeof(fill); i++)
		for (unsigned have = 0; have < 2; have++) {
			start(MODE_4_LEVEL, 0);
			memset(ram, 0x90, 0x1000);
			memset(&cpu, fill[i], sizeof(cpu));
			if (have)
				cpu.state.have = 15;
			ck_assert_int_ge(run(1000), X86_DONE);
			ck_assert_int_le(cpu.stop, X86_UNKNOWN);
		}
}
END_TEST

static uint64_t random_state = 88172645463325252u;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t random_address(void)
{
	switch (random64() % 4) {
	case 0:
		return random64();
	case 1:
		return random64() & 0xffffffff;
	default:
		return DATA_GPA + random64() % 0x3000;
	}
}

/* Random bytes of code in every mode, over random registers, sometimes over random tables and segments, with
 * an XSAVE image of random content and size. What matters is that the sanitizers and the processor do not
 * mind. */
START_TEST(random_machines_do_no_harm)
{
	unsigned executed = 0;

	for (unsigned n = 0; n < 3000; n++) {
		start(random64() % 6, random64() % 2 ? 3 : 0);
		for (unsigned i = 0; i < 16; i++)
			cpu.state.gpr[i] = random_address();
		for (unsigned i = 0; i < 0x3000; i += 8)
			ram64_set(DATA_GPA + i, random64());
		cpu.xstate.size = (uint32_t)(random64() % 8 ? 2432 : random64() % 5000);
		for (unsigned i = 0; i < 2560; i += 8)
			memcpy(cpu.xstate.image + i, ram + DATA_GPA + i, 8);
		if (random64() % 8 == 0)
			ram64_set(RAM_BYTES - 0x4000 + random64() % 0x4000 / 8 * 8, random64());
		if (random64() % 8 == 0)
			memcpy(&cpu.state.segment[random64() % 6], ram + DATA_GPA,
			       sizeof(struct x86_segment));
		cpu.state.rflags = random64() & 0x7cffd7;
		cpu.state.cr4 ^= random64() & 0x350000;
		cpu.state.xcr0 = random64() % 4 ? 0xe7 : random64();
		cpu.reads = (uint32_t)random64();
		for (unsigned k = 0; k < 40; k++) {
			unsigned budget = 1 + (unsigned)(random64() % 20);

			cpu.state.rip = CODE_GPA;
			for (unsigned i = 0; i < 64; i += 8)
				ram64_set(CODE_GPA + i, random64());
			ck_assert_int_le(run(budget), X86_UNKNOWN);
			ck_assert_uint_le(cpu.stores.count, X86_STORES);
			ck_assert_uint_le(cpu.executed, budget);
			executed += cpu.executed;
			apply();
		}
	}
	ck_assert_uint_gt(executed, 10000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("x86_run");
	TCase *tc = tcase_create("run");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, fetch_crosses_pages);
	tcase_add_test(tc, fetch_does_not_touch_what_it_does_not_need);
	tcase_add_test(tc, instructions_have_15_bytes);
	tcase_add_test(tc, code_ends_with_its_segment);
	tcase_add_test(tc, code_outside_of_memory_is_unknown);
	tcase_add_test(tc, code_that_the_run_has_changed_is_executed);
	tcase_add_test(tc, no_base_is_not_r13);
	tcase_add_test(tc, unknown_instructions_are_disassembled);
	tcase_add_test(tc, missing_state_is_asked_for);
	tcase_add_loop_test(tc, a_batch_stops_before_what_kvm_must_do, 0, 15);
	tcase_add_test(tc, a_fault_in_a_batch_leaves_what_came_before);
	tcase_add_test(tc, the_log_never_overflows);
	tcase_add_test(tc, loads_see_the_log);
	tcase_add_test(tc, apply_takes_nothing_on_trust);
	tcase_add_test(tc, hostile_state_is_harmless);
	tcase_add_test(tc, random_machines_do_no_harm);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}

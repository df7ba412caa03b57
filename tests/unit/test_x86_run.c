/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's runs: fetch, batches, the log of stores, REP, locked instructions, devices, segments. */
#include "tests/unit/x86_harness.h"

#define DEVICE 0xa0000u /* outside of memory */

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

/* Random bytes of code in every mode, over random registers, sometimes over random tables and segments, with an
 * XSAVE image of random content and size. What matters is that the sanitizers and the processor do not mind. */
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
			memcpy(&cpu.state.segment[random64() % 6], ram + DATA_GPA, sizeof(struct x86_segment));
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

/* --- REP. */

START_TEST(rep_is_bounded_and_continues)
{
	unsigned requests = 0;

	start(MODE_4_LEVEL, 0);
	for (unsigned i = 0; i < 0x1000; i += 8)
		ram64_set(DATA_GPA + i, i + 1);
	CODE(0xf3, 0x48, 0xa5); /* rep movsq, over itself: the first element again and again */
	cpu.state.gpr[X86_RSI] = DATA_GPA;
	cpu.state.gpr[X86_RDI] = DATA_GPA + 8;
	cpu.state.gpr[X86_RCX] = 0x1800 / 8;
	do {
		ck_assert_int_eq(run(100), X86_DONE);
		ck_assert_uint_eq(cpu.executed, 1);
		apply();
		requests++;
	} while (cpu.state.rip == CODE_GPA);
	ck_assert_uint_eq(requests, 2);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 0);
	for (unsigned i = 0; i <= 0x1800; i += 8)
		ck_assert_uint_eq(ram64(DATA_GPA + i), 1);
}
END_TEST

START_TEST(rep_downwards_continues)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xf3, 0xaa); /* rep stosb */
	cpu.state.rflags |= 0x400;
	cpu.state.gpr[X86_RAX] = 0x5a;
	cpu.state.gpr[X86_RDI] = DATA_GPA + 299;
	cpu.state.gpr[X86_RCX] = 300;
	for (unsigned i = 0; i < 20 && cpu.state.rip == CODE_GPA; i++) {
		ck_assert_int_eq(run(1), X86_DONE);
		apply();
	}
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 2);
	ck_assert_uint_eq(ram[DATA_GPA - 1], 0);
	ck_assert_uint_eq(ram[DATA_GPA], 0x5a);
	ck_assert_uint_eq(ram[DATA_GPA + 299], 0x5a);
	ck_assert_uint_eq(ram[DATA_GPA + 300], 0);
}
END_TEST

START_TEST(rep_faults_between_iterations)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xf3, 0xab); /* rep stosd */
	entry_set(DATA_GPA + 0x1000, 1, 0);
	cpu.state.gpr[X86_RAX] = 0x01020304;
	cpu.state.gpr[X86_RDI] = DATA_GPA + 0x1000 - 10;
	cpu.state.gpr[X86_RCX] = 5;
	ck_assert_int_eq(run(1), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 14);
	ck_assert_uint_eq(cpu.exception.error, 2);
	ck_assert_uint_eq(cpu.exception.address, DATA_GPA + 0x1000);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 3);
	ck_assert_uint_eq(cpu.state.gpr[X86_RDI], DATA_GPA + 0x1000 - 2);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA);
	ck_assert_uint_ne(cpu.changed & X86_REGS, 0);
	apply();
	ck_assert_uint_eq(ram64(DATA_GPA + 0x1000 - 10), 0x0102030401020304);
	ck_assert_uint_eq(ram[DATA_GPA + 0x1000 - 2], 0);
}
END_TEST

START_TEST(rep_compares_until_the_flag)
{
	start(MODE_4_LEVEL, 0);
	memcpy(ram + DATA_GPA, "abcdefgh", 8);
	CODE(0xf2, 0xae); /* repne scasb */
	cpu.state.gpr[X86_RAX] = 'd';
	cpu.state.gpr[X86_RDI] = DATA_GPA;
	cpu.state.gpr[X86_RCX] = 100;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RDI], DATA_GPA + 4);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 96);
	ck_assert_uint_ne(cpu.state.rflags & 0x40, 0);
}
END_TEST

/* --- Locked instructions. */

START_TEST(locked_instructions_write_memory_themselves)
{
	start(MODE_4_LEVEL, 0);
	ram64_set(DATA_GPA, 40);
	CODE(0xf0, 0x48, 0x0f, 0xc1, 0x03, 0x90); /* lock xadd [rbx], rax; nop */
	cpu.state.gpr[X86_RAX] = 2;
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.stores.count, 0);
	ck_assert_uint_eq(ram64(DATA_GPA), 42);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 40);
}
END_TEST

START_TEST(cmpxchg16b_needs_alignment)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xf0, 0x48, 0x0f, 0xc7, 0x0b); /* lock cmpxchg16b [rbx] */
	ram64_set(DATA_GPA, 1);
	ram64_set(DATA_GPA + 8, 2);
	cpu.state.gpr[X86_RBX] = DATA_GPA + 8;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	ck_assert_int_eq(run(1), X86_DONE); /* not equal: loaded */
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 1);
	ck_assert_uint_eq(cpu.state.gpr[X86_RDX], 2);
	ck_assert_uint_eq(cpu.state.rflags & 0x40, 0);
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RCX] = 7;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_ne(cpu.state.rflags & 0x40, 0);
	ck_assert_uint_eq(ram64(DATA_GPA), DATA_GPA);
	ck_assert_uint_eq(ram64(DATA_GPA + 8), 7);
	/* Write permission is needed even to compare. */
	entry_set(DATA_GPA, 1, DATA_GPA | PTE_P);
	cpu.state.rip = CODE_GPA;
	expect_fault(run(1), 14, true, 3, DATA_GPA);
}
END_TEST

START_TEST(lock_belongs_to_few_instructions)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xf0, 0x89, 0x03); /* lock mov [rbx], eax */
	expect_fault(run(1), 6, false, 0, 0);
	CODE(0xf0, 0x01, 0xc3); /* lock add ebx, eax */
	expect_fault(run(1), 6, false, 0, 0);
}
END_TEST

/* --- Devices. */

START_TEST(a_device_read_is_asked_for)
{
	start(MODE_FLAT, 0);
	CODE(0x03, 0x03, 0x90); /* add eax, [ebx]; nop */
	cpu.state.gpr[X86_RAX] = 1;
	cpu.state.gpr[X86_RBX] = DEVICE + 4;
	ck_assert_int_eq(run(2), X86_WANT_READ);
	ck_assert(!memcmp(&cpu.state, &before, sizeof(before)));
	ck_assert_uint_eq(cpu.executed, 0);
	ck_assert_uint_eq(cpu.device.gpa, DEVICE + 4);
	ck_assert_uint_eq(cpu.device.size, 4);
	cpu.read[0] = cpu.device;
	cpu.read[0].data[0] = 41;
	cpu.reads = 1;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 42);
	/* An answer to another question is not taken. */
	cpu.state.rip = CODE_GPA;
	cpu.state.gpr[X86_RBX] = DEVICE + 8;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 0);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA);
}
END_TEST

START_TEST(a_device_write_is_left_to_the_caller)
{
	start(MODE_FLAT, 0);
	CODE(0x89, 0x03, 0x90); /* mov [ebx], eax; nop */
	cpu.state.gpr[X86_RAX] = 0x12345678;
	cpu.state.gpr[X86_RBX] = DEVICE;
	ck_assert_int_eq(run(2), X86_DEVICE_WRITE);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 2);
	ck_assert_uint_eq(cpu.device.gpa, DEVICE);
	ck_assert_uint_eq(cpu.device.size, 4);
	ck_assert(!memcmp(cpu.device.data, "\x78\x56\x34\x12", 4));
	ck_assert_uint_eq(cpu.stores.count, 0);
}
END_TEST

START_TEST(a_device_is_read_modified_and_written)
{
	start(MODE_FLAT, 0);
	CODE(0xf0, 0x80, 0x0b, 0x80); /* lock or byte [ebx], 0x80 */
	cpu.state.gpr[X86_RBX] = DEVICE;
	ck_assert_int_eq(run(1), X86_WANT_READ);
	ck_assert_uint_eq(cpu.device.size, 1);
	cpu.read[0] = cpu.device;
	cpu.read[0].data[0] = 1;
	cpu.reads = 1;
	ck_assert_int_eq(run(1), X86_DEVICE_WRITE);
	ck_assert_uint_eq(cpu.device.data[0], 0x81);
}
END_TEST

START_TEST(a_batch_does_not_reach_a_device)
{
	start(MODE_FLAT, 0);
	CODE(0x90, 0x8b, 0x03);
	cpu.state.gpr[X86_RBX] = DEVICE;
	ck_assert_int_eq(run(2), X86_DONE);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 1);
}
END_TEST

START_TEST(a_string_goes_to_a_device_element_by_element)
{
	start(MODE_FLAT, 0);
	memcpy(ram + DATA_GPA, "dvmm", 4);
	CODE(0xf3, 0xa4); /* rep movsb */
	cpu.state.gpr[X86_RSI] = DATA_GPA;
	cpu.state.gpr[X86_RDI] = DEVICE;
	cpu.state.gpr[X86_RCX] = 4;
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(cpu.state.rip, CODE_GPA);
		ck_assert_int_eq(run(1), X86_DEVICE_WRITE);
		ck_assert_uint_eq(cpu.device.gpa, DEVICE + i);
		ck_assert_uint_eq(cpu.device.data[0], "dvmm"[i]);
	}
	/* The processor looks at the count once more. */
	if (cpu.state.rip == CODE_GPA)
		ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 2);
}
END_TEST

START_TEST(a_string_comes_from_a_device)
{
	start(MODE_FLAT, 0);
	CODE(0xf3, 0xa5); /* rep movsd */
	cpu.state.gpr[X86_RSI] = DEVICE;
	cpu.state.gpr[X86_RDI] = DATA_GPA;
	cpu.state.gpr[X86_RCX] = 3;
	for (unsigned i = 0; i < 3; i++) {
		cpu.reads = 0;
		ck_assert_int_eq(run(1), X86_WANT_READ);
		ck_assert_uint_eq(cpu.device.gpa, DEVICE + 4 * i);
		cpu.read[0] = cpu.device;
		cpu.read[0].data[0] = (uint8_t)(i + 1);
		cpu.reads = 1;
		ck_assert_int_eq(run(1), X86_DONE);
		apply();
	}
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 0);
	ck_assert_uint_eq(ram64(DATA_GPA), 0x0000000200000001);
	ck_assert_uint_eq(ram64(DATA_GPA + 8), 3);
}
END_TEST

/* --- Segments and traps. */

START_TEST(segments_have_limits_and_types)
{
	start(MODE_FLAT, 0);
	CODE(0x8b, 0x03, 0x90); /* mov eax, [ebx] */
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	cpu.state.segment[X86_DS].limit = DATA_GPA + 3;
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.segment[X86_DS].limit = DATA_GPA + 2;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].limit = UINT32_MAX;
	cpu.state.segment[X86_DS].attributes = X86_SEGMENT_UNUSABLE;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].attributes = 0xc099; /* code that cannot be read */
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].attributes = 0xc097; /* expands down */
	cpu.state.segment[X86_DS].limit = DATA_GPA;
	expect_fault(run(1), 13, true, 0, 0);
	cpu.state.segment[X86_DS].limit = DATA_GPA - 1;
	ck_assert_int_eq(run(1), X86_DONE);
	CODE(0x89, 0x03); /* mov [ebx], eax */
	cpu.state.rip = CODE_GPA;
	cpu.state.segment[X86_DS] = segment(0xc091); /* read-only */
	expect_fault(run(1), 13, true, 0, 0);
	CODE(0x50); /* push eax */
	cpu.state.segment[X86_SS].limit = 0x100;
	expect_fault(run(1), 12, true, 0, 0);
}
END_TEST

START_TEST(real_mode_adds_bases)
{
	start(MODE_REAL, 0);
	cpu.state.segment[X86_CS].base = 0x1000;
	cpu.state.rip = 0;
	cpu.state.segment[X86_DS].base = DATA_GPA;
	cpu.state.gpr[X86_RBX] = 0xfffe;
	cpu.state.gpr[X86_RSI] = 0x12;
	CODE(0x8b, 0x00); /* mov ax, [bx+si]: wraps to 0x10 */
	ram64_set(DATA_GPA + 0x10, 0xbeef);
	cpu.state.gpr[X86_RAX] = 0xffff0000;
	ck_assert_int_eq(run(1), X86_DONE);
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 0xffffbeef);
	ck_assert_uint_eq(cpu.state.rip, 2);
}
END_TEST

START_TEST(alignment_is_checked_for_the_user)
{
	start(MODE_4_LEVEL, 3);
	CODE(0x8b, 0x03);
	cpu.state.gpr[X86_RBX] = DATA_GPA + 1;
	cpu.state.rflags |= 1u << 18;
	ck_assert_int_eq(run(1), X86_DONE);
	cpu.state.rip = CODE_GPA;
	cpu.state.cr0 |= 1u << 18;
	expect_fault(run(1), 17, true, 0, 0);
}
END_TEST

START_TEST(traps_are_behind_the_instruction)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xcc);
	ck_assert_int_eq(run(5), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 3);
	ck_assert_uint_eq(cpu.exception.trap, 1);
	ck_assert_uint_eq(cpu.executed, 1);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 1);
	cpu.state.rip = CODE_GPA;
	CODE(0x90, 0x90);
	cpu.state.rflags |= 0x100;
	ck_assert_int_eq(run(5), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 1);
	ck_assert_uint_eq(cpu.exception.dr6, 1u << 14);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 1);
}
END_TEST

START_TEST(single_steps_stop_between_iterations)
{
	start(MODE_4_LEVEL, 0);
	CODE(0xf3, 0xaa); /* rep stosb */
	cpu.state.rflags |= 0x100;
	cpu.state.gpr[X86_RDI] = DATA_GPA;
	cpu.state.gpr[X86_RCX] = 2;
	ck_assert_int_eq(run(1), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.exception.vector, 1);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA);
	ck_assert_uint_eq(cpu.state.gpr[X86_RCX], 1);
	ck_assert_int_eq(run(1), X86_EXCEPTION);
	ck_assert_uint_eq(cpu.state.rip, CODE_GPA + 2);
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

START_TEST(divisions_that_do_not_fit_fault)
{
	static const struct {
		uint8_t code[3];
		uint64_t rax, rdx, rcx;
		bool fits;
	} cases[] = {
		{{0x48, 0xf7, 0xf1}, 1, 0, 0, false}, /* div rcx */
		{{0x48, 0xf7, 0xf1}, 1, 5, 5, false},
		{{0x48, 0xf7, 0xf1}, UINT64_MAX, 4, 5, true},
		{{0x48, 0xf7, 0xf9}, 1ull << 63, UINT64_MAX, UINT64_MAX, false}, /* idiv rcx */
		{{0x48, 0xf7, 0xf9}, 1ull << 63, UINT64_MAX, 1, true},
		{{0x48, 0xf7, 0xf9}, 0, 1ull << 63, UINT64_MAX, false},
		{{0x48, 0xf7, 0xf9}, 0, 1ull << 63, 1ull << 63, false},
		{{0xf7, 0xf9, 0x90}, 0x80000000, 0xffffffff, 0xffffffff, false}, /* idiv ecx */
		{{0xf6, 0xf9, 0x90}, 0x8000, 0, 0xff, false},                    /* idiv cl */
		{{0xf6, 0xf9, 0x90}, 0xff80, 0, 1, true},
	};

	start(MODE_4_LEVEL, 0);
	memcpy(ram + CODE_GPA, cases[_i].code, 3);
	cpu.state.gpr[X86_RAX] = cases[_i].rax;
	cpu.state.gpr[X86_RDX] = cases[_i].rdx;
	cpu.state.gpr[X86_RCX] = cases[_i].rcx;
	if (cases[_i].fits)
		ck_assert_int_eq(run(1), X86_DONE);
	else
		expect_fault(run(1), 0, false, 0, 0);
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
	tcase_add_test(tc, unknown_instructions_are_disassembled);
	tcase_add_loop_test(tc, a_batch_stops_before_what_kvm_must_do, 0, 15);
	tcase_add_test(tc, a_fault_in_a_batch_leaves_what_came_before);
	tcase_add_test(tc, the_log_never_overflows);
	tcase_add_test(tc, loads_see_the_log);
	tcase_add_test(tc, apply_takes_nothing_on_trust);
	tcase_add_test(tc, hostile_state_is_harmless);
	tcase_add_test(tc, random_machines_do_no_harm);
	tcase_add_test(tc, rep_is_bounded_and_continues);
	tcase_add_test(tc, rep_downwards_continues);
	tcase_add_test(tc, rep_faults_between_iterations);
	tcase_add_test(tc, rep_compares_until_the_flag);
	tcase_add_test(tc, locked_instructions_write_memory_themselves);
	tcase_add_test(tc, cmpxchg16b_needs_alignment);
	tcase_add_test(tc, lock_belongs_to_few_instructions);
	tcase_add_test(tc, a_device_read_is_asked_for);
	tcase_add_test(tc, a_device_write_is_left_to_the_caller);
	tcase_add_test(tc, a_device_is_read_modified_and_written);
	tcase_add_test(tc, a_batch_does_not_reach_a_device);
	tcase_add_test(tc, a_string_goes_to_a_device_element_by_element);
	tcase_add_test(tc, a_string_comes_from_a_device);
	tcase_add_test(tc, segments_have_limits_and_types);
	tcase_add_test(tc, real_mode_adds_bases);
	tcase_add_test(tc, alignment_is_checked_for_the_user);
	tcase_add_test(tc, traps_are_behind_the_instruction);
	tcase_add_test(tc, single_steps_stop_between_iterations);
	tcase_add_test(tc, missing_state_is_asked_for);
	tcase_add_loop_test(tc, divisions_that_do_not_fit_fault, 0, 10);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 emulator's ways to memory and devices: strings with REP, locked instructions, device accesses. */
#include "tests/unit/x86_harness.h"

#include <pthread.h>

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

#define LOCKED_ROUNDS 20000u

/* lock inc qword [rbx], and a compare-and-swap of 16 bytes of which the low half counts, over and over. */
static void *locked_rounds(void *argument)
{
	struct x86_cpu *mine = argument;
	unsigned done = 0;

	while (done < LOCKED_ROUNDS) {
		mine->state.rip = CODE_GPA;
		if (x86_run(&machine, mine, 1) != X86_DONE)
			return NULL;
		done += mine->executed; /* 0: the other one was always quicker */
	}
	for (done = 0; done < LOCKED_ROUNDS;) {
		mine->state.rip = CODE_GPA + 4;
		mine->state.gpr[X86_RBX] = mine->state.gpr[X86_RAX] + 1;
		mine->state.gpr[X86_RCX] = mine->state.gpr[X86_RDX];
		if (x86_run(&machine, mine, 1) != X86_DONE)
			return NULL;
		done += mine->executed && (mine->state.rflags & 0x40);
	}
	return mine;
}

START_TEST(locked_instructions_are_atomic)
{
	struct x86_cpu *other = aligned_alloc(64, sizeof(*other));
	pthread_t thread;
	void *result;

	start(MODE_4_LEVEL, 0);
	CODE(0xf0, 0x48, 0xff, 0x03, 0xf0, 0x48, 0x0f, 0xc7, 0x0e); /* the second one is at [rsi] */
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	cpu.state.gpr[X86_RSI] = DATA_GPA + 16;
	*other = cpu;
	ck_assert_int_eq(pthread_create(&thread, NULL, locked_rounds, other), 0);
	ck_assert_ptr_nonnull(locked_rounds(&cpu));
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_nonnull(result);
	ck_assert_uint_eq(ram64(DATA_GPA), 2 * LOCKED_ROUNDS);
	ck_assert_uint_eq(ram64(DATA_GPA + 16), 2 * LOCKED_ROUNDS);
	free(other);
}
END_TEST

/* The address of what is modified is that from before the registers change. */
START_TEST(modified_operands_keep_their_address)
{
	start(MODE_FLAT, 0);
	CODE(0x0f, 0xc1, 0x00); /* xadd [eax], eax */
	cpu.state.gpr[X86_RAX] = DATA_GPA;
	ram64_set(DATA_GPA, 3);
	ck_assert_int_eq(run(1), X86_DONE);
	apply();
	ck_assert_uint_eq(cpu.state.gpr[X86_RAX], 3);
	ck_assert_uint_eq(ram64(DATA_GPA), DATA_GPA + 3);
	/* But pop [esp] is addressed after the increment. */
	CODE(0x8f, 0x04, 0x24);
	cpu.state.rip = CODE_GPA;
	ram64_set(STACK_GPA + 0x800, 0x0000000b0000000a);
	ck_assert_int_eq(run(1), X86_DONE);
	apply();
	ck_assert_uint_eq(ram64(STACK_GPA + 0x800), 0x0000000a0000000a);
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
	ck_assert_uint_eq(cpu.reads, 0);
	cpu.reads = 1;
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

int main(void)
{
	Suite *suite = suite_create("x86_access");
	TCase *tc = tcase_create("access");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rep_is_bounded_and_continues);
	tcase_add_test(tc, rep_downwards_continues);
	tcase_add_test(tc, rep_faults_between_iterations);
	tcase_add_test(tc, rep_compares_until_the_flag);
	tcase_add_test(tc, locked_instructions_write_memory_themselves);
	tcase_add_test(tc, cmpxchg16b_needs_alignment);
	tcase_add_test(tc, locked_instructions_are_atomic);
	tcase_add_test(tc, modified_operands_keep_their_address);
	tcase_add_test(tc, lock_belongs_to_few_instructions);
	tcase_add_test(tc, a_device_read_is_asked_for);
	tcase_add_test(tc, a_device_write_is_left_to_the_caller);
	tcase_add_test(tc, a_device_is_read_modified_and_written);
	tcase_add_test(tc, a_batch_does_not_reach_a_device);
	tcase_add_test(tc, a_string_goes_to_a_device_element_by_element);
	tcase_add_test(tc, a_string_comes_from_a_device);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}

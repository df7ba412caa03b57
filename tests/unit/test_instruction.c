/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request for instructions, between the mailbox and the x86 emulator: what is taken from dvmm's area, what is left in the
 * emulator's, when stores are made, and what a successor makes of what its predecessor has left.
 */
#include "tests/unit/x86_harness.h"

#include <Zydis/Zydis.h>

#include "emulator/core.h"
#include "emulator/instruction.h"

static struct core core;
static struct machine no_devices;
static struct x86_cpu asked, answer, private_cpu;
static struct instruction instruction = {&asked, &answer, &private_cpu};
static struct reply reply;
static uint64_t stored_when_claimed, stored_when_published;
static bool granted;

static bool claim(void *context, uint32_t seq)
{
	ck_assert_uint_eq(seq, 7);
	stored_when_claimed = ram64(DATA_GPA);
	return granted;
}

static void publish(void *context, const struct reply *r)
{
	stored_when_published = ram64(DATA_GPA);
	reply = *r;
}

static const struct core_client client = {.claim = claim, .publish = publish, .instruction = &instruction};

/* mov [rbx], rax; nop. */
static void setup_store(void)
{
	start(MODE_4_LEVEL, 0);
	CODE(0x48, 0x89, 0x03, 0x90);
	cpu.state.gpr[X86_RAX] = 0x1122334455667788;
	cpu.state.gpr[X86_RBX] = DATA_GPA;
	asked = cpu;
	memset(&answer, 0, sizeof(answer));
	memset(&reply, 0, sizeof(reply));
	granted = true;
	ck_assert_int_eq(core_init(&core, &no_devices, NULL, &mem), 0);
}

static bool request(unsigned count)
{
	const struct request req = {.seq = 7, .kind = REQUEST_X86, .count = count};

	return core_request(&core, &client, &req);
}

START_TEST(stores_come_after_the_claim_and_before_the_reply)
{
	setup_store();
	ck_assert(request(1));
	ck_assert_uint_eq(stored_when_claimed, 0);
	ck_assert_uint_eq(stored_when_published, 0x1122334455667788);
	ck_assert_uint_eq(reply.seq, 7);
	ck_assert_uint_eq(reply.device, REPLY_NO_DEVICE);
	ck_assert_uint_eq(answer.stop, X86_DONE);
	ck_assert_uint_eq(answer.executed, 1);
	ck_assert_uint_eq(answer.changed, X86_REGS);
	ck_assert_uint_eq(answer.state.rip, CODE_GPA + 3);
	ck_assert_uint_eq(answer.stores.count, 1);
	ck_assert_uint_eq(answer.stores.entry[0].gpa, DATA_GPA);
}
END_TEST

START_TEST(what_is_not_granted_has_not_happened)
{
	setup_store();
	granted = false;
	ck_assert(!request(1));
	ck_assert_uint_eq(ram64(DATA_GPA), 0);
	ck_assert_uint_eq(reply.seq, 0);
}
END_TEST

START_TEST(a_successor_finishes_what_was_committed)
{
	setup_store();
	ck_assert(request(1));
	memset(ram + DATA_GPA, 0, 8);
	memset(&reply, 0, sizeof(reply));
	memset(&private_cpu, 0, sizeof(private_cpu)); /* another process */
	instruction_finish(&core, &client, 7);
	ck_assert_uint_eq(stored_when_published, 0x1122334455667788);
	ck_assert_uint_eq(reply.seq, 7);
}
END_TEST

START_TEST(what_was_left_may_be_nonsense)
{
	setup_store();
	answer.stores.count = X86_STORES + 1;
	answer.stores.entry[0] = (struct x86_store){.gpa = DATA_GPA, .size = 8, .data = {0xff}};
	instruction_finish(&core, &client, 7);
	ck_assert_uint_eq(ram64(DATA_GPA), 0);
	ck_assert_uint_eq(reply.seq, 7); /* and dvmm has its answer */
	answer.stores.count = 2;
	answer.stores.entry[0].size = X86_STORE_BYTES + 1;
	answer.stores.entry[1] = (struct x86_store){.gpa = RAM_BYTES - 4, .size = 8, .data = {0xff}};
	instruction_finish(&core, &client, 7);
	ck_assert_uint_eq(ram64(DATA_GPA), 0);
	ck_assert_uint_eq(ram64(RAM_BYTES - 8), 0);
}
END_TEST

START_TEST(sizes_in_the_shared_area_are_checked)
{
	setup_store();
	asked.reads = X86_DEVICE_READS + 1;
	asked.xstate.size = X86_XSTATE_BYTES + 1;
	ck_assert(request(1));
	ck_assert_uint_eq(answer.executed, 1);
	ck_assert_uint_eq(private_cpu.xstate.size, 0);
}
END_TEST

START_TEST(changed_vector_state_is_handed_back)
{
	setup_store();
	CODE(0x0f, 0x10, 0x03); /* movups xmm0, [rbx] */
	ram64_set(DATA_GPA, 0x4242424242424242);
	asked.xstate.size = 0;
	ck_assert(request(1));
	ck_assert_uint_eq(answer.stop, X86_WANT_STATE);
	ck_assert_uint_eq(answer.want, X86_XSTATE);
	asked.xstate.size = 576;
	ck_assert(request(1));
	ck_assert_uint_eq(answer.stop, X86_DONE);
	ck_assert_uint_eq(answer.changed, X86_REGS | X86_XSTATE);
	ck_assert_uint_eq(answer.xstate.size, 576);
	ck_assert_uint_eq(answer.xstate.image[160], 0x42);
}
END_TEST

START_TEST(instructions_are_counted_by_name)
{
	static struct x86_count counts[MAILBOX_COUNTS];

	setup_store();
	core.x86_counts = counts;
	ck_assert(request(2));
	ck_assert_uint_eq(counts[ZYDIS_MNEMONIC_MOV].executed, 1);
	ck_assert_uint_eq(counts[ZYDIS_MNEMONIC_NOP].executed, 1);
	ck_assert_str_eq(counts[ZYDIS_MNEMONIC_MOV].name, "mov");
	ck_assert_str_eq(counts[ZYDIS_MNEMONIC_CMPXCHG16B].name, "cmpxchg16b");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("instruction");
	TCase *tc = tcase_create("instruction");

	tcase_add_test(tc, stores_come_after_the_claim_and_before_the_reply);
	tcase_add_test(tc, what_is_not_granted_has_not_happened);
	tcase_add_test(tc, a_successor_finishes_what_was_committed);
	tcase_add_test(tc, what_was_left_may_be_nonsense);
	tcase_add_test(tc, sizes_in_the_shared_area_are_checked);
	tcase_add_test(tc, changed_vector_state_is_handed_back);
	tcase_add_test(tc, instructions_are_counted_by_name);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}

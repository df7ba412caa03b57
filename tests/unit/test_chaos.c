/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chaos device does the damage that its header promises, in a child that shares the region: what remains in it is what
 * the next emulator finds.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulator/chaos.h"

#define PATIENCE_US 100000

enum { CHAOS, RTC, DEVICES };

static struct machine machine;
static struct core core;
static uint8_t *region, *replies;

static void *shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static void setup(void)
{
	static const struct guest_memory none;
	struct region_layout layout;

	machine = (struct machine){.vcpus = 2, .devices = DEVICES};
	machine.device[CHAOS] = (struct machine_device){.type = DEVICE_CHAOS, .base = CHAOS_PORT, .size = 8};
	machine.device[RTC] = (struct machine_device){.type = DEVICE_RTC, .base = RTC_PORT, .size = 2};
	for (int i = 0; i < DEVICES; i++)
		machine.device[i].irq_fd = machine.device[i].queue_fd = machine.device[i].file_fd = -1;
	machine.device[CHAOS].irq_fd = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_eq(region_layout(&machine, &layout), 0);
	region = shared(layout.size);
	replies = shared(mailbox_reply_bytes(machine.vcpus));
	region_init(&machine, &layout, region);
	ck_assert_int_eq(core_init(&core, &machine, region, &none), 0);
	chaos_attach(&core, replies);
}

static void teardown(void)
{
	munmap(region, core.layout.size);
	munmap(replies, mailbox_reply_bytes(machine.vcpus));
	close(machine.device[CHAOS].irq_fd);
}

static void keep_reply(void *to, const struct reply *reply) { *(struct reply *)to = *reply; }

static struct reply ask(uint32_t kind, uint64_t port, uint32_t size, uint32_t value)
{
	struct request req = {.seq = 77, .kind = kind, .space = BUS_PIO, .addr = port, .size = size, .count = 1};
	struct reply reply = {0};

	memcpy(req.data, &value, sizeof(value));
	core_request(&core, &(struct core_client){.slot = 1, .context = &reply, .publish = keep_reply}, &req);
	return reply;
}

static uint32_t in32(uint64_t port)
{
	struct reply reply = ask(REQUEST_READ, port, 4, 0);
	uint32_t value;

	memcpy(&value, reply.data, sizeof(value));
	return value;
}

static void command(uint32_t action, uint32_t arg) { ask(REQUEST_WRITE, CHAOS_PORT + CHAOS_COMMAND, 4, action | arg << 8); }

#ifdef DVMM_COVERAGE
/* What a child has executed is written at its end only; these children have none. */
void __gcov_dump(void);

static void dump(int signo)
{
	__gcov_dump();
	if (signo != SIGALRM) {
		signal(signo, SIG_DFL);
		raise(signo);
	}
}

static void keep_coverage(void)
{
	static uint8_t stack[1 << 16];
	const struct sigaction action = {.sa_handler = dump, .sa_flags = SA_ONSTACK};

	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	ualarm(5000, 0);
}
#else
static void keep_coverage(void) {}
#endif

static pid_t child_command(uint32_t action, uint32_t arg)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		keep_coverage();
		command(action, arg);
		_exit(0);
	}
	return pid;
}

/* How the child that performed this ended. */
static int ending(uint32_t action, uint32_t arg)
{
	int status;
	pid_t pid = child_command(action, arg);

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void counts(uint32_t committed, uint32_t begun)
{
	ck_assert_uint_eq(in32(CHAOS_PORT + CHAOS_COUNTER), committed);
	ck_assert_uint_eq(in32(CHAOS_PORT + CHAOS_COMMAND), begun);
}

static void died_by(int status, int signal)
{
#ifdef DVMM_ASAN /* whose handlers report and exit */
	ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
#else
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), signal);
#endif
}

START_TEST(counts_what_is_committed)
{
	for (int i = 0; i < 3; i++)
		command(CHAOS_COUNT, 0);
	command(CHAOS_SPIN_MS, 1);
	command(CHAOS_SYSCALL, SYS_getpid);
	counts(5, 5);
	ask(REQUEST_WRITE, CHAOS_PORT + CHAOS_COUNTER, 4, 1000);
	command(CHAOS_COUNT, 0);
	counts(1001, 6);
}
END_TEST

START_TEST(other_sizes_do_nothing)
{
	ask(REQUEST_WRITE, CHAOS_PORT + CHAOS_COMMAND, 1, CHAOS_CRASH);
	ask(REQUEST_WRITE, CHAOS_PORT + CHAOS_COMMAND, 2, CHAOS_CRASH);
	ask(REQUEST_WRITE, CHAOS_PORT + 2, 4, CHAOS_CRASH);
	ck_assert_uint_eq(ask(REQUEST_READ, CHAOS_PORT, 1, 0).data[0], 0xff);
	counts(0, 0);
}
END_TEST

static const struct {
	uint32_t action;
	int signal;
} deaths[] = {
	{CHAOS_CRASH, SIGSEGV},
	{CHAOS_TRAP, SIGILL},
	{CHAOS_CRASH_SPARE, SIGSEGV},
	{CHAOS_EXHAUST, SIGSEGV},
};

START_TEST(death_is_not_committed)
{
	command(CHAOS_COUNT, 0);
	died_by(ending(deaths[_i].action, 0), deaths[_i].signal);
	died_by(ending(deaths[_i].action, 0), deaths[_i].signal);
	counts(1, 3);
	command(CHAOS_COUNT, 0);
	counts(2, 4);
}
END_TEST

START_TEST(exit_has_its_status)
{
	int status = ending(CHAOS_EXIT, 7);

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	counts(0, 1);
}
END_TEST

/* "This command": the next one starts anew. */
START_TEST(crashes_first_and_then_no_more)
{
	for (int again = 0; again < 2; again++) {
		died_by(ending(CHAOS_CRASH_FIRST, 2), SIGSEGV);
		died_by(ending(CHAOS_CRASH_FIRST, 2), SIGSEGV);
		command(CHAOS_CRASH_FIRST, 2);
	}
	counts(2, 6);
}
END_TEST

START_TEST(crash_after_commit_leaves_the_reply)
{
	const struct journal *j;

	died_by(ending(CHAOS_CRASH_COMMITTED, 0), SIGSEGV);
	j = &region_copy_of(&core.layout, region, CHAOS, region_current(&core.layout, region, CHAOS))->journal;
	ck_assert_uint_eq(j->slot, 1);
	ck_assert_uint_eq(j->seq, 77);
	ck_assert_uint_eq(j->reply.seq, 77);
	ck_assert_uint_eq(j->reply.device, CHAOS);
	counts(1, 1);
}
END_TEST

static const uint32_t stalls[] = {CHAOS_SPIN, CHAOS_SLEEP, CHAOS_SCRIBBLE_REPLY, CHAOS_FORGE_REPLY};

START_TEST(stall_does_not_end)
{
	pid_t pid = child_command(stalls[_i], 1);
	int status;

	usleep(PATIENCE_US);
	ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	counts(0, 1);
}
END_TEST

START_TEST(scribbles_over_all_but_its_own_operation)
{
	const struct region_device *rtc = &core.layout.device[RTC];
	uint8_t before[64];

	memcpy(before, region + rtc->state[0], sizeof(before));
	command(CHAOS_SCRIBBLE_REGION, 1);
	ck_assert_mem_ne(before, region + rtc->state[0], sizeof(before));
	ck_assert_uint_eq(region_copy_of(&core.layout, region, CHAOS, region_current(&core.layout, region, CHAOS))
				  ->journal.seq, 77);
}
END_TEST

START_TEST(forges_the_sequence_that_is_awaited)
{
	struct reply *r = mailbox_reply(replies, 1);
	int status;
	pid_t pid;

	r->seq = 41;
	pid = child_command(CHAOS_FORGE_REPLY, 1);
	usleep(PATIENCE_US);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_assert_uint_eq(r->seq, 42);
}
END_TEST

START_TEST(interrupts_are_counted_by_the_eventfd)
{
	uint64_t count = 0;

	command(CHAOS_INTERRUPTS, 12345);
	ck_assert_int_eq(read(machine.device[CHAOS].irq_fd, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 12345);
	counts(1, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chaos");
	TCase *t = tcase_create("chaos");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, counts_what_is_committed);
	tcase_add_test(t, other_sizes_do_nothing);
	tcase_add_loop_test(t, death_is_not_committed, 0, sizeof(deaths) / sizeof(deaths[0]));
	tcase_add_test(t, exit_has_its_status);
	tcase_add_test(t, crashes_first_and_then_no_more);
	tcase_add_test(t, crash_after_commit_leaves_the_reply);
	tcase_add_loop_test(t, stall_does_not_end, 0, sizeof(stalls) / sizeof(stalls[0]));
	tcase_add_test(t, scribbles_over_all_but_its_own_operation);
	tcase_add_test(t, forges_the_sequence_that_is_awaited);
	tcase_add_test(t, interrupts_are_counted_by_the_eventfd);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

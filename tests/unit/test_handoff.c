/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hand-off against emulators of the test's own: honest ones through both ways of waiting, and ones that lie.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "emulator/futex.h"
#include "emulator/worker.h"
#include "vmm/handoff.h"

static struct vm vm;
static struct handoff h;
static pthread_t emulator;

static void setup(void)
{
	memset(&vm, 0, sizeof(vm));
	vm.machine.vcpus = 1;
	vm.machine.devices = 1;
	vm.machine.spin_ns = 20000;
	vm.wake_fd = eventfd(0, EFD_NONBLOCK);
	vm.requests.at = aligned_alloc(MAILBOX_PAGE, mailbox_request_bytes(1));
	vm.replies.at = aligned_alloc(MAILBOX_PAGE, mailbox_reply_bytes(1));
	vm.vcpu[0].home = vm.vcpu[0].cpu = -1;
	memset(vm.requests.at, 0, mailbox_request_bytes(1));
	memset(vm.replies.at, 0, mailbox_reply_bytes(1));
	handoff_init(&h, &vm, 0);
}

/* A worker over a machine with no device at all: every read is all ones. */
static void *honest(void *arg)
{
	static struct machine none;
	static struct core core;
	struct guest_memory memory = {0};
	struct worker w = {.core = &core, .queue = h.queue, .reply = mailbox_reply(vm.replies.at, 0),
			   .claim = mailbox_claim(vm.replies.at, 0), .spin_ns = *(uint32_t *)arg};

	core_init(&core, &none, NULL, &memory);
	worker_run(&w);
	return NULL;
}

static void ask(uint32_t kind)
{
	struct request *req = handoff_request(&h);

	req->kind = kind;
	req->addr = 0x80;
	req->size = 1;
	req->count = 1;
}

START_TEST(many_requests_in_each_mode)
{
	static const uint32_t spins[][2] = {{0, 0}, {20000, 20000}, {20000, 0}, {0, 20000}};
	uint32_t spin = spins[_i][0];
	struct reply reply;

	h.spin_ns = spins[_i][1];
	pthread_create(&emulator, NULL, honest, &spin);
	for (int i = 0; i < 2000; i++) {
		ask(REQUEST_READ);
		ck_assert_int_eq(handoff_call(&h, &reply), 0);
		ck_assert_uint_eq(reply.data[0], 0xff);
		ck_assert_uint_eq(reply.device, REPLY_NO_DEVICE);
	}
	ask(REQUEST_QUIT);
	handoff_send(&h);
	pthread_join(emulator, NULL);
}
END_TEST

/* Longer ones than fit the line that dvmm watches; the second line is not touched by others. */
START_TEST(answers_of_any_length_are_whole)
{
	const uint8_t *second = mailbox_reply(vm.replies.at, 0)->data + REPLY_SHORT;
	uint32_t spin = 20000;
	struct reply reply;

	pthread_create(&emulator, NULL, honest, &spin);
	for (uint32_t count = 1; count <= MAILBOX_DATA; count++) {
		ask(REQUEST_READ);
		handoff_request(&h)->count = count;
		memset(&reply, 0, sizeof(reply));
		ck_assert_int_eq(handoff_call(&h, &reply), 0);
		for (uint32_t i = 0; i < count; i++)
			ck_assert_uint_eq(reply.data[i], 0xff);
		ck_assert_uint_eq(*second, count > REPLY_SHORT ? 0xff : 0);
	}
	ask(REQUEST_QUIT);
	handoff_send(&h);
	pthread_join(emulator, NULL);
}
END_TEST

/* The worker can acknowledge before the watchdog has gone on from its decision; an emulator that says so of itself has not
 * been completed by anybody. */
START_TEST(a_decision_is_seen_with_the_acknowledgement)
{
	struct reply *shared = mailbox_reply(vm.replies.at, 0), reply;

	ask(REQUEST_READ);
	handoff_send(&h);
	*mailbox_claim(vm.replies.at, 0) = CLAIM(1, CLAIM_CANCELLED);
	if (_i)
		atomic_store(&vm.watch[0].forcing_seq, 1);
	shared->seq = 1;
	ck_assert_int_eq(handoff_poll(&h, 0, &reply), _i ? -ETIME : 0);
	ck_assert(!handoff_busy(&h));
	/* It tried about the next one too, which had been committed. */
	ask(REQUEST_READ);
	handoff_send(&h);
	atomic_store(&vm.watch[0].forcing_seq, 2);
	*mailbox_claim(vm.replies.at, 0) = CLAIM(2, CLAIM_COMMITTED);
	shared->seq = 2;
	ck_assert_int_eq(handoff_poll(&h, 0, &reply), 0);
}
END_TEST

/* As if so many requests had been answered. */
static void begin_at(uint32_t seq)
{
	h.seq = h.done = mailbox_reply(vm.replies.at, 0)->seq = seq;
	for (uint32_t i = 0; i < MAILBOX_RING; i++)
		queue_at(h.queue, seq - i)->seq = seq - i;
}

/* Number 0 comes after 2^32 - 1, and nobody has completed it by force. */
START_TEST(numbers_come_again)
{
	uint32_t spin = 0;
	struct reply reply;

	begin_at(UINT32_MAX - 2);
	pthread_create(&emulator, NULL, honest, &spin);
	for (int i = 0; i < 6; i++) {
		ask(REQUEST_READ);
		ck_assert_int_eq(handoff_call(&h, &reply), 0);
	}
	ask(REQUEST_QUIT);
	handoff_send(&h);
	pthread_join(emulator, NULL);
}
END_TEST

START_TEST(stop_ends_a_wait)
{
	struct reply reply;

	vm_stop(&vm, EXIT_EMULATOR_LOST, "test");
	ask(REQUEST_READ);
	ck_assert_int_eq(handoff_call(&h, &reply), -EINTR); /* nobody answers */
}
END_TEST

START_TEST(poll_does_not_wait_for_ever)
{
	struct reply reply;

	ask(REQUEST_READ);
	handoff_send(&h);
	ck_assert_int_eq(handoff_poll(&h, 1000, &reply), -EAGAIN);
	__atomic_store_n(&mailbox_reply(vm.replies.at, 0)->seq, 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(handoff_poll(&h, 1000, &reply), 0);
}
END_TEST

START_TEST(a_wrong_sequence_is_a_lie)
{
	struct reply reply;

	mailbox_reply(vm.replies.at, 0)->seq = 7;
	ask(REQUEST_READ);
	ck_assert_int_eq(handoff_call(&h, &reply), -EPROTO);
	ck_assert(vm_stopping(&vm));
	ck_assert_int_eq(vm.stop.status, EXIT_EMULATOR_LOST);
	ck_assert_ptr_nonnull(strstr(vm.stop.reason, "sequence 7"));
}
END_TEST

/* --- Posts ------------------------------------------------------------------------------------ */

static void post(void)
{
	ask(REQUEST_WRITE);
	ck_assert(handoff_may_post(&h, false));
	ck_assert_int_eq(handoff_post(&h, 0), 0);
}

/* The worker is asleep all the time, as one on our CPU is; around the ring and past number 0. */
START_TEST(a_full_queue_is_a_call)
{
	uint32_t spin = 0;
	struct reply reply;

	begin_at(UINT32_MAX - 20);
	h.spin_ns = 0;
	pthread_create(&emulator, NULL, honest, &spin);
	for (int round = 0; round < 4; round++) {
		for (unsigned i = 0; i < MAILBOX_POSTS; i++)
			post();
		ck_assert(!handoff_may_post(&h, false));
		ck_assert_uint_ne(vm.watch[0].posted_ns, 0);
		ck_assert_uint_eq(vm.posters[0], 1);
		ask(REQUEST_READ);
		ck_assert_int_eq(handoff_call(&h, &reply), 0);
		ck_assert_uint_eq(reply.data[0], 0xff);
		ck_assert_uint_eq(vm.watch[0].posted_ns, 0);
		ck_assert_uint_eq(vm.posters[0], 0);
	}
	ck_assert_uint_eq(h.seq, (uint32_t)(UINT32_MAX - 20 + 4 * (MAILBOX_POSTS + 1)));
	post();
	ck_assert_int_eq(handoff_flush(&h, &reply), 0);
	ck_assert_int_eq(handoff_flush(&h, &reply), -EAGAIN);
	ask(REQUEST_QUIT);
	handoff_send(&h);
	pthread_join(emulator, NULL);
}
END_TEST

START_TEST(what_must_not_lie_is_not_posted_to_a_sleeper)
{
	h.spin_ns = 0;
	ck_assert(handoff_may_post(&h, false));
	ck_assert(!handoff_may_post(&h, true));
	h.spin_ns = 1;
	ck_assert(handoff_may_post(&h, true));
}
END_TEST

START_TEST(an_answer_may_lag_but_not_go_back)
{
	struct reply *shared = mailbox_reply(vm.replies.at, 0), reply;

	post();
	post();
	post();
	for (uint32_t done = 0; done < 3; done++) {
		shared->seq = done;
		ck_assert_int_eq(handoff_poll(&h, 0, &reply), -EAGAIN);
	}
	shared->seq = 1;
	ck_assert_int_eq(handoff_poll(&h, 0, &reply), -EPROTO);
	ck_assert_ptr_nonnull(strstr(vm.stop.reason, "sequence 1"));
}
END_TEST

START_TEST(the_end_does_not_wait_for_ever_for_posts)
{
	struct reply reply;

	post();
	vm_stop(&vm, EXIT_GUEST_ENDED, "test");
	ck_assert_int_eq(handoff_finish(&h, &reply), -EINTR); /* nobody answers */
	mailbox_reply(vm.replies.at, 0)->seq = 1;
	ck_assert_int_eq(handoff_finish(&h, &reply), 0);
}
END_TEST

/* Another vCPU has posted, and its worker sleeps: it is woken, and what it was given is done first. */
START_TEST(others_posts_come_first)
{
	struct handoff other;
	uint32_t spin = 0;
	struct reply reply;

	vm.policy = (struct watchdog_config){.quantum_ns = 1000000000, .max_quanta = 10};
	handoff_init(&other, &vm, 1); /* the slot behind the vCPU's */
	pthread_create(&emulator, NULL, honest, &spin);
	for (int i = 0; i < 5; i++)
		post();
	handoff_order(&other, 1); /* another device: nothing to wait for */
	handoff_order(&h, 0);     /* one's own posts */
	handoff_order(&other, 0);
	ck_assert_uint_eq(mailbox_reply(vm.replies.at, 0)->seq, 5);
	ck_assert_int_eq(handoff_flush(&h, &reply), 0);
	ask(REQUEST_QUIT);
	handoff_send(&h);
	pthread_join(emulator, NULL);
}
END_TEST

static const struct lie {
	struct reply reply;
	uint32_t kind;
	bool honest;
} lies[] = {
	{.reply = {.device = 0}, .kind = REQUEST_READ, .honest = true},
	{.reply = {.device = REPLY_NO_DEVICE, .flags = REPLY_CONSOLE_ROOM}, .kind = REQUEST_READ, .honest = true},
	{.reply = {.event = MACHINE_EXIT, .exit_code = 7}, .kind = REQUEST_WRITE, .honest = true},
	{.reply = {.count = 1}, .kind = REQUEST_INPUT, .honest = true},
	{.reply = {.device = 1}, .kind = REQUEST_READ},
	{.reply = {.device = UINT32_MAX - 1}, .kind = REQUEST_READ},
	{.reply = {.event = MACHINE_EXIT + 1}, .kind = REQUEST_READ},
	{.reply = {.event = UINT32_MAX}, .kind = REQUEST_READ},
	{.reply = {.flags = 2}, .kind = REQUEST_READ},
	{.reply = {.flags = 0x80000001}, .kind = REQUEST_READ},
	{.reply = {.count = 2}, .kind = REQUEST_INPUT},
	{.reply = {.count = UINT32_MAX}, .kind = REQUEST_INPUT},
};

START_TEST(replies_are_checked)
{
	struct reply *shared = mailbox_reply(vm.replies.at, 0), reply;
	const struct lie *lie = &lies[_i];

	ask(lie->kind);
	handoff_send(&h);
	*shared = lie->reply;
	shared->seq = 1;
	ck_assert_int_eq(handoff_poll(&h, 0, &reply), lie->honest ? 0 : -EPROTO);
	ck_assert(vm_stopping(&vm) == !lie->honest);
}
END_TEST

/* --- With the watchdog ------------------------------------------------------------------------- */

static pid_t victim; /* what the watchdog takes for the emulator */

static void start_watchdog(uint32_t max_quanta)
{
	struct failure f;

	vm.policy = (struct watchdog_config){.quantum_ns = 5000000, .max_quanta = max_quanta};
	vm.vcpu[0].cpu = -1;
	pthread_mutex_init(&vm.emulator_lock, NULL);
	victim = fork();
	if (victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	vm.active = (struct emulator_process){.incarnation = 1, .pidfd = (int)syscall(SYS_pidfd_open, victim, 0)};
	ck_assert_int_ge(vm.active.pidfd, 0);
	pthread_barrier_init(&vm.gate, NULL, 1);
	ck_assert_int_eq(watchdog_start(&vm, &f), 0);
}

static void *change_claim(void *arg)
{
	for (uint32_t i = 0;; i++) /* never one that says "committed" */
		__atomic_store_n((uint32_t *)arg, i << 2, __ATOMIC_RELAXED);
	return NULL;
}

static int flushed;

static void *flush_later(void *arg)
{
	struct reply reply;

	flushed = handoff_flush(&h, &reply);
	return NULL;
}

/* By force if the watchdog gets a word in; if not, the emulator pays for it. */
START_TEST(a_claim_that_never_rests_bounds_nothing)
{
	struct pollfd died;

	start_watchdog(2);
	died = (struct pollfd){.fd = vm.active.pidfd, .events = POLLIN};
	pthread_create(&emulator, NULL, change_claim, mailbox_claim(vm.replies.at, 0));
	ask(REQUEST_READ);
	handoff_send(&h);
	ck_assert_int_eq(poll(&died, 1, 30000), 1);
}
END_TEST

/* It has been answered while the watchdog made up its mind, and the worker has begun the next one. */
START_TEST(a_decision_that_comes_too_late_takes_no_other_request)
{
	static const uint32_t later[] = {CLAIM(2, CLAIM_OPEN), CLAIM(2, CLAIM_COMMITTED), CLAIM(1, CLAIM_COMMITTED)};
	struct pollfd died;

	start_watchdog(2);
	died = (struct pollfd){.fd = vm.active.pidfd, .events = POLLIN};
	*mailbox_claim(vm.replies.at, 0) = later[_i];
	ask(REQUEST_READ);
	handoff_send(&h);
	ck_assert_int_eq(poll(&died, 1, 30000), 1); /* as far as the watchdog can see it never answers */
	ck_assert_uint_eq(*mailbox_claim(vm.replies.at, 0), later[_i]);
	ck_assert_uint_ne(atomic_load(&vm.watch[0].forced_seq), 1);
}
END_TEST

/* As an emulator does that is stopped between the two, or that wants its vCPU to sleep for ever. */
static void *answer_and_wake_nobody(void *arg)
{
	struct reply *shared = arg;

	while (!__atomic_load_n(&h.queue->sleeping, __ATOMIC_SEQ_CST))
		;
	usleep(20000); /* it sleeps by now */
	shared->device = REPLY_NO_DEVICE;
	__atomic_store_n(&shared->seq, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

START_TEST(a_reply_without_a_wake_up_is_found)
{
	struct reply reply;

	start_watchdog(1000);
	pthread_create(&emulator, NULL, answer_and_wake_nobody, mailbox_reply(vm.replies.at, 0));
	ask(REQUEST_READ);
	ck_assert_int_eq(handoff_call(&h, &reply), 0);
	pthread_join(emulator, NULL);
	kill(victim, SIGKILL);
}
END_TEST

/* The oldest one first; the count begins anew for those behind it; and then the emulator pays. */
START_TEST(posts_that_are_never_answered_are_forced)
{
	struct reply *shared = mailbox_reply(vm.replies.at, 0), reply;
	struct pollfd died;

	start_watchdog(4);
	died = (struct pollfd){.fd = vm.active.pidfd, .events = POLLIN};
	h.spin_ns = 0;
	post();
	post();
	pthread_create(&emulator, NULL, flush_later, NULL);
	while (atomic_load(&vm.watch[0].forced_seq) != 1)
		usleep(1000);
	ck_assert_uint_eq(__atomic_load_n(&h.queue->cancelled, __ATOMIC_SEQ_CST), 1);
	ck_assert_uint_eq(__atomic_load_n(mailbox_claim(vm.replies.at, 0), __ATOMIC_SEQ_CST), CLAIM(1, CLAIM_CANCELLED));
	__atomic_store_n(&shared->seq, 1, __ATOMIC_SEQ_CST); /* in time: the second one has its own N quanta */
	while (atomic_load(&vm.watch[0].forced_seq) != 2)
		usleep(1000);
	pthread_join(emulator, NULL);
	ck_assert_int_eq(flushed, -ETIME);
	ck_assert(handoff_busy(&h));
	ck_assert_uint_eq(h.posts, 0);
	ck_assert_int_eq(poll(&died, 1, 30000), 1); /* it does not acknowledge that one */
	__atomic_store_n(&shared->seq, 2, __ATOMIC_SEQ_CST);
	ck_assert(!handoff_busy(&h));
	ck_assert_int_eq(handoff_flush(&h, &reply), -EAGAIN);
}
END_TEST

static void ignore(int signo) {}

/* Nobody waits for a post, and the worker sleeps: the vCPU is kicked, and again until it has waited for it.
 * The watchdog has gone to sleep for long before. */
START_TEST(a_post_that_is_left_has_the_vcpu_kicked)
{
	static struct kvm_run run;
	struct sigaction kick = {.sa_handler = ignore};
	uint64_t kicks = 0;

	sigaction(VCPU_KICK_SIGNAL, &kick, NULL);
	vm.vcpu[0].run = &run;
	vm.vcpu[0].thread = pthread_self();
	atomic_store(&vm.vcpu[0].running, true);
	start_watchdog(1000);
	usleep(20000);
	h.spin_ns = 0;
	post();
	while (kicks < 3) {
		kicks += __atomic_exchange_n(&run.immediate_exit, 0, __ATOMIC_SEQ_CST);
		usleep(1000);
	}
	ck_assert_uint_eq(atomic_load(&vm.counted.forced), 0); /* it is not under way as long as nobody waits */
	kill(victim, SIGKILL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("handoff");
	TCase *t = tcase_create("handoff");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, answers_of_any_length_are_whole);
	tcase_add_loop_test(t, a_decision_is_seen_with_the_acknowledgement, 0, 2);
	tcase_add_loop_test(t, many_requests_in_each_mode, 0, 4);
	tcase_add_test(t, numbers_come_again);
	tcase_add_test(t, stop_ends_a_wait);
	tcase_add_test(t, poll_does_not_wait_for_ever);
	tcase_add_test(t, a_wrong_sequence_is_a_lie);
	tcase_add_test(t, a_claim_that_never_rests_bounds_nothing);
	tcase_add_loop_test(t, a_decision_that_comes_too_late_takes_no_other_request, 0, 3);
	tcase_add_test(t, a_reply_without_a_wake_up_is_found);
	tcase_add_test(t, a_full_queue_is_a_call);
	tcase_add_test(t, what_must_not_lie_is_not_posted_to_a_sleeper);
	tcase_add_test(t, an_answer_may_lag_but_not_go_back);
	tcase_add_test(t, the_end_does_not_wait_for_ever_for_posts);
	tcase_add_test(t, others_posts_come_first);
	tcase_add_test(t, posts_that_are_never_answered_are_forced);
	tcase_add_test(t, a_post_that_is_left_has_the_vcpu_kicked);
	tcase_add_loop_test(t, replies_are_checked, 0, sizeof(lies) / sizeof(lies[0]));
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog thread. It looks at each mailbox slot when the policy (sched/watchdog_policy.h) says that
 * something may be due, and otherwise sleeps; an operation that begins meanwhile need not wake it, for it
 * never sleeps longer than N quanta.
 *
 * Of the requests of a slot only the oldest one not answered can be under way, so that is what is forced, and
 * blamed. Posts that nobody waits for are no operations yet; but a vCPU that leaves some for POST_PATIENCE_NS
 * is kicked, so that it waits for them. Who posts the first one sees to it that we do not sleep for longer
 * than twice that.
 *
 * Completing by force takes four steps, in this order. From the third on, each may be the one that the vCPU sees first:
 *
 *     where to        repin_to, if the rate limit allows a move
 *     the attempt     forcing_seq: now the vCPU looks at the claim before it takes a reply to this request. Before the
 *                     decision, because the worker can acknowledge that at once
 *     the decision    claim: from here on the worker cannot commit any more. If it has, there is nothing to force
 *     the word        forced_seq, request.cancelled, and a wake-up, again at each look until the worker has acknowledged
 *
 * Where it runs: on any allowed CPU, and as a real-time thread where that is permitted, so that no CPU full
 * of stuck operations can starve it. Where it is not permitted: it sleeps nearly all the time, and the fair
 * scheduler prefers such a thread to those that compute.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "emulator/futex.h"
#include "sched/topology.h"
#include "vmm/log.h"
#include "vmm/probes.h"
#include "vmm/vm.h"

/* Of more allowed CPUs than this, the first ones are targets of moves. */
#define MACHINE_MAX_CPUS_WATCHED 1024

#define IO_THREAD      MAILBOX_SLOTS /* in the place of a slot */
#define IO_PATIENCE_NS 1000000000ull

struct watchdog {
	struct vm *vm;
	struct repin_cpu cpu[MACHINE_MAX_CPUS_WATCHED];
	struct repin_bucket bucket;
	struct filter filter;
	uint32_t first;  /* slot to begin with */
	uint64_t random; /* state of the choices, seeded at random */
};

static struct watchdog watchdog;

static struct request_queue *queue_of(struct watchdog *d, uint32_t slot)
{
	return mailbox_queue(d->vm->requests.at, slot);
}

/* The request that is next to be answered, if there is one. */
static uint32_t oldest(struct watchdog *d, uint32_t slot)
{
	return __atomic_load_n(&mailbox_reply(d->vm->replies.at, slot)->seq, __ATOMIC_ACQUIRE) + 1;
}

static bool pending(struct watchdog *d, uint32_t slot)
{
	return queue_has(queue_of(d, slot), oldest(d, slot));
}

/* 48 bits that nobody knows beforehand. */
static uint64_t random_number(struct watchdog *d)
{
	d->random = d->random * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
	return d->random >> 16;
}

/* Slot -> allowed CPU to move that vCPU to, or -1: leave it where it is. */
static int choose_cpu(struct watchdog *d, uint32_t slot, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	size_t count =
		vm->allowed.count < MACHINE_MAX_CPUS_WATCHED ? vm->allowed.count : MACHINE_MAX_CPUS_WATCHED;
	struct repin_request want = {.allowed = d->cpu, .count = count};
	int to;

	if (slot >= vm->machine.vcpus || atomic_load(&vm->vcpu[slot].cpu) < 0 || count < 2)
		return -1;
	for (size_t i = 0; i < count; i++) {
		d->cpu[i] = (struct repin_cpu){.cpu = vm->allowed.cpu[i].cpu};
		for (uint32_t v = 0; v < vm->machine.vcpus; v++) {
			/* Several are forced at once, and each is on its way before it has moved. */
			int moving = atomic_load(&vm->watch[v].repin_to);
			bool here = (moving >= 0 ? moving : atomic_load(&vm->vcpu[v].cpu)) == d->cpu[i].cpu;
			uint64_t began = atomic_load(&vm->watch[v].began_ns);

			d->cpu[i].vcpus += here;
			d->cpu[i].stuck += here && began && now_ns - began >= vm->policy.quantum_ns &&
					   pending(d, v);
		}
	}
	want.current = atomic_load(&vm->vcpu[slot].cpu);
	want.tie = random_number(d);
	to = watchdog_repin_target(&want);
	return to != want.current && watchdog_repin_allowed(&vm->policy, &d->bucket, now_ns) ? to : -1;
}

static void wake_owner(struct watchdog *d, uint32_t slot)
{
	futex_wake(&mailbox_reply(d->vm->replies.at, slot)->seq);
}

static uint32_t claimed(struct watchdog *d, uint32_t slot)
{
	return __atomic_load_n(mailbox_claim(d->vm->replies.at, slot), __ATOMIC_SEQ_CST);
}

/* Is the claim one on this request that is no longer open, or on a later one? */
static bool decided_or_past(uint32_t claim, uint32_t seq)
{
	return claim && (int32_t)(claim - CLAIM(seq, CLAIM_COMMITTED)) >= 0; /* 0: of none */
}

/*
 * Takes the decision from the worker. An honest one changes its claim twice in a request, to open and to
 * committed, so at the third try there is a winner. Against one that changes it all the time nobody may try
 * for ever: it is treated as one that does not answer. The request may also have been answered since we looked, and the
 * claim be that of the next one, which is not ours to take.
 */
static bool cancel(struct watchdog *d, uint32_t slot, uint32_t seq)
{
	uint32_t *claim = mailbox_claim(d->vm->replies.at, slot);
	uint32_t before = claimed(d, slot);

	for (int tries = 0; tries < 3 && !decided_or_past(before, seq); tries++)
		if (__atomic_compare_exchange_n(claim, &before, CLAIM(seq, CLAIM_CANCELLED), false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

/* The worker is what takes the time, so it is moved too, and that of a successor starts there: -1, wherever
 * the scheduler wants it. The page is ours to write. */
static void place_worker(struct watchdog *d, uint32_t slot, int cpu)
{
	struct vm *vm = d->vm;

	__atomic_store_n(&((struct machine *)vm->requests.at)->worker_cpu[slot], cpu, __ATOMIC_RELAXED);
	atomic_fetch_add(&vm->moves, 1);
	emulator_move_worker(vm, slot);
}

/* The worker now, the vCPU when it has taken its answer, may run on any allowed CPU. */
static void set_free(struct watchdog *d, uint32_t slot, uint64_t until_ns)
{
	if (slot >= d->vm->machine.vcpus || d->vm->vcpu[slot].home < 0)
		return;
	d->vm->watch[slot].unbound_until_ns = until_ns;
	place_worker(d, slot, -1);
}

/* It has behaved for long enough, and no operation is under way. */
static void send_home(struct watchdog *d, uint32_t slot)
{
	struct vcpu *vcpu = &d->vm->vcpu[slot];

	d->vm->watch[slot].unbound_until_ns = 0;
	place_worker(d, slot, d->vm->machine.worker_cpu[slot]);
	if (sched_pin_thread(atomic_load(&vcpu->tid), vcpu->home) == 0)
		atomic_store(&vcpu->cpu, vcpu->home);
}

static void force(struct watchdog *d, uint32_t slot, uint32_t seq, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	struct watch *w = &vm->watch[slot];
	/* Before the decision: from then on the vCPU fills in its next request. */
	const struct request *request = queue_at(queue_of(d, slot), seq);
	const bool port = request->space == BUS_PIO;
	const uint64_t addr = request->addr, kind = request->kind;
	uint64_t began_ns = atomic_load(&w->began_ns);
	int from = slot < vm->machine.vcpus ? atomic_load(&vm->vcpu[slot].cpu) : -1;
	int to;

	w->forced_ns =
		now_ns; /* a reply that is committed is due within a quantum, like an acknowledgement */
	w->forced_for = seq;
	if (claimed(d, slot) == CLAIM(seq, CLAIM_COMMITTED))
		return;
	to = choose_cpu(d, slot, now_ns);
	atomic_store(&w->repin_to, to);
	atomic_store(&w->forcing_seq, seq); /* before the worker can acknowledge it */
	if (!cancel(d, slot, seq)) {
		atomic_store(&w->repin_to, -1);
		return;
	}
	__atomic_store_n(&queue_of(d, slot)->cancelled, seq, __ATOMIC_SEQ_CST);
	atomic_fetch_add(&w->forces, 1);
	atomic_store(&w->forced_seq, seq);
	wake_owner(d, slot);
	set_free(d, slot, watchdog_unbound_until_ns(began_ns, now_ns));
	PROBE4(force, slot, kind, addr, now_ns - began_ns);
	atomic_fetch_add(&vm->counted.forced, 1);
	atomic_fetch_add(&vm->counted.repins, to >= 0);
	log_warn("vCPU %u: operation at %s 0x%llx completed by force after %llu ms, CPU %d -> %d", slot,
		 port ? "port" : "address", (unsigned long long)addr,
		 (unsigned long long)(now_ns - began_ns) / 1000000, from, to >= 0 ? to : from);
}

/* The worker does not answer: kill its process, once; the main thread sees the end and has the standby take
 * over. */
static void replace(struct watchdog *d, uint32_t slot)
{
	struct vm *vm = d->vm;

	if (vm->active.killed_for || vm->active.pidfd < 0)
		return;
	vm->active.killed_for = slot + 1;
	if (slot == IO_THREAD)
		log_warn("dvmm-emulator %u: its I/O thread does not answer: killed", vm->active.incarnation);
	else
		log_warn("vCPU %u: dvmm-emulator %u does not answer: killed", slot, vm->active.incarnation);
	syscall(SYS_pidfd_send_signal, vm->active.pidfd, SIGKILL, NULL, 0);
}

/* Posts that the vCPU has left behind it: it is to wait for them. */
static uint64_t look_at_posts(struct watchdog *d, uint32_t slot, uint64_t now_ns)
{
	const struct watch *w = &d->vm->watch[slot];
	const uint64_t posted_ns = atomic_load(&w->posted_ns);

	if (!posted_ns || atomic_load(&w->began_ns)) /* none, or it does wait */
		return UINT64_MAX;
	if (now_ns < posted_ns + POST_PATIENCE_NS)
		return posted_ns + POST_PATIENCE_NS;
	vcpu_kick(&d->vm->vcpu[slot]);
	return now_ns + POST_PATIENCE_NS;
}

/* Looks at one slot; returns when to look again. */
static uint64_t look_at(struct watchdog *d, uint32_t slot, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	struct watch *w = &vm->watch[slot];
	struct watchdog_operation op = {.began_ns = atomic_load(&w->began_ns)};
	uint32_t seq = oldest(d, slot);
	bool there = queue_has(queue_of(d, slot), seq);

	if (!op.began_ns || !there) {
		w->forced_ns = 0;
		if (!there)
			atomic_store(&w->deaths, 0);
		if (w->unbound_until_ns && now_ns >= w->unbound_until_ns && !op.began_ns)
			send_home(d, slot);
		/* Whoever has stored the reply may have been stopped, or have chosen not, to wake the one who
		 * sleeps for it. */
		if (!op.began_ns || now_ns - op.began_ns < vm->policy.quantum_ns)
			return UINT64_MAX;
		wake_owner(d, slot);
		return now_ns + vm->policy.quantum_ns; /* it may yet be taken back */
	}
	if (w->forced_ns && w->forced_for != seq) { /* that was an earlier request, perhaps of the same wait */
		w->resumed_ns = w->forced_ns;
		w->forced_ns = 0;
	}
	if (op.began_ns < w->resumed_ns)
		op.began_ns = w->resumed_ns;
	op.forced_ns = w->forced_ns;
	op.deaths = atomic_load(&w->deaths_seq) == seq ? atomic_load(&w->deaths) : 0;
	switch (watchdog_decide(&vm->policy, &op, now_ns)) {
	case WATCHDOG_NOTHING:
		if (atomic_load(&w->forced_seq) == seq)
			wake_owner(d, slot);
		break;
	case WATCHDOG_FORCE:
		force(d, slot, seq, now_ns);
		break;
	case WATCHDOG_REPLACE:
		replace(d, slot);
		return now_ns + vm->policy.quantum_ns;
	case WATCHDOG_END:
		vm_stop(vm, EXIT_EMULATOR_LOST, "vCPU %u: an operation took more than %u quanta", slot,
			vm->policy.max_quanta);
		return UINT64_MAX;
	}
	op.forced_ns = w->forced_ns;
	return watchdog_next_check_ns(&vm->policy, &op, now_ns + 1);
}

void watchdog_ask_io(struct vm *vm, uint64_t now_ns)
{
	const uint64_t one = 1;

	vm->io_asked_ns = now_ns;
	__atomic_fetch_add(&mailbox_control(vm->requests.at)->beat, 1, __ATOMIC_SEQ_CST);
	if (write(vm->beat_write_fd, &one, sizeof(one)) < 0) /* full: it has been asked often enough */
		log_debug("the I/O thread cannot be asked: %s", strerror(errno));
}

/*
 * A guest that waits for its disk makes no request that the others could be late with. So the I/O thread is
 * asked every N quanta, at most once a second, and has as long to answer. Returns when to look again.
 */
static uint64_t look_at_io(struct watchdog *d, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	uint64_t limit_ns = vm->policy.quantum_ns * vm->policy.max_quanta;

	if (limit_ns < IO_PATIENCE_NS)
		limit_ns = IO_PATIENCE_NS;
	if (now_ns - vm->io_asked_ns < limit_ns)
		return vm->io_asked_ns + limit_ns;
	if (__atomic_load_n(mailbox_io_beat(vm->replies.at), __ATOMIC_SEQ_CST) ==
	    mailbox_control(vm->requests.at)->beat)
		watchdog_ask_io(vm, now_ns);
	else
		replace(d, IO_THREAD);
	return now_ns + limit_ns;
}

uint64_t watchdog_look(struct vm *vm)
{
	struct watchdog *d = &watchdog;
	uint64_t now_ns = monotonic_ns(), next_ns = now_ns + vm->policy.quantum_ns * vm->policy.max_quanta;
	uint64_t io_ns, posts_ns = UINT64_MAX;

	pthread_mutex_lock(&vm->emulator_lock);
	io_ns = look_at_io(d, now_ns);
	next_ns = io_ns < next_ns ? io_ns : next_ns;
	d->first++;
	for (uint32_t i = 0; i <= vm->machine.vcpus; i++) {
		/* Another one first each time, or the first ones would get all the moves that the rate limit
		 * allows. */
		uint64_t due_ns = look_at(d, (d->first + i) % (vm->machine.vcpus + 1), now_ns);

		next_ns = due_ns < next_ns ? due_ns : next_ns;
	}
	for (uint32_t i = 0; i < vm->machine.vcpus; i++) {
		uint64_t due_ns = look_at_posts(d, i, now_ns);

		posts_ns = due_ns < posts_ns ? due_ns : posts_ns;
	}
	/* Late by up to half a quantum: an emulator that knew when we look could show an answer just then. */
	next_ns += (vm->policy.quantum_ns / 2 * (random_number(d) & 0xffff)) >> 16;
	pthread_mutex_unlock(&vm->emulator_lock);
	return posts_ns < next_ns ? posts_ns : next_ns;
}

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

/*
 * Sleeps until it is time to look again, or somebody needs us earlier (expect_watchdog(), vmm/handoff.c).
 * That is the guest's doing, and we may be a real-time thread: so we do not come all the time for it.
 */
static void look_and_sleep(struct vm *vm)
{
	const uint64_t began_ns = monotonic_ns(), rest_ns = began_ns + POST_PATIENCE_NS / 2;
	uint64_t next_ns, now_ns;
	struct timespec pause;
	uint32_t bell;

	atomic_store(&vm->watchdog.next_ns, UINT64_MAX);
	bell = __atomic_load_n(&vm->watchdog.bell, __ATOMIC_SEQ_CST);
	next_ns = watchdog_look(vm);
	atomic_store(&vm->watchdog.next_ns, next_ns);
	now_ns = monotonic_ns();
	if (next_ns <= now_ns)
		return;
	pause = timespec_of(next_ns - now_ns);
	futex_wait(&vm->watchdog.bell, bell, &pause);
	if (__atomic_load_n(&vm->watchdog.bell, __ATOMIC_SEQ_CST) != bell && !atomic_load(&vm->watchdog.over)) {
		pause = timespec_of(next_ns < rest_ns ? next_ns : rest_ns);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &pause, NULL);
	}
}

static void *watchdog_main(void *arg)
{
	struct watchdog *d = arg;
	int err = filter_load(&d->filter);

	if (err) {
		vm_stop(d->vm, EXIT_HOST, "cannot install the watchdog's system call filter: %s",
			strerror(-err));
		return NULL;
	}
	pthread_barrier_wait(&d->vm->gate);
	pthread_mutex_lock(&d->vm->emulator_lock);
	watchdog_ask_io(d->vm, monotonic_ns());
	pthread_mutex_unlock(&d->vm->emulator_lock);
	while (!atomic_load(&d->vm->watchdog.over))
		look_and_sleep(d->vm);
	return NULL;
}

void watchdog_end(struct vm *vm)
{
	atomic_store(&vm->watchdog.over, true);
	__atomic_fetch_add(&vm->watchdog.bell, 1, __ATOMIC_SEQ_CST);
	futex_wake(&vm->watchdog.bell);
}

int watchdog_start(struct vm *vm, struct failure *f)
{
	const struct sched_param lowest = {.sched_priority = 1};
	struct watchdog *d = &watchdog;
	pthread_t thread;
	int err;

	d->vm = vm;
	if (getrandom(&d->random, sizeof(d->random), GRND_NONBLOCK) < 0)
		d->random = monotonic_ns();
	filter_build(&d->filter, FILTER_MAIN, -1);
	err = -pthread_create(&thread, NULL, watchdog_main, d);
	if (err)
		return fail_with(f, EXIT_HOST, "cannot start the watchdog: %s", strerror(-err));
	pthread_setschedparam(thread, SCHED_FIFO, &lowest); /* an ordinary user may not: see above */
	pthread_detach(thread);
	return 0;
}

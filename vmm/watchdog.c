/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog thread. It looks at each mailbox slot when the policy (sched/watchdog_policy.h) says that
 * something may be due, and otherwise sleeps; an operation that begins meanwhile need not wake it, for it
 * never sleeps longer than N quanta.
 *
 * Completing by force takes three steps, in this order, each of which may be the one that the vCPU sees
 * first:
 *
 *     where to        repin_to, if the rate limit allows a move
 *     the decision    claim: from here on the worker cannot commit any more (if it has, there is nothing to
 * force) the word        forced_seq, request.cancelled, and a wake-up, again at each look until the worker
 * has acknowledged
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

struct watchdog {
	struct vm *vm;
	struct topology topology; /* allowed CPUs */
	struct repin_cpu cpu[MACHINE_MAX_CPUS_WATCHED];
	struct repin_bucket bucket;
	struct filter filter;
	uint32_t first; /* slot to begin with */
	uint64_t tie;   /* state of the choice among equal CPUs, seeded at random */
};

static struct watchdog watchdog;

static struct request *request_of(struct watchdog *d, uint32_t slot)
{
	return mailbox_request(d->vm->requests.at, slot);
}

/* Is the request that we see there still unanswered? */
static bool pending(struct watchdog *d, uint32_t slot, uint32_t seq)
{
	return __atomic_load_n(&mailbox_reply(d->vm->replies.at, slot)->seq, __ATOMIC_ACQUIRE) != seq;
}

/* Slot -> allowed CPU to move that vCPU to, or -1: leave it where it is. */
static int choose_cpu(struct watchdog *d, uint32_t slot, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	size_t count = d->topology.count;
	struct repin_request want = {.allowed = d->cpu, .count = count};
	int to;

	if (slot >= vm->machine.vcpus || atomic_load(&vm->vcpu[slot].cpu) < 0 || count < 2)
		return -1;
	for (size_t i = 0; i < count; i++) {
		d->cpu[i] = (struct repin_cpu){.cpu = d->topology.cpu[i].cpu};
		for (uint32_t v = 0; v < vm->machine.vcpus; v++) {
			/* Several are forced at once, and each is on its way before it has moved. */
			int moving = atomic_load(&vm->watch[v].repin_to);
			bool here = (moving >= 0 ? moving : atomic_load(&vm->vcpu[v].cpu)) == d->cpu[i].cpu;
			uint64_t began = atomic_load(&vm->watch[v].began_ns);

			d->cpu[i].vcpus += here;
			d->cpu[i].stuck += here && began && now_ns - began >= vm->policy.quantum_ns &&
					   pending(d, v, request_of(d, v)->seq);
		}
	}
	want.current = atomic_load(&vm->vcpu[slot].cpu);
	d->tie = d->tie * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
	want.tie = d->tie >> 16;
	to = watchdog_repin_target(&want);
	return to != want.current && watchdog_repin_allowed(&vm->policy, &d->bucket, now_ns) ? to : -1;
}

static void wake_owner(struct watchdog *d, uint32_t slot)
{
	futex_wake(&mailbox_reply(d->vm->replies.at, slot)->seq);
}

static uint32_t claimed(struct watchdog *d, uint32_t slot)
{
	return __atomic_load_n(&mailbox_reply(d->vm->replies.at, slot)->claim, __ATOMIC_SEQ_CST);
}

/*
 * Takes the decision from the worker. An honest one changes its claim twice in a request, to open and to
 * committed, so at the third try there is a winner. Against one that changes it all the time nobody may try
 * for ever: it is treated as one that does not answer.
 */
static bool cancel(struct watchdog *d, uint32_t slot, uint32_t seq)
{
	uint32_t *claim = &mailbox_reply(d->vm->replies.at, slot)->claim;
	uint32_t before = claimed(d, slot);

	for (int tries = 0; tries < 3 && before != CLAIM(seq, CLAIM_COMMITTED); tries++)
		if (__atomic_compare_exchange_n(claim, &before, CLAIM(seq, CLAIM_CANCELLED), false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

/* The vCPU, when it has taken its answer, and its worker may run on any allowed CPU. The worker's entry is
 * for successors; the page is ours to write. */
static void set_free(struct watchdog *d, uint32_t slot, uint64_t until_ns)
{
	if (slot >= d->vm->machine.vcpus || d->vm->vcpu[slot].home < 0)
		return;
	d->vm->watch[slot].unbound_until_ns = until_ns;
	((struct machine *)d->vm->requests.at)->worker_cpu[slot] = -1;
}

/* It has behaved for long enough, and no operation is under way. */
static void send_home(struct watchdog *d, uint32_t slot)
{
	struct vcpu *vcpu = &d->vm->vcpu[slot];

	d->vm->watch[slot].unbound_until_ns = 0;
	((struct machine *)d->vm->requests.at)->worker_cpu[slot] = d->vm->machine.worker_cpu[slot];
	if (sched_pin_thread(atomic_load(&vcpu->tid), vcpu->home) == 0)
		atomic_store(&vcpu->cpu, vcpu->home);
}

static void force(struct watchdog *d, uint32_t slot, uint32_t seq, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	struct watch *w = &vm->watch[slot];
	const struct request *req = request_of(d, slot);
	uint64_t began_ns = atomic_load(&w->began_ns);
	int from = slot < vm->machine.vcpus ? atomic_load(&vm->vcpu[slot].cpu) : -1;
	int to;

	w->forced_ns =
		now_ns; /* a reply that is committed is due within a quantum, like an acknowledgement */
	if (claimed(d, slot) == CLAIM(seq, CLAIM_COMMITTED))
		return;
	to = choose_cpu(d, slot, now_ns);
	atomic_store(&w->repin_to, to);
	if (!cancel(d, slot, seq)) {
		atomic_store(&w->repin_to, -1);
		return;
	}
	__atomic_store_n(&request_of(d, slot)->cancelled, seq, __ATOMIC_SEQ_CST);
	atomic_store(&w->forced_seq, seq);
	wake_owner(d, slot);
	set_free(d, slot, watchdog_unbound_until_ns(began_ns, now_ns));
	PROBE4(force, slot, req->kind, req->addr, now_ns - began_ns);
	atomic_fetch_add(&vm->counted.forced, 1);
	atomic_fetch_add(&vm->counted.repins, to >= 0);
	log_warn("vCPU %u: operation at %s 0x%llx completed by force after %llu ms, CPU %d -> %d", slot,
		 req->space == BUS_PIO ? "port" : "address", (unsigned long long)req->addr,
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
	log_warn("vCPU %u: dvmm-emulator %u does not answer: killed", slot, vm->active.incarnation);
	syscall(SYS_pidfd_send_signal, vm->active.pidfd, SIGKILL, NULL, 0);
}

/* Looks at one slot; returns when to look again. */
static uint64_t look_at(struct watchdog *d, uint32_t slot, uint64_t now_ns)
{
	struct vm *vm = d->vm;
	struct watch *w = &vm->watch[slot];
	struct watchdog_operation op = {.began_ns = atomic_load(&w->began_ns)};
	uint32_t seq = __atomic_load_n(&request_of(d, slot)->seq, __ATOMIC_ACQUIRE);

	if (!op.began_ns || !pending(d, slot, seq)) {
		w->forced_ns = 0;
		atomic_store(&w->deaths, 0);
		if (w->unbound_until_ns && now_ns >= w->unbound_until_ns && !op.began_ns)
			send_home(d, slot);
		/* Whoever has stored the reply may have been stopped, or have chosen not, to wake the one who
		 * sleeps for it. */
		if (op.began_ns && now_ns - op.began_ns >= vm->policy.quantum_ns)
			wake_owner(d, slot);
		return UINT64_MAX;
	}
	if (w->forced_ns && w->forced_ns < op.began_ns && atomic_load(&w->forced_seq) != seq)
		w->forced_ns = 0; /* that was an earlier request */
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

uint64_t watchdog_look(struct vm *vm)
{
	struct watchdog *d = &watchdog;
	uint64_t now_ns = monotonic_ns(), next_ns = now_ns + vm->policy.quantum_ns * vm->policy.max_quanta;

	pthread_mutex_lock(&vm->emulator_lock);
	d->first++;
	for (uint32_t i = 0; i <= vm->machine.vcpus; i++) {
		/* Another one first each time, or the first ones would get all the moves that the rate limit
		 * allows. */
		uint64_t due_ns = look_at(d, (d->first + i) % (vm->machine.vcpus + 1), now_ns);

		next_ns = due_ns < next_ns ? due_ns : next_ns;
	}
	pthread_mutex_unlock(&vm->emulator_lock);
	return next_ns;
}

static void sleep_until(uint64_t at_ns)
{
	const struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000),
				    .tv_nsec = (long)(at_ns % 1000000000)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
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
	for (;;)
		sleep_until(watchdog_look(d->vm));
}

int watchdog_start(struct vm *vm, struct failure *f)
{
	const struct sched_param lowest = {.sched_priority = 1};
	struct watchdog *d = &watchdog;
	pthread_t thread;
	int err;

	d->vm = vm;
	if (getrandom(&d->tie, sizeof(d->tie), GRND_NONBLOCK) < 0)
		d->tie = monotonic_ns();
	err = topology_read(&d->topology, TOPOLOGY_SYSFS);
	vm->allowed = &d->topology;
	if (!err && d->topology.count > MACHINE_MAX_CPUS_WATCHED)
		d->topology.count = MACHINE_MAX_CPUS_WATCHED;
	if (!err)
		err = filter_build(&d->filter, FILTER_MAIN, &(struct filter_fds){0});
	if (!err)
		err = -pthread_create(&thread, NULL, watchdog_main, d);
	if (err)
		return fail_with(f, EXIT_HOST, "cannot start the watchdog: %s", strerror(-err));
	pthread_setschedparam(thread, SCHED_FIFO, &lowest); /* an ordinary user may not: see above */
	pthread_detach(thread);
	return 0;
}

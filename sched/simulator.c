/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog's policy on more CPUs than anybody has to hand, against guests that attack with it in mind.
 *
 * Theory of operation: time goes in steps of one quantum. Every vCPU has a CPU and at most one operation;
 * while that is under way its worker is a runnable thread on the CPU. Every VM has a watchdog of its own,
 * which calls the functions of watchdog_policy.h and knows of its own VM only, as in dvmm. A victim is one
 * runnable thread on every CPU, so its share there is 1 / (1 + runnable threads of attackers), which the
 * scheduler is taken to keep exactly. Its fair share is what it would get if the same threads were spread
 * over the CPUs evenly. After a forced completion a vCPU is not bound for a time: the scheduler is then taken
 * to move its thread, but only as far as needed, from CPUs that have more than the others to those that have
 * less.
 */
#include "sched/simulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vcpu {
	unsigned cpu;
	unsigned home;             /* where it is bound, otherwise */
	uint64_t unbound_until_ns; /* 0: bound */
	struct watchdog_operation op;
	uint64_t lasts_ns; /* how long it takes, if nobody ends it */
	uint64_t first_ns; /* when this request was first given to an emulator */
};

struct vm {
	struct vcpu *vcpu;
	struct restart_budget restarts;
	struct repin_bucket repins;
	uint64_t look_ns;                 /* when its watchdog wakes up */
	unsigned moved[STEPS_PER_SECOND]; /* in each step of the last second */
	unsigned moved_lately;            /* in all of it */
	bool ended;
};

struct simulation {
	const struct scenario *scenario;
	struct watchdog_config config;
	bool watchdog;
	uint64_t random, now_ns;
	unsigned step, steps;
	struct vm *vm;
	struct vcpu *vcpus;
	struct repin_cpu *view;     /* [cpus]: what one VM's watchdog knows */
	unsigned *stuck, *runnable; /* [cpus]: threads of all VMs */
	uint64_t *seen;             /* [all vCPUs + 1]: CPUs and steps with that many operations, settled */
	double *share, *share_late; /* [cpus]: sums of the victim's shares */
	double threads, threads_late;
	struct result result;
};

/* splitmix64: a sequence that is the same everywhere. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* --- A VM's watchdog, as in dvmm ------------------------------------------------------------- */

static void vcpu_move(struct simulation *s, struct vm *vm, struct vcpu *vcpu)
{
	struct repin_request req = {
		.allowed = s->view, .count = s->scenario->cpus, .current = (int)vcpu->cpu};
	int to;

	if (!watchdog_repin_allowed(&s->config, &vm->repins, s->now_ns))
		return;
	for (unsigned c = 0; c < s->scenario->cpus; c++)
		s->view[c] = (struct repin_cpu){.cpu = (int)c};
	for (unsigned v = 0; v < s->scenario->vcpus; v++) {
		const struct vcpu *other = &vm->vcpu[v];

		s->view[other->cpu].vcpus++;
		s->view[other->cpu].stuck +=
			other->op.began_ns && s->now_ns - other->op.began_ns >= s->config.quantum_ns;
	}
	req.tie = random_next(&s->random);
	to = watchdog_repin_target(&req);
	if (to < 0 || to >= (int)s->scenario->cpus || to == req.current) {
		s->result.broken = true;
		return;
	}
	vcpu->cpu = (unsigned)to;

	vm->moved[s->step % STEPS_PER_SECOND]++;
	vm->moved_lately++;
	if (vm->moved_lately > s->result.most_moves)
		s->result.most_moves = vm->moved_lately;
	if (!s->result.moves++)
		s->result.first_move_ns = s->now_ns - vcpu->first_ns;
}

/* The emulator is dead: a successor takes over, or the VM ends. */
static void emulator_replace(struct simulation *s, struct vm *vm)
{
	if (!s->watchdog || !watchdog_restart_allowed(&s->config, &vm->restarts, s->now_ns)) {
		vm->ended = true;
		s->result.ended++;
		return;
	}
	s->result.restarts++;
	for (unsigned v = 0; v < s->scenario->vcpus; v++) {
		struct watchdog_operation *op = &vm->vcpu[v].op;

		if (!op->began_ns)
			continue;
		op->deaths++;
		op->began_ns = op->forced_ns ? 0 : s->now_ns;
	}
}

static void operation_look(struct simulation *s, struct vm *vm, struct vcpu *vcpu)
{
	const uint64_t limit_ns = s->config.max_quanta * s->config.quantum_ns;
	const uint64_t lasted_ns = s->now_ns - vcpu->op.began_ns;

	switch (watchdog_decide(&s->config, &vcpu->op, s->now_ns)) {
	case WATCHDOG_NOTHING:
		return;
	case WATCHDOG_FORCE:
		if (vcpu->op.deaths < WATCHDOG_MAX_DEATHS &&
		    (lasted_ns < limit_ns || lasted_ns > limit_ns + 2 * s->config.quantum_ns))
			s->result.broken = true;
		s->result.forced++;
		vcpu->op.forced_ns = s->now_ns;
		vcpu->unbound_until_ns = watchdog_unbound_until_ns(vcpu->op.began_ns, s->now_ns);
		vcpu_move(s, vm, vcpu);
		if (s->scenario->behaviour != DEAF)
			vcpu->op.began_ns = 0;
		return;
	case WATCHDOG_REPLACE:
	case WATCHDOG_END:
		emulator_replace(s, vm);
	}
}

/* The watchdog wakes up, and finds out when it has to do so again. */
static void watchdog_look(struct simulation *s, struct vm *vm)
{
	/* Not always the same one first: where moves are few, they would all be that one's. */
	for (unsigned v = 0; v < s->scenario->vcpus && !vm->ended; v++)
		operation_look(s, vm, &vm->vcpu[(v + s->step) % s->scenario->vcpus]);
	vm->look_ns = s->now_ns + s->config.max_quanta * s->config.quantum_ns;
	for (unsigned v = 0; v < s->scenario->vcpus; v++) {
		uint64_t ns = watchdog_next_check_ns(&s->config, &vm->vcpu[v].op, s->now_ns);

		vm->look_ns = ns < vm->look_ns ? ns : vm->look_ns;
	}
}

/* --- A guest ---------------------------------------------------------------------------------- */

/* How long the vCPU's next operation takes; 0: it stays in the guest. */
static uint64_t guest_wants(struct simulation *s, const struct vcpu *vcpu)
{
	const uint64_t under_ns = (s->config.max_quanta - 1) * s->config.quantum_ns;

	switch (s->scenario->behaviour) {
	case HONEST:
		return random_next(&s->random) % 100 ? 0 : 1 + random_next(&s->random) % under_ns;
	case STEER:
		return vcpu->cpu ? UINT64_MAX : 0;
	case UNDER:
		return under_ns;
	case CRASH:
		return s->config.quantum_ns;
	case STALL:
	case DEAF:
		break;
	}
	return UINT64_MAX;
}

static void operation_end(struct simulation *s, struct vm *vm, struct vcpu *vcpu)
{
	if (!vcpu->op.began_ns || s->now_ns - vcpu->op.began_ns < vcpu->lasts_ns)
		return;
	if (s->scenario->behaviour == CRASH) {
		emulator_replace(s, vm);
		vm->look_ns = s->now_ns;
		return;
	}
	vcpu->op.began_ns = 0;
	s->result.completed++;
}

static void operation_begin(struct simulation *s, struct vcpu *vcpu)
{
	if (vcpu->op.began_ns)
		return;
	if (vcpu->unbound_until_ns && s->now_ns >= vcpu->unbound_until_ns) {
		vcpu->unbound_until_ns = 0;
		vcpu->cpu = vcpu->home;
	}
	vcpu->lasts_ns = guest_wants(s, vcpu);
	if (vcpu->lasts_ns) {
		vcpu->op = (struct watchdog_operation){.began_ns = s->now_ns};
		vcpu->first_ns = s->now_ns;
	}
}

static void vm_step(struct simulation *s, struct vm *vm)
{
	unsigned *moved = &vm->moved[s->step % STEPS_PER_SECOND];

	vm->moved_lately -= *moved;
	*moved = 0;
	for (unsigned v = 0; v < s->scenario->vcpus && !vm->ended; v++)
		operation_end(s, vm, &vm->vcpu[v]);
	if (s->watchdog && !vm->ended && s->now_ns >= vm->look_ns)
		watchdog_look(s, vm);
	for (unsigned v = 0; v < s->scenario->vcpus && !vm->ended; v++)
		operation_begin(s, &vm->vcpu[v]);
}

/* --- What came of it -------------------------------------------------------------------------- */

static void threads_count(struct simulation *s)
{
	const unsigned all = s->scenario->vms * s->scenario->vcpus;

	memset(s->stuck, 0, s->scenario->cpus * sizeof(*s->stuck));
	memset(s->runnable, 0, s->scenario->cpus * sizeof(*s->runnable));
	for (unsigned v = 0; v < all; v++) {
		const struct vcpu *vcpu = &s->vcpus[v];

		if (s->vm[v / s->scenario->vcpus].ended)
			continue;
		s->stuck[vcpu->cpu] += vcpu->op.began_ns != 0;
		s->runnable[vcpu->cpu] += vcpu->op.began_ns || s->scenario->behaviour == STEER;
	}
}

static bool vcpu_runnable(const struct simulation *s, unsigned v)
{
	return !s->vm[v / s->scenario->vcpus].ended &&
	       (s->vcpus[v].op.began_ns || s->scenario->behaviour == STEER);
}

/* Moves threads that may move from CPUs with more than `most` to those with fewer than `least`. */
static void scheduler_level(struct simulation *s, unsigned most, unsigned least)
{
	unsigned to = 0;

	for (unsigned v = 0; v < s->scenario->vms * s->scenario->vcpus; v++) {
		struct vcpu *vcpu = &s->vcpus[v];

		if (!vcpu->unbound_until_ns || s->runnable[vcpu->cpu] <= most || !vcpu_runnable(s, v))
			continue;
		while (to < s->scenario->cpus && s->runnable[to] >= least)
			to++;
		if (to == s->scenario->cpus)
			return;
		s->runnable[vcpu->cpu]--;
		s->runnable[to]++;
		s->stuck[vcpu->cpu] -= vcpu->op.began_ns != 0;
		s->stuck[to] += vcpu->op.began_ns != 0;
		vcpu->cpu = to;
	}
}

/* What the scheduler does between two steps. */
static void scheduler_balance(struct simulation *s)
{
	unsigned total = 0, each;

	for (unsigned c = 0; c < s->scenario->cpus; c++)
		total += s->runnable[c];
	each = total / s->scenario->cpus;
	scheduler_level(s, each, each);
	scheduler_level(s, each + 1, each + 1);
}

static void step_measure(struct simulation *s)
{
	const bool late = s->step >= s->steps / 2;

	threads_count(s);
	scheduler_balance(s);
	for (unsigned c = 0; c < s->scenario->cpus; c++) {
		const double share = 1.0 / (1 + s->runnable[c]);

		s->share[c] += share;
		s->threads += s->runnable[c];
		if (s->stuck[c] > s->result.peak)
			s->result.peak = s->stuck[c];
		if (!late)
			continue;
		s->share_late[c] += share;
		s->threads_late += s->runnable[c];
		s->seen[s->stuck[c]]++;
	}
}

/* The least share of all CPUs, of what an even spread of as many threads would leave; sums over `steps`. */
static double worst_of_fair(const struct simulation *s, const double *share, double threads, unsigned steps)
{
	double least = steps;

	for (unsigned c = 0; c < s->scenario->cpus; c++)
		least = share[c] < least ? share[c] : least;
	return least / steps * (1 + threads / steps / s->scenario->cpus);
}

/* The number of operations that `permille` of all CPUs and steps do not exceed. */
static unsigned seen_quantile(const struct simulation *s, unsigned permille)
{
	const uint64_t all = (uint64_t)s->scenario->cpus * (s->steps - s->steps / 2);
	uint64_t sum = s->seen[0];
	unsigned n = 0;

	while (sum < (all * permille + 999) / 1000)
		sum += s->seen[++n];
	return n;
}

static void simulation_conclude(struct simulation *s)
{
	struct result *r = &s->result;
	const unsigned late = s->steps - s->steps / 2;

	r->p50 = seen_quantile(s, 500);
	r->p99 = seen_quantile(s, 990);
	r->most = seen_quantile(s, 1000);
	r->worst = worst_of_fair(s, s->share, s->threads, s->steps);
	r->worst_late = worst_of_fair(s, s->share_late, s->threads_late, late);
	/* The steps of a second are half-open, [t, t + 1 s): no token more than the rate comes in. */
	if (r->most_moves > s->config.repin_burst + s->config.repins_per_second)
		r->broken = true;
}

/* --- Running ---------------------------------------------------------------------------------- */

static void vms_place(struct simulation *s)
{
	const enum behaviour b = s->scenario->behaviour;

	for (unsigned v = 0; v < s->scenario->vms * s->scenario->vcpus; v++) {
		s->vm[v / s->scenario->vcpus].vcpu = &s->vcpus[v - v % s->scenario->vcpus];
		s->vcpus[v].home = s->vcpus[v].cpu = b == HONEST || b == STEER ? v % s->scenario->cpus : 0;
	}
}

static void simulation_run(struct simulation *s)
{
	vms_place(s);
	for (s->step = 0; s->step < s->steps; s->step++) {
		s->now_ns = (1 + s->step) * s->config.quantum_ns;
		for (unsigned m = 0; m < s->scenario->vms; m++)
			vm_step(s, &s->vm[m]);
		step_measure(s);
	}
	simulation_conclude(s);
}

static void *array(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p) {
		fprintf(stderr, "simulator: out of memory\n");
		exit(1);
	}
	return p;
}

struct result scenario_run(const struct scenario *sc, const struct watchdog_config *config, bool watchdog,
			   uint64_t seed, unsigned seconds)
{
	struct simulation s = {
		.scenario = sc,
		.config = *config,
		.watchdog = watchdog,
		.random = seed,
		.steps = seconds * STEPS_PER_SECOND,
		.vm = array(sc->vms, sizeof(*s.vm)),
		.vcpus = array((size_t)sc->vms * sc->vcpus, sizeof(*s.vcpus)),
		.view = array(sc->cpus, sizeof(*s.view)),
		.stuck = array(sc->cpus, sizeof(*s.stuck)),
		.runnable = array(sc->cpus, sizeof(*s.runnable)),
		.seen = array((size_t)sc->vms * sc->vcpus + 1, sizeof(*s.seen)),
		.share = array(sc->cpus, sizeof(*s.share)),
		.share_late = array(sc->cpus, sizeof(*s.share_late)),
	};

	simulation_run(&s);
	free(s.vm);
	free(s.vcpus);
	free(s.view);
	free(s.stuck);
	free(s.runnable);
	free(s.seen);
	free(s.share);
	free(s.share_late);
	return s.result;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor under every hand-off: a round trip between two pinned processes through a word in shared memory,
 * with nothing else done. By futex on one CPU, by futex on two, by spinning on two.
 */
#include "tests/bench/bench.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define WARM_UP 500

const char *const pingpong_title[PINGPONG_KINDS] = {"futex, one CPU", "futex, two CPUs", "spin, two CPUs"};

/* Each side waits on its own word; both on lines of their own. */
struct table {
	_Alignas(128) _Atomic uint32_t ping;
	_Alignas(128) _Atomic uint32_t pong;
};

static void word_send(_Atomic uint32_t *word, uint32_t value, bool spin)
{
	atomic_store(word, value);
	if (!spin)
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void word_await(_Atomic uint32_t *word, uint32_t value, bool spin)
{
	uint32_t now;

	while ((now = atomic_load(word)) != value)
		if (!spin) /* and no PAUSE: the floor is wanted, not a polite loop */
			syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void answer(struct table *t, unsigned count, int cpu, bool spin)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_DFL);
	if (pin(cpu))
		_exit(1);
	for (uint32_t i = 1; i <= count; i++) {
		word_await(&t->ping, i, spin);
		word_send(&t->pong, i, spin);
	}
	_exit(0);
}

static int ask(struct table *t, unsigned count, bool spin, struct samples *round_trip)
{
	double mhz = tsc_mhz();

	for (uint32_t i = 1; i <= count; i++) {
		uint64_t cycles = __rdtsc();

		word_send(&t->ping, i, spin);
		word_await(&t->pong, i, spin);
		cycles = __rdtsc() - cycles;
		if (i > WARM_UP && samples_add(round_trip, (uint64_t)((double)cycles * 1000 / mhz)))
			return -1;
	}
	return 0;
}

int pingpong_measure(enum pingpong_kind kind, unsigned count, struct samples *round_trip)
{
	int here = allowed_cpu(0), there = allowed_cpu(kind != PINGPONG_FUTEX_ONE_CPU), rc = -1;
	bool spin = kind == PINGPONG_SPIN;
	struct table *t;
	cpu_set_t before;
	pid_t child;

	if (there < 0)
		return 0;
	if (sched_getaffinity(0, sizeof(before), &before))
		return -1;
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return -1;
	child = fork();
	if (!child)
		answer(t, count + WARM_UP, there, spin);
	if (child > 0) {
		if (!pin(here))
			rc = ask(t, count + WARM_UP, spin, round_trip);
		if (rc)
			kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	sched_setaffinity(0, sizeof(before), &before);
	munmap(t, sizeof(*t));
	return rc;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor under every hand-off: a round trip between two pinned processes through a word in shared memory,
 * with nothing else done. By futex on one CPU, by futex on two, by spinning on two; and by futex on one CPU
 * between two entries of a guest, which is where hand-offs are. There the round trip also makes KVM_RUN slower, so
 * what counts is by how much both together take longer than the median of KVM_RUN alone.
 */
#include "tests/bench/bare_guest.h"
#include "tests/bench/bench.h"

#include <err.h>
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

const char *const pingpong_title[PINGPONG_KINDS] = {"futex, one CPU", "futex, two CPUs", "spin, two CPUs",
							  "futex, one CPU, between two KVM_RUNs"};

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

static uint64_t ns_since(uint64_t begin)
{
	const uint64_t cycles = __rdtsc() - begin; /* before anything else */

	return (uint64_t)((double)cycles * 1000 / tsc_mhz());
}

static int ask(struct table *t, unsigned count, bool spin, struct samples *round_trip)
{
	for (uint32_t i = 1; i <= count; i++) {
		const uint64_t begin = __rdtsc();

		word_send(&t->ping, i, spin);
		word_await(&t->pong, i, spin);
		if (i > WARM_UP && samples_add(round_trip, ns_since(begin)))
			return -1;
	}
	return 0;
}

/* KVM_RUN alone and with a round trip, by turns. */
static int ask_between(struct bare_guest *g, struct table *t, unsigned count, struct samples *alone,
		       struct samples *both)
{
	for (uint32_t i = 1; i <= count; i++) {
		uint64_t begin = __rdtsc(), alone_ns;

		if (bare_guest_run(g))
			return -1;
		alone_ns = ns_since(begin);
		begin = __rdtsc();
		if (bare_guest_run(g))
			return -1;
		word_send(&t->ping, i, false);
		word_await(&t->pong, i, false);
		if (i > WARM_UP && (samples_add(both, ns_since(begin)) || samples_add(alone, alone_ns)))
			return -1;
	}
	return 0;
}

static int ask_guest(struct table *t, unsigned count, struct samples *round_trip)
{
	struct samples alone = {0}, both = {0};
	struct bare_guest guest;
	uint64_t median;
	int rc;

	if (bare_guest_open(&guest)) {
		warn("a bare guest");
		return -1;
	}
	rc = ask_between(&guest, t, count, &alone, &both);
	median = samples_quantile(&alone, 500);
	for (size_t i = 0; !rc && i < both.count; i++)
		rc = samples_add(round_trip, both.value[i] > median ? both.value[i] - median : 0);
	samples_free(&alone);
	samples_free(&both);
	bare_guest_close(&guest);
	return rc;
}

int pingpong_measure(enum pingpong_kind kind, unsigned count, struct samples *round_trip)
{
	int here = allowed_cpu(0), there = allowed_cpu(kind == PINGPONG_FUTEX_TWO_CPUS || kind == PINGPONG_SPIN),
	    rc = -1;
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
			rc = kind == PINGPONG_BETWEEN_RUNS ? ask_guest(t, count + WARM_UP, round_trip)
							   : ask(t, count + WARM_UP, spin, round_trip);
		if (rc)
			kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	sched_setaffinity(0, sizeof(before), &before);
	munmap(t, sizeof(*t));
	return rc;
}

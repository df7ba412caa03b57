/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the watchdog moves threads to: what it prefers, what is left to chance, and that a guest cannot have
 * its vCPUs gather on one CPU.
 */
#include "tests/unit/watchdog_harness.h"

static int target(const struct repin_cpu *allowed, size_t count, int current, uint64_t tie)
{
	const struct repin_request r = {allowed, count, current, tie};

	return watchdog_repin_target(&r);
}

START_TEST(target_without_a_choice)
{
	static const struct repin_cpu one[] = {{7, 5, 5}}, two[] = {{3, 9, 9}, {8, 0, 0}};

	ck_assert_int_eq(target(NULL, 0, 4, 1), 4);
	ck_assert_int_eq(target(NULL, 0, -1, 1), -1);
	for (uint64_t tie = 0; tie < 5; tie++) {
		ck_assert_int_eq(target(one, 1, 7, tie), 7);
		ck_assert_int_eq(target(one, 1, 6, tie), 7); /* the current one is not allowed any more */
		ck_assert_int_eq(target(one, 1, -1, tie), 7);
		ck_assert_int_eq(target(two, 2, 8, tie), 3); /* however full the other one is */
		ck_assert_int_eq(target(two, 2, 3, tie), 8);
		ck_assert_int_eq(target(two, 2, 5, tie), 8);
	}
}
END_TEST

START_TEST(target_prefers_in_the_documented_order)
{
	/* { stuck, vcpus } of two CPUs, the first of which is the better place. */
	static const uint32_t better[][2][2] = {
		{{0, 0}, {0, 1}},
		{{0, 0}, {1, 1}},
		{{0, 1}, {1, 1}},
		{{1, 2}, {2, 2}},
		{{1, 1}, {0, 2}}, /* vCPUs count first */
		{{5, 5}, {0, 6}},
		{{0, UINT32_MAX}, {1, UINT32_MAX}},
		{{UINT32_MAX, 1}, {0, 2}}, /* nothing wraps round */
		{{UINT32_MAX - 1, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}},
		{{0, 2}, {UINT32_MAX, 2}},
	};

	for (unsigned b = 0; b < COUNT(better); b++)
		for (uint64_t tie = 0; tie < 4; tie++) {
			const uint32_t(*p)[2] = better[b];
			const struct repin_cpu ab[] = {{1, p[0][0], p[0][1]}, {2, p[1][0], p[1][1]}};
			const struct repin_cpu ba[] = {ab[1], ab[0]};

			ck_assert_msg(target(ab, 2, 0, tie) == 1, "case %u", b);
			ck_assert_msg(target(ba, 2, 0, tie) == 1, "case %u, turned round", b);
		}
}
END_TEST

START_TEST(target_among_equals_is_the_tie_alone)
{
	/* Equals with gaps between them: each is as likely as the others. */
	static const struct repin_cpu cpus[] = {{9, 1, 1},  {10, 0, 1}, {11, 3, 3}, {12, 0, 0}, {13, 1, 1},
						{14, 0, 2}, {15, 0, 1}, {16, 0, 1}, {17, 2, 2}, {18, 4, 4}};
	static const int equals[] = {10, 15, 16};

	for (uint64_t tie = 0; tie < 99; tie++)
		ck_assert_int_eq(target(cpus, COUNT(cpus), 12, tie), equals[tie % 3]);
	ck_assert_int_eq(target(cpus, COUNT(cpus), 12, UINT64_MAX), equals[UINT64_MAX % 3]);
	for (uint64_t tie = 0; tie < 9; tie++)
		ck_assert_int_eq(target(cpus, COUNT(cpus), 10, tie), 12);
}
END_TEST

#define MOST_CPUS 4096

static void target_check(const struct repin_cpu *cpus, size_t count, int current)
{
	const uint64_t tie = random_next();
	const int got = target(cpus, count, current, tie);
	const struct repin_cpu *chosen = NULL;
	size_t others = 0;

	for (size_t i = 0; i < count; i++) {
		chosen = cpus[i].cpu == got ? &cpus[i] : chosen;
		others += cpus[i].cpu != current;
	}
	if (!others) {
		must(got == current, "%d", got);
		return;
	}
	must(chosen && got != current, "%d", got);
	for (size_t i = 0; i < count; i++) {
		const struct repin_cpu *c = &cpus[i];

		if (c->cpu != current)
			must(chosen->vcpus < c->vcpus ||
				     (chosen->vcpus == c->vcpus && chosen->stuck <= c->stuck),
			     "CPU %d", c->cpu);
	}
	must(target(cpus, count, current, tie) == got, "%d", got); /* a function */
}

START_TEST(target_is_always_allowed_another_and_best)
{
	static struct repin_cpu cpus[MOST_CPUS];

	for (unsigned round = 0; round < 20000; round++) {
		const size_t most = round % 100 ? 12 : MOST_CPUS, count = 1 + random_next() % most;
		const uint32_t range = (uint32_t)(1 + random_next() % 5);
		int current;

		for (size_t i = 0; i < count; i++) { /* numbers with gaps, then in any order */
			const size_t j = random_next() % (i + 1);
			const uint32_t stuck = (uint32_t)(random_next() % range);

			cpus[i] = cpus[j];
			cpus[j] = (struct repin_cpu){(int)(3 * i + random_next() % 3), stuck,
						     stuck + (uint32_t)(random_next() % range)};
		}
		current = random_next() % 4 ? cpus[random_next() % count].cpu
					    : (int)(random_next() % (3 * count)) - 1;
		target_check(cpus, count, current);
	}
}
END_TEST

/*
 * The bound that the header promises, against a guest that decides at will, and by luck or by design, which
 * of its operations are stuck, and so which CPUs look full: vCPUs on its goal never stall, others mostly do.
 */
START_TEST(no_gathering_beyond_the_bound)
{
	enum { MOST = 32 };

	for (unsigned round = 0; round < 2000; round++) {
		const unsigned cpus = 2 + random_next() % 15, vcpus = 1 + random_next() % MOST;
		const unsigned stall = random_next() % 9, goal = random_next() % cpus;
		unsigned at[MOST];

		for (unsigned v = 0; v < vcpus; v++)
			at[v] = random_next() % cpus;
		for (unsigned move = 0; move < 200; move++) {
			struct repin_cpu view[16] = {0};
			const unsigned mover = random_next() % vcpus;
			int to;

			if (at[mover] == goal && random_next() % 8)
				continue;
			for (unsigned c = 0; c < cpus; c++)
				view[c].cpu = (int)c;
			for (unsigned v = 0; v < vcpus; v++) {
				view[at[v]].vcpus++;
				view[at[v]].stuck += at[v] != goal && random_next() % 8 < stall;
			}
			to = target(view, cpus, (int)at[mover], random_next());
			must(view[to].vcpus <= (vcpus - 1) / (cpus - 1), "%u vCPUs on %u CPUs", vcpus, cpus);
			at[mover] = (unsigned)to;
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watchdog_targets");
	TCase *targets = tcase_create("targets");

	tcase_set_timeout(targets, 60);
	tcase_add_test(targets, target_without_a_choice);
	tcase_add_test(targets, target_prefers_in_the_documented_order);
	tcase_add_test(targets, target_among_equals_is_the_tie_alone);
	tcase_add_test(targets, target_is_always_allowed_another_and_best);
	tcase_add_test(targets, no_gathering_beyond_the_bound);
	suite_add_tcase(suite, targets);
	return run_suite(suite);
}

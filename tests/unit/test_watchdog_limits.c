/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog's limits at every edge, and against slow models with random numbers (a fixed seed): how often
 * emulators are restarted, and threads are moved.
 */
#include "tests/unit/watchdog_harness.h"

#include <string.h>

/* --- Restarts --------------------------------------------------------------------------------- */

START_TEST(restart_budget_at_its_edges)
{
	struct watchdog_config c = {.restarts = 3, .restart_window_ns = SECOND};
	struct restart_budget b = {0}, before;

	ck_assert(watchdog_restart_allowed(&c, &b, 100));
	ck_assert(watchdog_restart_allowed(&c, &b, 100));
	ck_assert(watchdog_restart_allowed(&c, &b, 200));
	before = b;
	ck_assert(!watchdog_restart_allowed(&c, &b, 200));
	ck_assert(!watchdog_restart_allowed(&c, &b, 100 + SECOND - 1));
	ck_assert(!watchdog_restart_allowed(&c, &b, 0)); /* backwards */
	ck_assert_mem_eq(&b, &before, sizeof(b));        /* what is refused costs nothing */
	ck_assert(watchdog_restart_allowed(&c, &b, 100 + SECOND));
	ck_assert(watchdog_restart_allowed(&c, &b, 100 + SECOND + 1));
	ck_assert(!watchdog_restart_allowed(&c, &b, 200 + SECOND - 1));
	ck_assert(watchdog_restart_allowed(&c, &b, 200 + SECOND));
	ck_assert(watchdog_restart_allowed(&c, &b, NEVER));
}
END_TEST

START_TEST(restart_budget_of_none_one_and_many)
{
	static const uint32_t many[] = {WATCHDOG_MAX_RESTARTS - 1, WATCHDOG_MAX_RESTARTS,
					WATCHDOG_MAX_RESTARTS + 1, UINT32_MAX};
	struct watchdog_config c = {.restarts = 0, .restart_window_ns = SECOND};
	struct restart_budget b = {0};

	ck_assert(!watchdog_restart_allowed(&c, &b, 1));
	ck_assert(!watchdog_restart_allowed(&c, &b, NEVER));
	c.restarts = 1;
	ck_assert(watchdog_restart_allowed(&c, &b, 1));
	ck_assert(!watchdog_restart_allowed(&c, &b, SECOND));
	ck_assert(watchdog_restart_allowed(&c, &b, SECOND + 1));
	c.restart_window_ns = 0; /* any number, one after another */
	for (unsigned i = 0; i < 3 * WATCHDOG_MAX_RESTARTS; i++)
		ck_assert(watchdog_restart_allowed(&c, &b, 2 * SECOND));
	c.restart_window_ns = NEVER; /* so many in a lifetime */
	ck_assert(!watchdog_restart_allowed(&c, &b, NEVER));

	for (unsigned m = 0; m < COUNT(many); m++) {
		const uint32_t limit = many[m] < WATCHDOG_MAX_RESTARTS ? many[m] : WATCHDOG_MAX_RESTARTS;

		c = (struct watchdog_config){.restarts = many[m], .restart_window_ns = SECOND};
		b = (struct restart_budget){0};
		for (uint32_t i = 0; i < limit; i++)
			ck_assert(watchdog_restart_allowed(&c, &b, 1 + i));
		ck_assert(!watchdog_restart_allowed(&c, &b, SECOND));
		for (uint32_t i = 0; i < limit; i++) { /* round the ring */
			ck_assert(watchdog_restart_allowed(&c, &b, SECOND + 1 + i));
			ck_assert(!watchdog_restart_allowed(&c, &b, SECOND + 1 + i));
		}
	}
}
END_TEST

START_TEST(restarts_in_any_window_are_exactly_the_budget)
{
	static uint64_t at[20000];
	unsigned refused = 0;

	for (unsigned round = 0; round < 20; round++) {
		struct watchdog_config c = {.restarts = (uint32_t)(1 + random_next() % 20),
					    .restart_window_ns = 1 + random_next() % 5000};
		struct restart_budget b = {0};
		uint64_t now = random_next() % SECOND;
		unsigned made = 0;

		for (unsigned i = 0; i < COUNT(at); i++, now += random_next() % 600) {
			const bool full =
				made >= c.restarts && now - at[made - c.restarts] < c.restart_window_ns;

			must(watchdog_restart_allowed(&c, &b, now) == !full, "%u made", made);
			if (!full)
				at[made++] = now;
		}
		refused += (unsigned)COUNT(at) - made;
	}
	ck_assert_uint_gt(refused, COUNT(at)); /* both answers were really there */
	ck_assert_uint_lt(refused, 19 * COUNT(at));
}
END_TEST

/* --- The rate of moves ------------------------------------------------------------------------ */

START_TEST(moves_refill_at_their_edges)
{
	const struct watchdog_config c = {.repins_per_second = 10, .repin_burst = 3};
	const uint64_t start = 5 * SECOND, tenth = SECOND / 10;
	struct repin_bucket b = {0}, before;

	for (unsigned i = 0; i < 3; i++)
		ck_assert(watchdog_repin_allowed(&c, &b, start));
	before = b;
	ck_assert(!watchdog_repin_allowed(&c, &b, start));
	ck_assert(!watchdog_repin_allowed(&c, &b, start + tenth - 1));
	ck_assert(!watchdog_repin_allowed(&c, &b, 0)); /* backwards */
	ck_assert_mem_eq(&b, &before, sizeof(b));      /* what is refused costs nothing */
	ck_assert(watchdog_repin_allowed(&c, &b, start + tenth));
	ck_assert(!watchdog_repin_allowed(&c, &b, start + tenth));
	ck_assert(watchdog_repin_allowed(&c, &b, start + 3 * tenth + 1));
	ck_assert(watchdog_repin_allowed(&c, &b, start + 3 * tenth + 1));
	ck_assert(
		!watchdog_repin_allowed(&c, &b, start + 4 * tenth - 1)); /* the odd nanosecond is not lost, */
	ck_assert(watchdog_repin_allowed(&c, &b, start + 4 * tenth));    /* nor won */
	for (unsigned i = 0; i < 3; i++) /* a long quiet time fills it, and no more than that */
		ck_assert(watchdog_repin_allowed(&c, &b, 1000 * SECOND));
	ck_assert(!watchdog_repin_allowed(&c, &b, 1000 * SECOND));
}
END_TEST

START_TEST(moves_of_none_and_many)
{
	static const uint32_t rates[] = {0, 1, 3, 999999999, 1000000000, 1000000001, UINT32_MAX};
	static const uint32_t bursts[] = {0, 1, 2, UINT32_MAX};

	for (unsigned r = 0; r < COUNT(rates); r++)
		for (unsigned n = 0; n < COUNT(bursts); n++) {
			const struct watchdog_config c = {.repins_per_second = rates[r],
							  .repin_burst = bursts[n]};
			const bool any = rates[r] && bursts[n];
			struct repin_bucket b = {0};

			ck_assert_int_eq(watchdog_repin_allowed(&c, &b, SECOND), any);
			ck_assert_int_eq(watchdog_repin_allowed(&c, &b, SECOND), any && bursts[n] > 1);
			ck_assert_int_eq(watchdog_repin_allowed(&c, &b, SECOND), any && bursts[n] > 2);
		}
}
END_TEST

START_TEST(moves_end_with_the_clock)
{
	const struct watchdog_config c = {.repins_per_second = 1, .repin_burst = 5};
	const struct watchdog_config huge = {.repins_per_second = 1, .repin_burst = UINT32_MAX};
	struct repin_bucket b = {0};

	ck_assert(!watchdog_repin_allowed(&c, &b, NEVER));
	ck_assert(!watchdog_repin_allowed(&c, &b, NEVER - SECOND + 1));
	ck_assert_uint_eq(b.full_ns, 0);
	ck_assert(watchdog_repin_allowed(&c, &b, NEVER - SECOND));
	ck_assert(!watchdog_repin_allowed(&c, &b, NEVER - SECOND));
	ck_assert(!watchdog_repin_allowed(&c, &b, NEVER));

	/* The largest burst at the slowest rate: not one too many, not one too few. */
	b.full_ns = SECOND + SECOND * (UINT32_MAX - 1ull);
	ck_assert(watchdog_repin_allowed(&huge, &b, SECOND));
	ck_assert(!watchdog_repin_allowed(&huge, &b, SECOND));
	ck_assert(!watchdog_repin_allowed(&huge, &b, 2 * SECOND - 1));
	ck_assert(watchdog_repin_allowed(&huge, &b, 2 * SECOND));
}
END_TEST

/* The promise as it is written: no window of any length holds more than burst + length * rate moves. */
static void windows_check(const struct watchdog_config *c, const uint64_t *at, unsigned made)
{
	for (unsigned i = 0; i < made; i++)
		for (unsigned j = i; j < made; j++) {
			const unsigned __int128 earned =
				(unsigned __int128)(at[j] - at[i]) * c->repins_per_second / SECOND;

			must(j - i + 1 <= c->repin_burst + earned,
			     "%u moves in %lu ns with %u a second and a burst of %u", j - i + 1,
			     at[j] - at[i], c->repins_per_second, c->repin_burst);
		}
}

START_TEST(moves_in_any_window_stay_below_the_limit)
{
	static uint64_t at[600];

	for (unsigned round = 0; round < 60; round++) {
		const struct watchdog_config c = {.repins_per_second = (uint32_t)(1 + random_next() % 2000),
						  .repin_burst = (uint32_t)(1 + random_next() % 30)};
		const uint64_t interval = (SECOND + c.repins_per_second - 1) / c.repins_per_second;
		struct repin_bucket b = {0};
		/* The model: a bucket that is really filled, in nanoseconds. */
		uint64_t now = 1 + random_next() % SECOND, full = interval * c.repin_burst, level = full,
			 step;
		unsigned made = 0;

		for (unsigned i = 0; i < COUNT(at); i++, now += step) {
			const bool got = watchdog_repin_allowed(&c, &b, now);

			must(got == (level >= interval), "level %lu, interval %lu", level, interval);
			if (got) {
				at[made++] = now;
				level -= interval;
			}
			step = random_next() % (random_next() % 50 ? interval : 20 * interval);
			level = level + step < full ? level + step : full;
		}
		ck_assert_uint_lt(made, COUNT(at)); /* some were refused */
		windows_check(&c, at, made);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watchdog_limits");
	TCase *limits = tcase_create("limits");

	tcase_set_timeout(limits, 60);
	tcase_add_test(limits, restart_budget_at_its_edges);
	tcase_add_test(limits, restart_budget_of_none_one_and_many);
	tcase_add_test(limits, restarts_in_any_window_are_exactly_the_budget);
	tcase_add_test(limits, moves_refill_at_their_edges);
	tcase_add_test(limits, moves_of_none_and_many);
	tcase_add_test(limits, moves_end_with_the_clock);
	tcase_add_test(limits, moves_in_any_window_stay_below_the_limit);
	suite_add_tcase(suite, limits);
	return run_suite(suite);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog's policy at every edge, and against slow models of it with random numbers (a fixed seed).
 */
#include "sched/watchdog_policy.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MS       1000000ull
#define SECOND   1000000000ull
#define NEVER    UINT64_MAX
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* As ck_assert_msg(), which costs a system call each time that it holds: too much in the loops here. */
#define must(condition, ...)                                                                                 \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			ck_abort_msg(#condition ": " __VA_ARGS__);                                           \
	} while (0)

static const enum on_stall modes[] = {ON_STALL_REPIN, ON_STALL_RESTART, ON_STALL_KILL};

static uint64_t random_next(void)
{
	static uint64_t x = 88172645463325252ull; /* xorshift64 */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Numbers of all sizes, and often one next to an edge. */
static uint64_t random_wild(void)
{
	const uint64_t r = random_next();

	switch (r % 8) {
	case 0:
		return r >> 8 & 3;
	case 1:
		return UINT64_MAX - (r >> 8 & 3);
	case 2:
		return 1ull << (r >> 8) % 64;
	default:
		return random_next() >> (r >> 8) % 64;
	}
}

static struct watchdog_config config_make(enum on_stall on_stall)
{
	return (struct watchdog_config){.quantum_ns = 10 * MS, .max_quanta = 100, .on_stall = on_stall};
}

/* --- Operations ------------------------------------------------------------------------------- */

static void expect(const struct watchdog_config *c, struct watchdog_operation op, uint64_t now_ns,
		   enum watchdog_action action)
{
	const enum watchdog_action got = watchdog_decide(c, &op, now_ns);

	must(got == action, "on_stall %d, began %lu, forced %lu, deaths %u, now %lu: %d, not %d",
	     (int)c->on_stall, op.began_ns, op.forced_ns, op.deaths, now_ns, (int)got, (int)action);
}

static enum watchdog_action on_too_long(enum on_stall mode, uint32_t deaths)
{
	if (mode == ON_STALL_KILL)
		return WATCHDOG_END;
	return mode == ON_STALL_RESTART && !deaths ? WATCHDOG_REPLACE : WATCHDOG_FORCE;
}

START_TEST(nothing_under_way)
{
	static const uint64_t times[] = {0, 1, SECOND, 5 * SECOND, NEVER - 1, NEVER};
	const struct watchdog_config c = config_make(modes[_i]);

	for (unsigned t = 0; t < COUNT(times); t++)
		for (uint32_t deaths = 0; deaths < 4; deaths++)
			for (unsigned f = 0; f < COUNT(times); f++) {
				struct watchdog_operation op = {.forced_ns = times[f], .deaths = deaths};

				expect(&c, op, times[t], WATCHDOG_NOTHING);
				ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, times[t]), NEVER);
			}
}
END_TEST

START_TEST(too_long_begins_at_n_quanta_exactly)
{
	static const struct {
		uint64_t quantum_ns;
		uint32_t max_quanta;
	} limits[] = {{10 * MS, 100}, {10 * MS, 1}, {1, 1}, {1, UINT32_MAX}, {10 * SECOND, 1000000}, {7, 3}};
	struct watchdog_config c = config_make(modes[_i]);

	for (unsigned l = 0; l < COUNT(limits); l++) {
		const uint64_t limit = limits[l].quantum_ns * limits[l].max_quanta;
		const uint64_t begins[] = {1, 2, SECOND, NEVER / 2, NEVER - limit - 2, NEVER - limit - 1};

		c.quantum_ns = limits[l].quantum_ns;
		c.max_quanta = limits[l].max_quanta;
		for (unsigned b = 0; b < COUNT(begins); b++)
			for (uint32_t deaths = 0; deaths < WATCHDOG_MAX_DEATHS; deaths++) {
				const struct watchdog_operation op = {.began_ns = begins[b],
								      .deaths = deaths};
				const uint64_t due = begins[b] + limit;

				expect(&c, op, begins[b], WATCHDOG_NOTHING);
				expect(&c, op, due - c.quantum_ns, WATCHDOG_NOTHING); /* N - 1 quanta */
				expect(&c, op, due - 1, WATCHDOG_NOTHING);
				expect(&c, op, due, on_too_long(modes[_i], deaths));
				expect(&c, op, due + 1 < due ? due : due + 1, on_too_long(modes[_i], deaths));
				expect(&c, op, NEVER, on_too_long(modes[_i], deaths));
				ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, 0), due);
				ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, due - 1), due);
				ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, due), due);
				ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, NEVER), NEVER);
			}
	}
}
END_TEST

START_TEST(a_limit_beyond_the_clock_is_never_reached)
{
	struct watchdog_config c = config_make(modes[_i]);
	struct watchdog_operation op = {.began_ns = NEVER - SECOND};

	/* The sum overflows by nothing, by one, by much. */
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	op.began_ns++;
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	op.began_ns = NEVER;
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, 1), NEVER);

	/* The product overflows, also to something small, and just not. */
	op.began_ns = 1;
	c.quantum_ns = 1ull << 63;
	c.max_quanta = 2;
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, 1), NEVER);
	c.max_quanta = 3;
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	c.max_quanta = 1;
	expect(&c, op, c.quantum_ns, WATCHDOG_NOTHING);
	expect(&c, op, c.quantum_ns + 1, on_too_long(modes[_i], 0));
}
END_TEST

START_TEST(a_clock_that_goes_backwards_counts_nothing)
{
	const struct watchdog_config c = config_make(modes[_i]);
	const struct watchdog_operation op = {.began_ns = 10 * SECOND};
	const struct watchdog_operation forced = {.began_ns = SECOND, .forced_ns = 10 * SECOND};

	for (uint64_t now = 0; now < 10 * SECOND; now += SECOND / 2) {
		expect(&c, op, now, WATCHDOG_NOTHING);
		expect(&c, forced, now, WATCHDOG_NOTHING);
		ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, now), 11 * SECOND);
		ck_assert_uint_eq(watchdog_next_check_ns(&c, &forced, now), 10 * SECOND + 10 * MS);
	}
}
END_TEST

START_TEST(zero_turns_the_count_off)
{
	struct watchdog_config c = config_make(modes[_i]);
	struct watchdog_operation op = {.began_ns = 1, .deaths = 1};

	c.max_quanta = 0;
	expect(&c, op, 1, WATCHDOG_NOTHING);
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, 1), NEVER);
	c = config_make(modes[_i]);
	c.quantum_ns = 0;
	expect(&c, op, 1, WATCHDOG_NOTHING);
	expect(&c, op, NEVER, WATCHDOG_NOTHING);
	op.forced_ns = 1;
	expect(&c, op, NEVER, WATCHDOG_NOTHING);

	/* What kills emulators is answered all the same. */
	op = (struct watchdog_operation){.began_ns = 1, .deaths = 2};
	expect(&c, op, 1, WATCHDOG_FORCE);
}
END_TEST

START_TEST(no_acknowledgement_within_a_quantum)
{
	const struct watchdog_config c = config_make(modes[_i]);
	const uint64_t forced[] = {1, 3 * SECOND, NEVER - 10 * MS - 1};

	for (unsigned f = 0; f < COUNT(forced); f++)
		for (uint32_t deaths = 0; deaths < 4; deaths++) {
			struct watchdog_operation op = {1, forced[f], deaths};

			expect(&c, op, forced[f], WATCHDOG_NOTHING);
			expect(&c, op, forced[f] + 10 * MS - 1, WATCHDOG_NOTHING);
			expect(&c, op, forced[f] + 10 * MS, WATCHDOG_REPLACE);
			expect(&c, op, NEVER, WATCHDOG_REPLACE);
			ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, forced[f]), forced[f] + 10 * MS);
			op.began_ns = 0; /* acknowledged */
			expect(&c, op, NEVER, WATCHDOG_NOTHING);
		}
}
END_TEST

START_TEST(two_deaths_are_answered_by_force_at_once)
{
	static const uint32_t deaths[] = {2, 3, UINT32_MAX};
	const struct watchdog_config c = config_make(modes[_i]);

	for (unsigned d = 0; d < COUNT(deaths); d++) {
		const struct watchdog_operation op = {.began_ns = SECOND, .deaths = deaths[d]};
		const uint64_t times[] = {0, 1, SECOND - 1, SECOND, SECOND + 1, 100 * SECOND, NEVER};

		for (unsigned t = 0; t < COUNT(times); t++) {
			expect(&c, op, times[t], WATCHDOG_FORCE);
			ck_assert_uint_eq(watchdog_next_check_ns(&c, &op, times[t]), times[t]);
		}
	}
}
END_TEST

/* The table in the header, with numbers that cannot overflow. */
static enum watchdog_action decide_slowly(const struct watchdog_config *c,
					  const struct watchdog_operation *op, uint64_t now_ns)
{
	const unsigned __int128 quantum = c->quantum_ns, limit = quantum * c->max_quanta;

	if (!op->began_ns)
		return WATCHDOG_NOTHING;
	if (op->forced_ns)
		return quantum && now_ns >= op->forced_ns && now_ns < NEVER &&
				       now_ns - op->forced_ns >= quantum
			       ? WATCHDOG_REPLACE
			       : WATCHDOG_NOTHING;
	if (op->deaths >= 2)
		return WATCHDOG_FORCE;
	if (!limit || now_ns < op->began_ns || now_ns - op->began_ns < limit)
		return WATCHDOG_NOTHING;
	return on_too_long(c->on_stall, op->deaths);
}

START_TEST(decisions_agree_with_the_table_and_with_the_next_check)
{
	unsigned acted = 0;

	for (unsigned i = 0; i < 500000; i++) {
		const struct watchdog_config c = {.quantum_ns = random_wild(),
						  .max_quanta = (uint32_t)random_wild(),
						  .on_stall = modes[random_next() % 3]};
		const struct watchdog_operation op = {random_wild(), random_next() % 2 ? random_wild() : 0,
						      random_next() % 4};
		const uint64_t now = random_wild() & ~(random_next() % 2 ? 1ull << 63 : 0);
		const uint64_t next = watchdog_next_check_ns(&c, &op, now);

		if (now == NEVER) /* the end of the clock has its own test */
			continue;
		expect(&c, op, now, decide_slowly(&c, &op, now));
		must(next >= now, "%lu, %lu", next, now);
		must((next == now) == (watchdog_decide(&c, &op, now) != WATCHDOG_NOTHING), "%lu, %lu", next,
		     now);
		acted += next == now;
		if (next > now)
			expect(&c, op, next - 1, WATCHDOG_NOTHING);
		if (next < NEVER)
			must(watchdog_decide(&c, &op, next) != WATCHDOG_NOTHING, "%lu", next);
	}
	ck_assert_uint_gt(acted, 50000); /* both cases were really there */
	ck_assert_uint_lt(acted, 450000);
}
END_TEST

/*
 * A thread that sleeps as the header says, and always wakes up late by up to two quanta, against an operation
 * that begins at any time while it sleeps.
 */
START_TEST(a_sleeper_is_in_time_for_all)
{
	for (unsigned i = 0; i < 20000; i++) {
		struct watchdog_config c = config_make(ON_STALL_REPIN);
		struct watchdog_operation op = {0};
		uint64_t now = 1 + random_next() % SECOND, begins, next, q;

		c.quantum_ns = 1 + random_next() % (20 * MS);
		c.max_quanta = (uint32_t)(1 + random_next() % 50);
		q = c.quantum_ns;
		begins = now + random_next() % (200 * q);
		while (watchdog_decide(&c, &op, now) == WATCHDOG_NOTHING) {
			next = watchdog_next_check_ns(&c, &op, now);
			if (next > now + c.max_quanta * q)
				next = now + c.max_quanta * q;
			now = next + random_next() % (2 * q);
			if (now > begins)
				op.began_ns = begins;
		}
		must(now - begins >= c.max_quanta * q && now - begins < (c.max_quanta + 2) * q, "%lu quanta",
		     (now - begins) / q);
	}
}
END_TEST

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

/* --- Where to ---------------------------------------------------------------------------------- */

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

START_TEST(unbound_for_ten_times_as_long)
{
	const uint64_t n = WATCHDOG_UNBOUND_TIMES;

	ck_assert_uint_eq(watchdog_unbound_until_ns(SECOND, SECOND + 7), SECOND + 7 + n * 7);
	ck_assert_uint_eq(watchdog_unbound_until_ns(SECOND, SECOND), SECOND);
	ck_assert_uint_eq(watchdog_unbound_until_ns(SECOND + 1, SECOND), SECOND); /* the clock went back */
	ck_assert_uint_eq(watchdog_unbound_until_ns(0, NEVER / (n + 1)), NEVER / (n + 1) * (n + 1));
	ck_assert_uint_eq(watchdog_unbound_until_ns(0, NEVER / (n + 1) + 1), NEVER);
	ck_assert_uint_eq(watchdog_unbound_until_ns(0, NEVER), NEVER);
	for (unsigned round = 0; round < 100000; round++) {
		const uint64_t began = random_wild(), now = random_wild();

		must(watchdog_unbound_until_ns(began, now) >= now, "ends before it begins");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watchdog_policy");
	TCase *operations = tcase_create("operations"), *limits = tcase_create("limits");
	TCase *targets = tcase_create("targets");
	SRunner *runner;
	int failed;

	tcase_set_timeout(operations, 60);
	tcase_add_loop_test(operations, nothing_under_way, 0, COUNT(modes));
	tcase_add_loop_test(operations, too_long_begins_at_n_quanta_exactly, 0, COUNT(modes));
	tcase_add_loop_test(operations, a_limit_beyond_the_clock_is_never_reached, 0, COUNT(modes));
	tcase_add_loop_test(operations, a_clock_that_goes_backwards_counts_nothing, 0, COUNT(modes));
	tcase_add_loop_test(operations, zero_turns_the_count_off, 0, COUNT(modes));
	tcase_add_loop_test(operations, no_acknowledgement_within_a_quantum, 0, COUNT(modes));
	tcase_add_loop_test(operations, two_deaths_are_answered_by_force_at_once, 0, COUNT(modes));
	tcase_add_test(operations, decisions_agree_with_the_table_and_with_the_next_check);
	tcase_add_test(operations, a_sleeper_is_in_time_for_all);
	suite_add_tcase(suite, operations);

	tcase_set_timeout(limits, 60);
	tcase_add_test(limits, restart_budget_at_its_edges);
	tcase_add_test(limits, restart_budget_of_none_one_and_many);
	tcase_add_test(limits, restarts_in_any_window_are_exactly_the_budget);
	tcase_add_test(limits, moves_refill_at_their_edges);
	tcase_add_test(limits, moves_of_none_and_many);
	tcase_add_test(limits, moves_end_with_the_clock);
	tcase_add_test(limits, moves_in_any_window_stay_below_the_limit);
	suite_add_tcase(suite, limits);

	tcase_set_timeout(targets, 60);
	tcase_add_test(targets, target_without_a_choice);
	tcase_add_test(targets, target_prefers_in_the_documented_order);
	tcase_add_test(targets, target_among_equals_is_the_tie_alone);
	tcase_add_test(targets, target_is_always_allowed_another_and_best);
	tcase_add_test(targets, no_gathering_beyond_the_bound);
	tcase_add_test(targets, unbound_for_ten_times_as_long);
	suite_add_tcase(suite, targets);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

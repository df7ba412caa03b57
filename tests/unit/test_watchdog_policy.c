/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the watchdog does about an operation, at every edge, and against a slow model with random numbers (a
 * fixed seed): when it has taken too long, when there is no acknowledgement, when emulators have died of it.
 */
#include "tests/unit/watchdog_harness.h"

static const enum on_stall modes[] = {ON_STALL_REPIN, ON_STALL_RESTART, ON_STALL_KILL};

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
	TCase *operations = tcase_create("operations");

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
	tcase_add_test(operations, unbound_for_ten_times_as_long);
	suite_add_tcase(suite, operations);
	return run_suite(suite);
}

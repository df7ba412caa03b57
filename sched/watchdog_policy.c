/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: times only ever meet as differences that are clamped at 0, so a clock that goes
 * backwards makes an operation look young and a budget look spent. N quanta are one product, computed once
 * and saturated: an operation that would have to last longer than the clock can count is never too long.
 *
 * The limit on moves is a token bucket kept as one number, the time at which it will be full again (the
 * "generic cell rate algorithm" of ITU-T I.371): a token is an interval, taking one puts that time an
 * interval off, and there is one to take as long as no more than the whole bucket is then outstanding.
 * Nothing has to be refilled, so nothing is lost to rounding either. The limit on restarts is exact where the
 * bucket would be generous (it may give twice the burst in a window): they are few, so all of a window are
 * remembered.
 */
#include "sched/watchdog_policy.h"

#define NS_PER_SECOND 1000000000u
#define NEVER         UINT64_MAX

/* From one time to another; 0 if it is not later. */
static uint64_t elapsed_ns(uint64_t since_ns, uint64_t now_ns)
{
	return now_ns > since_ns ? now_ns - since_ns : 0;
}

/* When `quanta` quanta will have passed since then. */
static uint64_t quanta_after(const struct watchdog_config *config, uint64_t since_ns, uint32_t quanta)
{
	uint64_t ns;

	if (__builtin_mul_overflow(config->quantum_ns, quanta, &ns) || !ns ||
	    __builtin_add_overflow(since_ns, ns, &ns))
		return NEVER;
	return ns;
}

/* When watchdog_decide() will have something to say about this operation. */
static uint64_t due_ns(const struct watchdog_config *config, const struct watchdog_operation *op)
{
	if (!op->began_ns)
		return NEVER;
	if (op->forced_ns)
		return quanta_after(config, op->forced_ns, 1);
	if (op->deaths >= WATCHDOG_MAX_DEATHS)
		return 0;
	return quanta_after(config, op->began_ns, config->max_quanta);
}

enum watchdog_action watchdog_decide(const struct watchdog_config *config,
				     const struct watchdog_operation *op, uint64_t now_ns)
{
	const uint64_t due = due_ns(config, op);

	if (due == NEVER || now_ns < due)
		return WATCHDOG_NOTHING;
	if (op->forced_ns)
		return WATCHDOG_REPLACE;
	if (op->deaths >= WATCHDOG_MAX_DEATHS)
		return WATCHDOG_FORCE;
	switch (config->on_stall) {
	case ON_STALL_RESTART:
		return op->deaths ? WATCHDOG_FORCE : WATCHDOG_REPLACE;
	case ON_STALL_KILL:
		return WATCHDOG_END;
	case ON_STALL_REPIN:
		break;
	}
	return WATCHDOG_FORCE;
}

uint64_t watchdog_next_check_ns(const struct watchdog_config *config, const struct watchdog_operation *op,
				uint64_t now_ns)
{
	const uint64_t due = due_ns(config, op);

	return due > now_ns ? due : now_ns;
}

bool watchdog_restart_allowed(const struct watchdog_config *config, struct restart_budget *budget,
			      uint64_t now_ns)
{
	const uint32_t limit =
		config->restarts < WATCHDOG_MAX_RESTARTS ? config->restarts : WATCHDOG_MAX_RESTARTS;
	const uint32_t size = WATCHDOG_MAX_RESTARTS;

	if (!limit)
		return false;
	if (budget->made >= limit) {
		uint64_t oldest_ns = budget->at_ns[(budget->next + size - limit) % size];

		if (elapsed_ns(oldest_ns, now_ns) < config->restart_window_ns)
			return false;
	}
	budget->at_ns[budget->next] = now_ns;
	budget->next = (budget->next + 1) % size;
	if (budget->made < size)
		budget->made++;
	return true;
}

bool watchdog_repin_allowed(const struct watchdog_config *config, struct repin_bucket *bucket,
			    uint64_t now_ns)
{
	const uint32_t rate = config->repins_per_second;
	uint64_t interval_ns, full_ns;

	if (!rate || !config->repin_burst)
		return false;
	/* Rounded up, and at least 1: never more than asked for. The products stay below 2^62. */
	interval_ns = rate < NS_PER_SECOND ? (NS_PER_SECOND + rate - 1) / rate : 1;
	/* How much is missing now, against how much may be missing before the last token is taken. */
	if (elapsed_ns(now_ns, bucket->full_ns) > interval_ns * (config->repin_burst - 1))
		return false;
	full_ns = bucket->full_ns > now_ns ? bucket->full_ns : now_ns;
	if (__builtin_add_overflow(full_ns, interval_ns, &full_ns))
		return false;
	bucket->full_ns = full_ns;
	return true;
}

uint64_t watchdog_unbound_until_ns(uint64_t began_ns, uint64_t now_ns)
{
	uint64_t ns;

	if (__builtin_mul_overflow(elapsed_ns(began_ns, now_ns), WATCHDOG_UNBOUND_TIMES, &ns) ||
	    __builtin_add_overflow(now_ns, ns, &ns))
		return NEVER;
	return ns;
}

/* Less than 0: a is the better place; 0: neither. */
static int place_compare(const struct repin_cpu *a, const struct repin_cpu *b)
{
	if (a->vcpus != b->vcpus)
		return a->vcpus < b->vcpus ? -1 : 1;
	return (a->stuck > b->stuck) - (a->stuck < b->stuck);
}

int watchdog_repin_target(const struct repin_request *req)
{
	const struct repin_cpu *best = NULL;
	size_t equal = 0, nth;

	for (size_t i = 0; i < req->count; i++) {
		const struct repin_cpu *c = &req->allowed[i];
		int order = best ? place_compare(c, best) : -1;

		if (c->cpu == req->current || order > 0)
			continue;
		equal = order ? 1 : equal + 1;
		best = c;
	}
	if (!best)
		return req->current;

	/* The nth of the equals, not the first after some position: the guest can make gaps between them, and
	 * whatever comes after a wide one would be chosen more often. */
	nth = req->tie % equal;
	for (size_t i = 0; i < req->count; i++) {
		const struct repin_cpu *c = &req->allowed[i];

		if (c->cpu != req->current && !place_compare(c, best) && !nth--)
			return c->cpu;
	}
	return best->cpu;
}

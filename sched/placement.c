/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: vCPUs and then spinning workers are put one after another on the CPU that is best at
 * that moment. Best is, in this order: not the CPU of the thread that one hands over to; the fewest threads
 * there already; for a worker, the core of its vCPU (a hand-off is then a line in a cache that both share);
 * the fewest threads on its core; the lowest rank. Ranks number the first thread of every core, then the
 * second threads, and so on, and start at a core and thread that the request's offset chooses, so that
 * several VMs do not all begin at CPU 0.
 */
#include "sched/placement.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NOBODY (-1)

/* Who sits where so far: indices into t->cpu. */
struct board {
	const struct topology *t;
	unsigned offset;
	unsigned used;
	unsigned at[2 * PLACEMENT_MAX_VCPUS];
};

static unsigned rank(const struct board *b, unsigned i)
{
	const struct topology_cpu *c = &b->t->cpu[i];
	unsigned cores = b->t->cores;
	unsigned core = (c->core + cores - b->offset % cores) % cores;
	unsigned thread = (c->thread + c->threads - b->offset / cores % c->threads) % c->threads;

	return thread * cores + core;
}

/* How bad CPU i is as a place; all criteria in one number, the first in its highest bits. */
static uint64_t badness(const struct board *b, unsigned i, int partner)
{
	const struct topology_cpu *cpu = b->t->cpu;
	bool far = partner >= 0 && cpu[i].core != cpu[partner].core;
	uint64_t here = 0, core = 0; /* at most 2 * PLACEMENT_MAX_VCPUS each */

	for (unsigned n = 0; n < b->used; n++) {
		here += b->at[n] == i;
		core += cpu[b->at[n]].core == cpu[i].core;
	}
	return (uint64_t)((int)i == partner) << 63 | here << 48 | (uint64_t)far << 47 | core << 32 |
	       rank(b, i);
}

/* Puts one more thread somewhere and returns the index of its CPU. */
static int board_put(struct board *b, int partner)
{
	unsigned best = 0;
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < b->t->count; i++) {
		uint64_t bad = badness(b, i, partner);

		if (bad < least) {
			least = bad;
			best = i;
		}
	}
	b->at[b->used++] = best;
	return (int)best;
}

/* Fills index[] with the place of each vCPU: those that the operator named first, the others around them. */
static int vcpus_place(struct board *b, const struct placement_request *req, int *index)
{
	for (unsigned v = 0; v < req->vcpus; v++) {
		bool named = req->pin.policy == PLACEMENT_PIN_MAP && req->pin.cpu[v] >= 0;

		index[v] = named ? topology_index(b->t, req->pin.cpu[v]) : NOBODY;
		if (!named)
			continue;
		if (index[v] < 0)
			return -EINVAL;
		b->at[b->used++] = (unsigned)index[v];
	}
	for (unsigned v = 0; v < req->vcpus; v++)
		if (index[v] == NOBODY)
			index[v] = board_put(b, NOBODY);
	return 0;
}

/* Can every vCPU and every worker have a CPU to itself? */
static bool spin_has_room(const struct board *b, unsigned vcpus)
{
	for (unsigned n = 0; n < b->used; n++)
		for (unsigned m = 0; m < n; m++)
			if (b->at[n] == b->at[m])
				return false;
	return b->t->count >= 2 * vcpus;
}

static const char *spin_warning(unsigned cpus)
{
	if (cpus == 1)
		return "--handoff spin: with one allowed CPU every hand-off spins in vain before it sleeps; "
		       "allow a second CPU or use --handoff same-cpu";
	return "--handoff spin: not every vCPU and worker gets a CPU of its own, so some spin while the "
	       "other side waits "
	       "for that CPU; allow two CPUs for each vCPU or use --handoff auto";
}

int placement_choose(const struct placement_request *req, struct placement *p)
{
	struct board b = {.t = req->topology, .offset = req->offset};
	bool bound = req->pin.policy != PLACEMENT_PIN_NONE;
	int index[PLACEMENT_MAX_VCPUS];
	bool room;

	memset(p, 0, sizeof(*p));
	memset(p->vcpu_cpu, 0xff, sizeof(p->vcpu_cpu)); /* -1 */
	memset(p->worker_cpu, 0xff, sizeof(p->worker_cpu));
	if (!req->vcpus || req->vcpus > PLACEMENT_MAX_VCPUS || !req->topology->count)
		return -EINVAL;
	if (bound && vcpus_place(&b, req, index) < 0)
		return -EINVAL;

	room = spin_has_room(&b, req->vcpus);
	if (req->wish == PLACEMENT_WISH_SPIN || (req->wish == PLACEMENT_WISH_AUTO && room))
		p->handoff = PLACEMENT_SPIN;
	if (p->handoff == PLACEMENT_SPIN && !room)
		p->warning = spin_warning(b.t->count);

	for (unsigned v = 0; bound && v < req->vcpus; v++) {
		int worker = p->handoff == PLACEMENT_SPIN ? board_put(&b, index[v]) : index[v];

		p->vcpu_cpu[v] = b.t->cpu[index[v]].cpu;
		p->worker_cpu[v] = b.t->cpu[worker].cpu;
	}
	return 0;
}

const char *placement_handoff_name(enum placement_handoff handoff)
{
	return handoff == PLACEMENT_SPIN ? "spin" : "same-cpu";
}

/* One VCPU:CPU pair at *text, which moves past it. False: it is not one. */
static bool pair_parse(const char **text, unsigned *vcpu, unsigned *cpu)
{
	unsigned *into[2] = {vcpu, cpu};
	const char *s = *text;

	for (int n = 0; n < 2; n++) {
		if (n && *s++ != ':')
			return false;
		if (*s < '0' || *s > '9')
			return false;
		/* Numbers stop to grow at the limit, which no vCPU and no CPU has. */
		for (*into[n] = 0; *s >= '0' && *s <= '9'; s++)
			if (*into[n] < TOPOLOGY_CPU_LIMIT)
				*into[n] = *into[n] * 10 + (unsigned)(*s - '0');
	}
	*text = s;
	return *s == ',' || *s == '\0';
}

int placement_pin_parse(const char *text, const struct topology *t, unsigned vcpus, struct placement_pin *pin,
			char *error, size_t error_size)
{
	char allowed[80];

	memset(pin->cpu, 0xff, sizeof(pin->cpu)); /* -1 */
	pin->policy = PLACEMENT_PIN_AUTO;
	if (!strcmp(text, "auto"))
		return 0;
	pin->policy = PLACEMENT_PIN_NONE;
	if (!strcmp(text, "none"))
		return 0;
	pin->policy = PLACEMENT_PIN_MAP;
	for (;; text++) {
		const char *pair = text;
		unsigned vcpu, cpu;
		int len;

		if (!pair_parse(&text, &vcpu, &cpu)) {
			snprintf(error, error_size,
				 "--pin: '%.40s' is not VCPU:CPU; write auto, none or pairs as in 0:2,1:3",
				 pair);
			return -EINVAL;
		}
		len = text - pair < 40 ? (int)(text - pair) : 40;
		if (vcpu >= vcpus || vcpu >= PLACEMENT_MAX_VCPUS) {
			snprintf(error, error_size,
				 "--pin %.*s: no such vCPU; name those from 0 to %u or raise --cpus", len,
				 pair, vcpus - 1);
			return -EINVAL;
		}
		if (pin->cpu[vcpu] >= 0) {
			snprintf(error, error_size, "--pin %.*s: vCPU %u is named twice; name it once", len,
				 pair, vcpu);
			return -EINVAL;
		}
		if (topology_index(t, (int)cpu) < 0) {
			topology_format(t, allowed, sizeof(allowed));
			snprintf(error, error_size,
				 "--pin %.*s: dvmm may not run on that CPU; choose from %s or widen the "
				 "cpuset",
				 len, pair, allowed);
			return -EINVAL;
		}
		pin->cpu[vcpu] = (int)cpu;
		if (!*text)
			return 0;
	}
}

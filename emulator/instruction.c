/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "emulator/instruction.h"

#include <stddef.h>
#include <string.h>

/* Of a struct x86_cpu: what x86_run() says, which lies in one piece behind the state. */
#define RESULTS_FROM offsetof(struct x86_cpu, stop)
#define RESULTS_TO   offsetof(struct x86_cpu, reads)

/* Copies what dvmm has filled in. Sizes and counts are read once. */
static void take_processor(struct x86_cpu *cpu, const struct x86_cpu *asked)
{
	cpu->state = asked->state;
	cpu->reads = __atomic_load_n(&asked->reads, __ATOMIC_RELAXED);
	if (cpu->reads > X86_DEVICE_READS)
		cpu->reads = X86_DEVICE_READS;
	memcpy(cpu->read, asked->read, cpu->reads * sizeof(cpu->read[0]));
	cpu->xstate.size = __atomic_load_n(&asked->xstate.size, __ATOMIC_RELAXED);
	if (cpu->xstate.size > X86_XSTATE_BYTES)
		cpu->xstate.size = 0;
	memcpy(cpu->xstate.image, asked->xstate.image, cpu->xstate.size);
}

/* Everything that dvmm or a successor needs, before the commit. */
static void leave_answer(struct x86_cpu *answer, const struct x86_cpu *cpu)
{
	memcpy((uint8_t *)answer + RESULTS_FROM, (const uint8_t *)cpu + RESULTS_FROM, RESULTS_TO - RESULTS_FROM);
	if (cpu->changed & ~(uint32_t)X86_XSTATE)
		answer->state = cpu->state;
	if (cpu->changed & X86_XSTATE) {
		answer->xstate.size = cpu->xstate.size;
		memcpy(answer->xstate.image, cpu->xstate.image, cpu->xstate.size);
	}
	answer->stores.count = cpu->stores.count;
	memcpy(answer->stores.entry, cpu->stores.entry, cpu->stores.count * sizeof(cpu->stores.entry[0]));
}

/* Stores, then reply. */
static void finish(struct core *core, const struct core_client *client, const struct x86_stores *stores, uint32_t seq)
{
	const struct reply done = {.seq = seq, .device = REPLY_NO_DEVICE};

	x86_apply(&core->memory, stores);
	client->publish(client->context, &done);
}

/* Made when first needed: CPUID is slow where it is emulated, and most guests get by without. */
static const struct x86_machine *machine_of(struct core *core)
{
	if (!__atomic_load_n(&core->x86_ready, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&core->x86_lock);
		if (!core->x86_ready) {
			x86_machine_init(&core->x86, &core->memory);
			core->x86.counts = core->x86_counts;
			if (core->x86_counts)
				x86_count_names(core->x86_counts, MAILBOX_COUNTS);
			__atomic_store_n(&core->x86_ready, true, __ATOMIC_RELEASE);
		}
		pthread_mutex_unlock(&core->x86_lock);
	}
	return &core->x86;
}

bool instruction_request(struct core *core, const struct core_client *client, const struct request *req)
{
	struct instruction *in = client->instruction;
	struct x86_cpu *cpu = in->cpu;

	take_processor(cpu, in->asked);
	x86_run(machine_of(core), cpu, req->count);
	leave_answer(in->answer, cpu);
	if (client->claim && !client->claim(client->context, req->seq))
		return false;
	finish(core, client, &cpu->stores, req->seq);
	return true;
}

void instruction_finish(struct core *core, const struct core_client *client, uint32_t seq)
{
	struct x86_stores *stores = &client->instruction->cpu->stores;
	const struct x86_stores *left = &client->instruction->answer->stores;

	stores->count = __atomic_load_n(&left->count, __ATOMIC_RELAXED);
	if (stores->count > X86_STORES)
		stores->count = 0;
	memcpy(stores->entry, left->entry, stores->count * sizeof(stores->entry[0]));
	finish(core, client, stores, seq);
}

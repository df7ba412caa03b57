/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * REQUEST_X86: one run of the instruction emulator for one vCPU, from dvmm's area of the mailbox to ours.
 *
 * Exactly once: a run only reads guest memory (but for accessed and dirty bits, and locked instructions, see
 * below). What it wants to store goes into our area, then the claim is committed, then the stores are made,
 * then the reply is published. Killed before the commit, the run did not happen; killed after it, the stores
 * are made once more, from the area. A locked instruction on RAM is one atomic operation of the host's processor;
 * of that moment there can be no record, and an emulator killed between it and the commit has it done twice.
 *
 * Threads: each worker has its own struct instruction.
 */
#ifndef DVMM_EMULATOR_INSTRUCTION_H
#define DVMM_EMULATOR_INSTRUCTION_H

#include "emulator/core.h"

struct instruction {
	const struct x86_cpu *asked; /* dvmm's area, shared */
	struct x86_cpu *answer;      /* our area, shared */
	struct x86_cpu *cpu;         /* private: what is computed on */
};

/* Performs a request that has passed request_valid(). False: it was abandoned, and nothing has happened. */
bool instruction_request(struct core *core, const struct core_client *client, const struct request *req);

/* A predecessor has committed the request and then died: makes its stores and publishes its reply. */
void instruction_finish(struct core *core, const struct core_client *client, uint32_t seq);

#endif

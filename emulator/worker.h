/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker: the thread that answers one mailbox slot. Sleeps (or spins, then sleeps) until dvmm
 * has written requests, performs them through the core, one after another, and stores their replies.
 */
#ifndef DVMM_EMULATOR_WORKER_H
#define DVMM_EMULATOR_WORKER_H

#include "emulator/core.h"

/* What a worker's thread is called (comm), for whoever looks at the process. Each emulator has this done several
 * times, and printf() would take 200 KiB of its memory. */
static inline void worker_name(char name[16], uint32_t slot)
{
	char *end = __builtin_stpcpy(name, "worker ");

	if (slot >= 10)
		*end++ = (char)('0' + slot / 10 % 10);
	*end++ = (char)('0' + slot % 10);
	*end = '\0';
}

struct worker {
	struct core *core;
	struct request_queue *queue;   /* shared; dvmm writes it, we cannot */
	struct reply *reply;           /* shared; we write it */
	uint32_t *claim;               /* shared; both sides decide by it */
	uint32_t slot;
	struct instruction *instruction; /* NULL: this slot has no vCPU */
	uint32_t answer_bytes; /* of data that the present request asks for */
	uint32_t spin_ns; /* how long to spin for the next request before sleeping; 0: not at all */
};

/* Makes a reply visible to dvmm, and wakes it if it sleeps. For replies that a dead emulator left behind. */
void worker_publish(struct worker *w, const struct reply *reply);

/* Serves requests until REQUEST_QUIT. */
void worker_run(struct worker *w);

#endif

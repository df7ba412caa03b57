/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mailbox: how dvmm asks, and the emulator answers. This header is the whole protocol.
 *
 * Two shared memory files. The *request file* is written by dvmm only (it is sealed against writing before
 * the emulator gets it): page 0 holds struct machine, page 1 struct control, page 2 + n the requests of slot
 * n. The *reply file* is written by the emulator: page n holds the reply of slot n. A slot belongs to one
 * vCPU thread; slot `vcpus`, the last, belongs to dvmm's main thread, for console input. Behind the slots
 * each file has an area per vCPU for the state of a processor (REQUEST_X86), which takes no memory until
 * used.
 *
 * Emulators come and go, the files stay. Each emulator has an incarnation number, from 1 on, which the
 * spawner tells it (emulator/spawner.h). It gets ready, sandbox and all, and then waits until control.active is
 * its own number: dvmm sets that when its predecessor, if any, is dead. Requests behind the last one answered
 * are then still to be answered.
 *
 * Requests of a slot are numbered, and request n is at ring[n % MAILBOX_RING]: dvmm fills it and then stores
 * n in its seq. The worker takes them in order, one at a time: it performs request n, fills the reply and
 * then stores n in reply.seq. There is one reply: that of the last one answered.
 *
 * Most requests are *calls*: the vCPU waits until its number is answered. A *post* (devices/device.h) is a
 * request that nobody waits for; the guest runs on. Up to MAILBOX_POSTS posts are under way in a slot, then
 * there is a call, so room is never waited for, and the last reply is the call's. Of a post, all that dvmm
 * has to learn is how far the console's ring is filled. That number only grows, and every later reply of the
 * slot says it too.
 *
 * What order a guest can see: all that one vCPU does is in one queue. A vCPU that uses a device to which
 * another one has posted waits until that is done (handoff_order()). Doorbells and DMA can overtake a post,
 * but no posted register has to do with memory or queues. What is published (below) no post changes.
 *
 * Who sleeps says so first. dvmm, which sleeps on reply.seq, sets `sleeping` in its own half, looks at
 * reply.seq once more, then futex_wait. The worker sets `sleeping` in its half, looks for the next request
 * once more, then sleeps on that word. The other side stores its seq and then looks at `sleeping`, and who
 * wakes a worker clears it first. All with sequential consistency, so a wake-up cannot be lost. Who posts may
 * leave a worker asleep: somebody wakes it before long (vmm/handoff.h). The worker wakes dvmm when it has
 * answered all there is. A wrong `sleeping` written by a hostile emulator costs a superfluous wake-up or its
 * own reply.
 *
 * Both sleep on words of the reply file because both can write it: on a page mapped read-only the kernel finds
 * a futex in a second, slow attempt only (get_futex_key()): 0.4 us of a hand-off on one CPU.
 *
 * What dvmm reads of a reply it copies once, then checks (vmm/handoff.c), then uses.
 */
#ifndef DVMM_EMULATOR_MAILBOX_H
#define DVMM_EMULATOR_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

#include "emulator/loader/loader.h"
#include "emulator/machine.h"
#include "emulator/x86/x86.h"

#define MAILBOX_PAGE  4096u
#define MAILBOX_DATA  40u /* bytes of data in a request or a reply */
#define MAILBOX_SLOTS (MACHINE_MAX_VCPUS + 1)
#define MAILBOX_RING  32u /* requests of a slot; a power of two */
#define MAILBOX_POSTS (MAILBOX_RING - 2) /* with a call behind them, and the one that dvmm fills in, that is all */

enum request_kind {
	REQUEST_NONE = 0,
	REQUEST_READ,  /* count elements of size bytes, all from addr (IN, INS, MMIO load) */
	REQUEST_WRITE, /* the same, to addr */
	REQUEST_INPUT, /* count bytes typed by the user, for the UART */
	REQUEST_X86,   /* up to count instructions, from the state in the vCPU's area on: see below */
	REQUEST_QUIT,  /* the worker returns (orderly end; in-process mode and tests) */
};

/* A cache line, written by dvmm. */
struct request {
	uint32_t seq;  /* its number; written last */
	uint8_t kind;  /* enum request_kind */
	uint8_t space; /* enum bus_space */
	uint8_t size;  /* bytes per element: 1, 2, 4, 8 */
	uint8_t unused;
	uint64_t addr;  /* port or guest-physical address */
	uint32_t count; /* elements; size * count <= MAILBOX_DATA */
	uint8_t data[MAILBOX_DATA];
} __attribute__((aligned(64)));

/* The requests of a slot, written by dvmm. What changes with each of them is in its own lines. */
struct request_queue {
	uint32_t sleeping;  /* dvmm sleeps on reply.seq and wants to be woken */
	uint32_t cancelled; /* the seq of a request that dvmm has completed by force: to be acknowledged, not
			       performed */
	uint32_t unused[14];
	struct request ring[MAILBOX_RING];
} __attribute__((aligned(64)));

/* Where request n is, or its predecessors were. */
static inline struct request *queue_at(struct request_queue *q, uint32_t n)
{
	return &q->ring[n % MAILBOX_RING];
}

/* How many bytes of data its reply has; MAILBOX_DATA if a hostile guest or emulator asks for more. */
static inline uint32_t request_answer_bytes(const struct request *r)
{
	const uint64_t bytes = r->kind == REQUEST_READ ? (uint64_t)r->size * r->count : 0;

	return bytes < MAILBOX_DATA ? (uint32_t)bytes : MAILBOX_DATA;
}

/* Has request n, the one behind the last one answered, been handed over? */
static inline bool queue_has(struct request_queue *q, uint32_t n)
{
	return __atomic_load_n(&queue_at(q, n)->seq, __ATOMIC_SEQ_CST) == n;
}

#define REPLY_NO_DEVICE UINT32_MAX /* nobody claims the address: reads are all ones, writes dropped */

enum reply_flags {
	REPLY_CONSOLE_ROOM = 1u << 0, /* the UART can take typed bytes again */
};

/*
 * Two cache lines, of which the first has the first REPLY_SHORT bytes of data; written by the emulator, and by dvmm
 * where it says so. dvmm may be spinning on the first one, which then goes from one processor to the other and back for
 * each store that finds it shared. So all stores to it come at the end, together, and a reply that is short leaves the
 * second one alone.
 */
struct reply {
	uint32_t seq;          /* futex; written last; number of the last request answered */
	uint32_t sleeping;     /* futex: 1, the worker sleeps; who wakes it writes 0 first */
	uint32_t unused;
	uint32_t device;       /* index into machine.device[], or REPLY_NO_DEVICE */
	uint32_t flags;        /* enum reply_flags */
	uint32_t event;        /* enum machine_event */
	uint32_t exit_code;    /* with MACHINE_EXIT */
	uint32_t count;        /* REQUEST_INPUT: bytes taken */
	uint64_t console_head; /* bytes the UART has ever put into its ring, at the last request of this slot that
				  put any; 0: none has */
	uint8_t data[MAILBOX_DATA]; /* REQUEST_READ: size * count bytes */
} __attribute__((aligned(64)));

#define REPLY_SHORT (64u - (uint32_t)offsetof(struct reply, data))

/*
 * Shall an operation commit, or be completed by force? Both sides may want to decide at the same moment;
 * whoever changes the claim of the slot first, by compare-and-swap, has. The value is the request's seq, shifted, and a
 * verdict. A hostile emulator can write what it likes there; it only ever decides about its own answer.
 *
 * It has a cache line of its own, behind the reply, which stays with the worker: dvmm looks at it only when its watchdog has
 * tried to decide.
 */
enum claim_verdict { CLAIM_OPEN = 0, CLAIM_COMMITTED, CLAIM_CANCELLED };
#define CLAIM(seq, verdict) ((uint32_t)(seq) << 2 | (uint32_t)(verdict))
#define CLAIM_OFFSET 128u

_Static_assert(sizeof(struct request) == 64 && sizeof(struct reply) <= CLAIM_OFFSET, "layout of the mailbox");
_Static_assert(sizeof(struct request_queue) <= MAILBOX_PAGE, "a queue fits its page");
_Static_assert(sizeof(struct machine) <= MAILBOX_PAGE, "struct machine fits its page");

/* 64 bytes, written by dvmm. */
struct control {
	uint32_t active; /* futex: the incarnation that serves; 0: none yet */
	uint32_t beat;   /* then machine.beat_fd is written, and the I/O thread copies this to its own beat */
} __attribute__((aligned(64)));

/*
 * Instructions that KVM cannot emulate. The areas are a struct x86_cpu (emulator/x86/x86.h) on each side: dvmm
 * fills state, read[] and xstate of its own, the emulator everything else of its own, and the registers that
 * `changed` names.
 *
 * The emulator's area is also its journal. Stores of the guest's instructions are made after the claim is
 * committed, and then the reply is published; a successor that finds a committed claim without a reply makes
 * them again, which does no harm.
 */
#define MAILBOX_X86_BYTES 16384u
_Static_assert(sizeof(struct x86_cpu) <= MAILBOX_X86_BYTES, "a processor fits its area");

/* At the end of the reply file, with --stats: how often each instruction was emulated, by its ZydisMnemonic. */
#define MAILBOX_COUNTS       2048u
#define MAILBOX_COUNTS_BYTES (MAILBOX_COUNTS * sizeof(struct x86_count))

/* Sizes of the two files. */
static inline uint64_t mailbox_request_bytes(uint32_t vcpus)
{
	return (uint64_t)(vcpus + 3) * MAILBOX_PAGE + (uint64_t)vcpus * MAILBOX_X86_BYTES;
}
static inline uint64_t mailbox_reply_bytes(uint32_t vcpus)
{
	return (uint64_t)(vcpus + 1) * MAILBOX_PAGE + (uint64_t)vcpus * MAILBOX_X86_BYTES + MAILBOX_COUNTS_BYTES;
}

/* Where things are, given where a file is mapped. */
static inline struct request_queue *mailbox_queue(void *file, uint32_t slot)
{
	return (struct request_queue *)((uint8_t *)file + (uint64_t)(slot + 2) * MAILBOX_PAGE);
}
static inline struct control *mailbox_control(void *file)
{
	return (struct control *)((uint8_t *)file + MAILBOX_PAGE);
}
static inline struct reply *mailbox_reply(void *file, uint32_t slot)
{
	return (struct reply *)((uint8_t *)file + (uint64_t)slot * MAILBOX_PAGE);
}
static inline uint32_t *mailbox_claim(void *file, uint32_t slot)
{
	return (uint32_t *)((uint8_t *)mailbox_reply(file, slot) + CLAIM_OFFSET);
}
static inline struct x86_cpu *mailbox_request_cpu(void *file, uint32_t vcpus, uint32_t slot)
{
	return (struct x86_cpu *)((uint8_t *)file + (uint64_t)(vcpus + 3) * MAILBOX_PAGE +
				  (uint64_t)slot * MAILBOX_X86_BYTES);
}
static inline struct x86_cpu *mailbox_reply_cpu(void *file, uint32_t vcpus, uint32_t slot)
{
	return (struct x86_cpu *)((uint8_t *)file + (uint64_t)(vcpus + 1) * MAILBOX_PAGE +
				  (uint64_t)slot * MAILBOX_X86_BYTES);
}
static inline struct x86_count *mailbox_counts(void *file, uint32_t vcpus)
{
	return (struct x86_count *)((uint8_t *)file + mailbox_reply_bytes(vcpus) - MAILBOX_COUNTS_BYTES);
}

/*
 * What an emulator tells dvmm about its start: words behind the reply of slot 0. There are two places, for
 * the active emulator and the one that stands by; odd incarnations use the first, even ones the second.
 */
enum emulator_state {
	EMULATOR_STARTING = 0,
	EMULATOR_READY,
	EMULATOR_FAILED,
	EMULATOR_LOADING, /* in its sandbox, and at work on the kernel; READY follows */
};

struct emulator_status {
	uint32_t state;    /* futex; enum emulator_state */
	char message[252]; /* with EMULATOR_FAILED: one line, NUL-terminated */
};
#define EMULATOR_STATUS_OFFSET 2048u

static inline struct emulator_status *mailbox_status(void *file, uint32_t incarnation)
{
	return (struct emulator_status *)((uint8_t *)file + EMULATOR_STATUS_OFFSET +
					  (incarnation & 1 ? 0 : 512));
}

/* The thread id of a slot's worker, as its pid namespace has it: in the slot's page of the reply file, by
 * incarnation as above (emulator/spawner.h, MOVE). */
#define WORKER_TID_OFFSET 256u
static inline int32_t *mailbox_worker_tid(void *file, uint32_t slot, uint32_t incarnation)
{
	return (int32_t *)((uint8_t *)file + (uint64_t)slot * MAILBOX_PAGE + WORKER_TID_OFFSET + (incarnation & 1 ? 0 : 4));
}

/* Where the I/O thread shows that it still does its work: workers have their replies for that. */
#define IO_BEAT_OFFSET 1024u
static inline uint32_t *mailbox_io_beat(void *file)
{
	return (uint32_t *)((uint8_t *)file + IO_BEAT_OFFSET);
}

/*
 * Published registers (devices/device.h): a line per device, behind the reply of the last slot. Word n is for
 * register n of the device, and the emulator stores it whole after each operation on the device, before its
 * effects and its reply. So it needs no lock, and a vCPU that has the reply to its write, or takes the
 * interrupt of an operation, reads what that has left. While no emulator serves the words stay as they are,
 * and say what was true before the operations that nobody has heard of yet; a successor publishes all of them
 * before it serves.
 *
 * dvmm loads a word once; a hostile emulator chooses with it what the guest reads, which it can do anyway.
 */
struct published {
	uint64_t word[DEVICE_MAX_REGISTERS]; /* PUBLISHED_VALID | value; otherwise: call */
} __attribute__((aligned(64)));
#define PUBLISHED_VALID  (1ull << 32)
#define PUBLISHED_OFFSET 512u
_Static_assert(PUBLISHED_OFFSET + MACHINE_MAX_DEVICES * sizeof(struct published) <= MAILBOX_PAGE, "they fit");

static inline struct published *mailbox_published(void *file, uint32_t vcpus)
{
	return (struct published *)((uint8_t *)mailbox_reply(file, vcpus) + PUBLISHED_OFFSET);
}

/*
 * The first emulator also loads the kernel before it is ready (emulator/loader/loader.h): the request is
 * behind struct control, the result behind the two status words.
 */
#define MAILBOX_LOADER_REQUEST_OFFSET 2048u
#define MAILBOX_LOADER_RESULT_OFFSET  3072u
#define FIRST_INCARNATION             1u

_Static_assert(MAILBOX_LOADER_REQUEST_OFFSET + sizeof(struct loader_request) <= MAILBOX_PAGE &&
		       MAILBOX_LOADER_RESULT_OFFSET + sizeof(struct loader_result) <= MAILBOX_PAGE,
	       "the loader's request and result fit");

static inline struct loader_request *mailbox_loader_request(void *file)
{
	return (struct loader_request *)((uint8_t *)file + MAILBOX_PAGE + MAILBOX_LOADER_REQUEST_OFFSET);
}
static inline struct loader_result *mailbox_loader_result(void *file)
{
	return (struct loader_result *)((uint8_t *)file + MAILBOX_LOADER_RESULT_OFFSET);
}

/* Descriptors that the program is started with; struct machine has the numbers of the devices' own. FD_SPAWNER is for the
 * spawner alone. */
enum emulator_fd {
	FD_REQUEST = 3,
	FD_REPLY,
	FD_REGION,
	FD_MEMORY,
	FD_SPAWNER,
	FD_FIRST_EVENT, /* eventfds from here, which is FILTER_FIRST_EVENT (seccomp/filters.h); then everything else */
};

#endif

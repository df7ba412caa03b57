/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a device model is: state in, state and effects out.
 *
 * A model makes no system call, allocates nothing, keeps no pointer and has no
 * static variable that changes. All that it remembers is one struct of fixed
 * layout, its *state*, and optionally a *bulk* area. What it wants done in the world
 * it writes into an *outbox*. The caller (emulator/core.c) hands the model a private spare copy of
 * the state, and makes the result true in one step, by flipping an index; an
 * operation that is abandoned half way has therefore never happened.
 *
 * - State is copied for every operation, so it is small (some hundred bytes).
 * - Bulk is not copied. It may be written at any time, but only in places that
 *   the committed state does not yet refer to (a free slot, bytes past the ring's head).
 * - Every effect in the outbox is idempotent: after a crash between commit and
 *   effect it is simply done again (a spurious interrupt, the same index stored twice).
 * - The state may hold *any bytes at all*: a previous emulator may have been taken over. A model
 *   masks or checks whatever it indexes, shifts or loops with. It never trusts its own state.
 *
 * Threads: the caller serialises operations on one device; a model needs no lock.
 */
#ifndef DVMM_DEVICES_DEVICE_H
#define DVMM_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/guest_memory.h"

/* What can happen to the whole machine. Ordered: the higher one wins if two are asked for. */
enum machine_event {
	MACHINE_RUN = 0,
	MACHINE_RESET,    /* the guest asked for a reset */
	MACHINE_POWEROFF, /* ACPI S5 */
	MACHINE_EXIT,     /* debug-exit port: end with outbox.exit_code */
};

/* At most this many I/O requests of one device are under way at a time. */
#define DEVICE_IO_SLOTS 64

struct outbox {
	uint32_t irq;          /* 1: pulse the device's interrupt line (edge) */
	uint32_t event;        /* enum machine_event */
	uint32_t exit_code;    /* with MACHINE_EXIT */
	uint32_t console_room; /* 1: the UART can take typed bytes again after it could not */
	uint64_t console_head; /* UART: bytes ever written to its ring, if this operation wrote any; else 0 */
	uint64_t io_start;     /* bit n: start the I/O that slot n describes, see io_describe */

	/* virtio, used_gpa != 0: once committed, store used_new at guest address used_gpa, and then
	 * interrupt the driver if it asked for that (virtio 1.2, 2.7.7 and 2.7.10). The driver's wish must
	 * be read after the store, so this cannot be done inside the operation; see virtqueue_publish(). */
	uint64_t used_gpa;  /* of the used ring's idx field */
	uint64_t event_gpa; /* of used_event (event_idx) or of the available ring's flags (otherwise) */
	uint16_t used_old;  /* used index before this operation */
	uint16_t used_new;  /* ... and after it */
	uint32_t event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
};

/* One guest access to a register, already decoded: offset is inside the device's window. */
struct access {
	uint64_t offset; /* bytes from the window's start; offset + size <= window size */
	uint64_t value;  /* in: what is written; out: what is read (preset to all ones) */
	uint32_t size;   /* 1, 2, 4 or 8 bytes; never more than ops->max_access */
	bool write;
};

/* A piece of guest memory that takes part in an I/O request. */
struct io_segment {
	uint64_t gpa;
	uint32_t len;
};

#define IO_SEGMENTS 32 /* per request; virtio-blk's seg_max is two less (header, status) */

enum io_kind { IO_NONE = 0, IO_READ, IO_WRITE, IO_FLUSH, IO_RANDOM };

/* An I/O request as the I/O thread performs it: file <-> guest memory. IO_RANDOM fills memory. */
struct io_request {
	uint32_t kind;  /* enum io_kind */
	uint32_t count; /* segments used, <= IO_SEGMENTS */
	uint32_t sync;  /* IO_WRITE: 1: must be on stable storage before it completes (RWF_DSYNC) */
	uint32_t unused;
	uint64_t offset; /* bytes into the backing file */
	struct io_segment seg[IO_SEGMENTS];
};

/* What an operation sees. Valid only during the call. */
struct operation {
	void *state;                    /* the spare copy, starts equal to the committed one */
	void *bulk;                     /* the bulk area, or NULL */
	struct outbox *out;             /* starts all zero */
	const struct guest_memory *mem; /* for devices that do DMA */
	uint64_t (*now_ns)(void);       /* wall clock, ns since 1970 UTC */
};

/* What the operator chose for a device; plain data, trusted. */
struct device_config {
	uint64_t capacity;   /* virtio-blk: size of the backing file in sectors of 512 bytes; fw_cfg: bytes of RAM */
	uint32_t read_only;  /* virtio-blk */
	uint32_t cpus;       /* fw_cfg */
	char serial[20];     /* virtio-blk: what GET_ID returns, padded with NUL */
};

/*
 * A register that guests may use without waiting for the emulator.
 *
 * Published: after each operation, before the operation's effects and its reply, the value that a read would
 * now give is stored where dvmm finds it (mailbox.h). The model says in publish() what that value is, from
 * the committed state alone. It says "not now" while a read would change anything, would depend on anything
 * else (the time, say), or while a write to a posted register of the device could change what is read: a
 * guest must not see that its writes are late. Then a read is an operation as any other.
 *
 * Posted: a write is queued, and the guest runs on; it is done some time later, before whatever that vCPU
 * does next with the emulator, and before whatever another one does with this device. So it may have no
 * effect on dvmm but console output: no machine event, no console_room, no I/O, nothing in guest memory. If
 * it may cause an interrupt, publish() says so by the value POST_URGENT, and the write is not left lying;
 * otherwise by 0. "Not now": not posted.
 */
enum register_use { REGISTER_PUBLISHED, REGISTER_POSTED };
#define POST_URGENT 1u

struct device_register {
	uint64_t offset; /* in the window; only an access of exactly this place and size counts */
	uint32_t size;   /* bytes: 1, 2 or 4 */
	uint32_t use;    /* enum register_use: a register to be read, or one to be written */
};
#define DEVICE_MAX_REGISTERS 8

/* The constant description of a model. Unused functions are NULL. */
struct device_ops {
	const char *name;
	uint32_t state_size; /* bytes; multiple of 8 */
	uint32_t bulk_size;  /* bytes */
	uint32_t max_access; /* widest access handled; the bus splits wider ones (ISA: 1) */
	uint32_t queues;     /* number of doorbells (virtqueues) */

	/* The power-on state. state is all zero on entry. */
	void (*init)(void *state, const struct device_config *cfg);

	/* The guest reads or writes a register. */
	void (*access)(struct operation *op, struct access *a);

	/* The doorbell of a queue rang. Also called with no work to do: that is not an error. */
	void (*notify)(struct operation *op, unsigned queue);

	/* I/O that outbox.io_start asked for has ended: bytes moved, or -errno. The slot becomes free.
	 * Must tolerate a slot that is not in use. */
	void (*complete)(struct operation *op, unsigned slot, int32_t result);

	/* Slots in use in this (committed) state; after a restart these are started again. */
	uint64_t (*io_pending)(const void *state);

	/* Describes the I/O of a slot in use; false if the slot is free or its record makes no sense. */
	bool (*io_describe)(const void *state, const void *bulk, unsigned slot, struct io_request *req);

	/* Bytes typed by the user; returns how many were taken (the rest is offered again later). */
	uint32_t (*input)(struct operation *op, const uint8_t *bytes, uint32_t len);

	/* Registers that need no hand-off, at most DEVICE_MAX_REGISTERS. */
	const struct device_register *registers;
	uint32_t register_count;

	/* What is published of registers[n] in this (committed) state; false: not now. */
	bool (*publish)(const void *state, unsigned n, uint32_t *value);
};

#endif

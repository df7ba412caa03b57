/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O thread: doorbells in, disk and entropy I/O, completions back into the device models.
 *
 * Owns: one io_uring, which can do nothing but read, write and flush the files registered at start (the
 * doorbells' eventfds and the backing files), enforced by the kernel (IORING_REGISTER_RESTRICTIONS). Threads:
 * io_init() in the starting thread; io_run() in the I/O thread, which must be the one that then owns the
 * ring; io_start() (installed as core->start_io) in any thread. A backing file's I/O is described by the
 * model as guest memory segments (struct io_request) that are checked again here, because they may come from
 * a region that somebody else has written.
 */
#ifndef DVMM_EMULATOR_IO_H
#define DVMM_EMULATOR_IO_H

#include <liburing.h>
#include <sys/uio.h>

#include "emulator/core.h"

/* One request under way: what remains of it. */
struct io_slot {
	struct iovec iov[IO_SEGMENTS];
	uint32_t first; /* iov[first..count) remain to be done */
	uint32_t count;
	uint32_t kind;   /* enum io_kind */
	uint32_t sync;   /* each write durable when it completes */
	uint64_t offset; /* bytes into the file, of what remains */
	uint32_t done;   /* bytes moved so far */
};

struct io_device {
	uint64_t doorbell;    /* where the doorbell's eventfd count is read to */
	uint64_t to_start;    /* atomic: slots that the model asked to start */
	struct io_slot *slot; /* DEVICE_IO_SLOTS */
};

struct io {
	struct core *core;
	const uint32_t *asked; /* struct control's beat; NULL: nobody asks */
	uint32_t *beat;        /* and where it is copied to */
	uint64_t beats;        /* where machine.beat_fd's count is read to */
	struct io_uring ring;
	struct io_device device[MACHINE_MAX_DEVICES];
};

/* Makes the ring, restricts it, registers the files that the machine names. 0 or -errno. */
int io_init(struct io *io, struct core *core);

/* Before io_run(): the thread shows that it works, whenever machine.beat_fd is written, by copying *asked to *beat. */
void io_show_beat(struct io *io, const uint32_t *asked, uint32_t *beat);

/* Enables the ring and serves doorbells and completions. Returns only if the ring fails: -errno. */
int io_run(struct io *io);

#endif

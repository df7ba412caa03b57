/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. For each device with a doorbell one read of its eventfd is always under way. When it
 * completes, the guest has rung: the model takes what is available (core_notify), which records requests in
 * slots and asks in the outbox to start them. That lands in io_device.to_start, here or in a worker's thread;
 * the I/O thread turns the bits into ring entries. Their completion goes back to the model (core_complete),
 * which may ask for more.
 *
 * A slot number is unique while its request is under way: the model frees it in core_complete() only.
 */
#include "emulator/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define RING_ENTRIES 128u
#define RANDOM_CHUNK 256u /* getrandom() up to this size is never interrupted */

/* Registered files: two per device. */
static int doorbell_index(uint32_t device)
{
	return (int)(2 * device);
}
static int file_index(uint32_t device)
{
	return (int)(2 * device + 1);
}

static int beat_index(const struct machine *m)
{
	return (int)(2 * m->devices);
}

/* user_data: which device, and which slot (or DOORBELL). */
#define DOORBELL 0xffffu
#define BEAT     UINT64_MAX
static uint64_t tag(uint32_t device, uint32_t slot)
{
	return (uint64_t)device << 16 | slot;
}

/* The ring that this thread serves: set in the I/O thread only. */
static _Thread_local const struct io *served;

/* core->start_io: any thread, under the device's lock. */
static void io_start(void *context, uint32_t device, uint64_t slots)
{
	struct io *io = context;
	const uint64_t one = 1;

	__atomic_fetch_or(&io->device[device].to_start, slots, __ATOMIC_SEQ_CST);
	/* Rings the doorbell for the I/O thread, which looks at to_start after every doorbell. In the I/O
	 * thread itself that is a superfluous round, but only for requests made through it, which look
	 * anyway. */
	if (served != io && write(io->core->machine->device[device].queue_fd, &one, sizeof(one)) < 0)
		return; /* full: a ring is pending already */
}

static struct io_uring_sqe *get_sqe(struct io *io)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&io->ring)))
		io_uring_submit(&io->ring);
	return sqe;
}

static void arm_doorbell(struct io *io, uint32_t device)
{
	struct io_uring_sqe *sqe = get_sqe(io);

	io_uring_prep_read(sqe, doorbell_index(device), &io->device[device].doorbell, sizeof(uint64_t), 0);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = tag(device, DOORBELL);
}

static void arm_beat(struct io *io)
{
	struct io_uring_sqe *sqe = get_sqe(io);

	io_uring_prep_read(sqe, beat_index(io->core->machine), &io->beats, sizeof(io->beats), 0);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = BEAT;
}

static void show_beat(struct io *io)
{
	__atomic_store_n(io->beat, __atomic_load_n(io->asked, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	arm_beat(io);
}

/* Queues what remains of a slot's request. */
static void submit_slot(struct io *io, uint32_t device, uint32_t slot)
{
	struct io_slot *s = &io->device[device].slot[slot];
	struct io_uring_sqe *sqe = get_sqe(io);

	if (s->kind == IO_FLUSH)
		io_uring_prep_fsync(sqe, file_index(device), IORING_FSYNC_DATASYNC);
	else if (s->kind == IO_WRITE)
		io_uring_prep_writev2(sqe, file_index(device), s->iov + s->first, s->count - s->first,
				      s->offset, s->sync ? RWF_DSYNC : 0);
	else
		io_uring_prep_readv(sqe, file_index(device), s->iov + s->first, s->count - s->first,
				    s->offset);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = tag(device, slot);
}

/* Fills guest memory with random bytes; no file is involved. Returns the bytes filled. */
static int32_t fill_random(const struct io_slot *s)
{
	int32_t filled = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		for (size_t at = 0; at < s->iov[i].iov_len; at += RANDOM_CHUNK) {
			size_t left = s->iov[i].iov_len - at;
			size_t len = left < RANDOM_CHUNK ? left : RANDOM_CHUNK;

			if (getrandom((uint8_t *)s->iov[i].iov_base + at, len, 0) != (ssize_t)len)
				return filled;
			filled += (int32_t)len;
		}
	}
	return filled;
}

/* Turns a model's description into iovecs of this process. False: it reaches outside of guest memory. */
static bool translate(const struct guest_memory *mem, const struct io_request *req, struct io_slot *s)
{
	*s = (struct io_slot){
		.kind = req->kind, .sync = req->sync, .offset = req->offset, .count = req->count};
	if (req->count > IO_SEGMENTS)
		return false;
	for (uint32_t i = 0; i < req->count; i++) {
		s->iov[i].iov_base = guest_memory_range(mem, req->seg[i].gpa, req->seg[i].len);
		s->iov[i].iov_len = req->seg[i].len;
		if (!s->iov[i].iov_base)
			return false;
	}
	return true;
}

/* Reads a slot's description from the committed state. */
static bool describe(struct core *core, uint32_t device, uint32_t slot, struct io_request *req)
{
	const struct device_ops *ops = device_ops_of(core->machine->device[device].type);
	bool ok;

	pthread_mutex_lock(&core->lock[device]);
	ok = ops->io_describe &&
	     ops->io_describe(region_state_of(&core->layout, core->region, device,
					      region_current(&core->layout, core->region, device)),
			      region_bulk_of(&core->layout, core->region, device), slot, req);
	pthread_mutex_unlock(&core->lock[device]);
	return ok;
}

static void start_slot(struct io *io, uint32_t device, uint32_t slot)
{
	struct io_slot *s = &io->device[device].slot[slot];
	struct io_request req = {0};

	/* A record that makes no sense still has to end, or the device would wait for it for ever. */
	if (!describe(io->core, device, slot, &req))
		core_complete(io->core, device, slot, -EIO);
	else if (!translate(&io->core->memory, &req, s))
		core_complete(io->core, device, slot, -EFAULT);
	else if (req.kind == IO_RANDOM)
		core_complete(io->core, device, slot, fill_random(s));
	else if (io->core->machine->device[device].file_fd < 0)
		core_complete(io->core, device, slot, -EIO);
	else
		submit_slot(io, device, slot);
}

/* Starts what the model has asked for. Completing a request may make it ask for more. */
static void start_pending(struct io *io, uint32_t device)
{
	uint64_t slots;

	while ((slots = __atomic_exchange_n(&io->device[device].to_start, 0, __ATOMIC_SEQ_CST)))
		for (; slots; slots &= slots - 1)
			start_slot(io, device, (uint32_t)__builtin_ctzll(slots));
}

/* Steps over n bytes. True if something remains. */
static bool advance(struct io_slot *s, uint32_t n)
{
	s->done += n;
	s->offset += n;
	while (s->first < s->count && n >= s->iov[s->first].iov_len)
		n -= (uint32_t)s->iov[s->first++].iov_len;
	if (s->first == s->count)
		return false;
	s->iov[s->first].iov_base = (uint8_t *)s->iov[s->first].iov_base + n;
	s->iov[s->first].iov_len -= n;
	return true;
}

/* A read or write may move less than asked (a signal, the file's end); go on until nothing moves. */
static void slot_ended(struct io *io, uint32_t device, uint32_t slot, int32_t result)
{
	struct io_slot *s = &io->device[device].slot[slot];

	if (result == -EINTR || result == -EAGAIN) {
		submit_slot(io, device, slot);
		return;
	}
	if (result > 0 && s->kind != IO_FLUSH) {
		if (advance(s, (uint32_t)result)) {
			submit_slot(io, device, slot);
			return;
		}
		result = (int32_t)s->done;
	}
	core_complete(io->core, device, slot, result);
	start_pending(io, device);
}

static void handle_completion(struct io *io, uint64_t user_data, int32_t result)
{
	uint32_t device = (uint32_t)(user_data >> 16);
	uint32_t slot = user_data & 0xffff;

	if (user_data == BEAT) {
		show_beat(io);
		return;
	}
	if (slot != DOORBELL) {
		slot_ended(io, device, slot, result);
		return;
	}
	core_notify(io->core, device);
	start_pending(io, device);
	arm_doorbell(io, device);
}

/* Only reads, writes and flushes of registered files from now on, and nothing can be registered any more. The
 * helper functions for this and for enabling the ring are missing from liburing 2.3's shared library. */
static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction rules[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
	};

	return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rules,
				 sizeof(rules) / sizeof(rules[0]));
}

static int register_files(struct io *io)
{
	const struct machine *m = io->core->machine;
	int files[2 * MACHINE_MAX_DEVICES + 1];

	for (uint32_t i = 0; i < m->devices; i++) {
		files[doorbell_index(i)] = m->device[i].queue_fd;
		files[file_index(i)] = m->device[i].file_fd;
	}
	files[beat_index(m)] = m->beat_fd > 0 ? m->beat_fd : -1;
	return io_uring_register_files(&io->ring, files, 2 * m->devices + 1);
}

/* Slots live outside of the region: they hold addresses of this process. Zero pages until they are used. */
static int allocate_slots(struct io *io)
{
	for (uint32_t i = 0; i < io->core->machine->devices; i++) {
		if (io->core->machine->device[i].queue_fd < 0)
			continue;
		io->device[i].slot =
			mmap(NULL, DEVICE_IO_SLOTS * sizeof(struct io_slot), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (io->device[i].slot == MAP_FAILED)
			return -ENOMEM;
	}
	return 0;
}

/* Ring entries that can be under way at a time: each doorbell's read and the beat's, and each slot. */
static uint32_t under_way_at_most(const struct machine *m)
{
	uint32_t n = 1;

	for (uint32_t i = 0; i < m->devices; i++)
		n += m->device[i].queue_fd >= 0 ? 1 + DEVICE_IO_SLOTS : 0;
	return n;
}

int io_init(struct io *io, struct core *core)
{
	/* Completions never have to wait for room: kernels before 5.19 refuse new requests then, and we would
	 * try for ever. */
	struct io_uring_params params = {
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
		.cq_entries = 2 * RING_ENTRIES,
	};
	int err;

	memset(io, 0, sizeof(*io));
	io->core = core;
	if (params.cq_entries < under_way_at_most(core->machine))
		params.cq_entries = under_way_at_most(core->machine);
	err = allocate_slots(io);
	if (!err)
		err = io_uring_queue_init_params(RING_ENTRIES, &io->ring, &params);
	if (!err)
		err = register_files(io);
	if (!err)
		err = restrict_ring(&io->ring);
	if (!err)
		err = io_uring_register((unsigned)io->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (err)
		return err;
	core->io_context = io;
	core->start_io = io_start;
	return 0;
}

void io_show_beat(struct io *io, const uint32_t *asked, uint32_t *beat)
{
	io->asked = asked;
	io->beat = beat;
}

int io_run(struct io *io)
{
	served = io;
	if (io->asked)
		arm_beat(io);
	for (uint32_t i = 0; i < io->core->machine->devices; i++)
		if (io->core->machine->device[i].queue_fd >= 0)
			arm_doorbell(io, i);
	for (;;) {
		struct io_uring_cqe *cqe;
		int err = io_uring_submit_and_wait(&io->ring, 1);

		if (err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY)
			return err;
		while (io_uring_peek_cqe(&io->ring, &cqe) == 0) {
			uint64_t user_data = cqe->user_data;
			int32_t result = cqe->res;

			io_uring_cqe_seen(&io->ring, cqe);
			handle_completion(io, user_data, result);
		}
	}
}

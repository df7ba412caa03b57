/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dvmm-emulator: the process that holds all device models and can do nothing but compute.
 *
 * Started by dvmm with descriptors at fixed numbers (mailbox.h). main() and emulate() read as the order in which power
 * is given up. The one process that is started maps what was passed, enters the sandbox, and becomes the spawner
 * (spawner.h). Each emulator that is forked from it makes its ring, closes what is no longer needed, starts the workers,
 * and installs one system call filter for all threads, its last act of freedom. Only then the kernel file
 * is looked at and dvmm told that we are ready, and only after that the first byte that a guest controls
 * arrives.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "emulator/chaos.h"
#include "emulator/futex.h"
#include "emulator/image.h"
#include "emulator/instruction.h"
#include "emulator/io.h"
#include "emulator/spawner.h"
#include "emulator/worker.h"
#include "sched/topology.h"
#include "seccomp/filters.h"
#include "seccomp/sandbox.h"

#define WORKER_STACK (128u << 10)

/* What is in use lies together: the rest takes no memory. */
struct emulator {
	const struct machine *machine; /* in the request file, which we cannot write */
	uint8_t *requests;
	uint8_t *replies;
	uint8_t *staging;          /* behind guest memory: the kernel's image, for the loader */
	uint32_t incarnation;      /* see mailbox.h */
	char *title;               /* argv[0] ... */
	size_t title_room;         /* ... and its size */
	pthread_barrier_t started; /* the workers have all they need */
	pthread_barrier_t go;      /* we are the active emulator, and the region is in order */
	struct core core;
	struct io io;
	struct worker worker[MAILBOX_SLOTS];
	struct instruction instruction[MACHINE_MAX_VCPUS];
	struct filter filter;
	struct x86_cpu cpu[MACHINE_MAX_VCPUS]; /* takes no memory until it is used */
};

static struct emulator emulator;

static struct emulator_status *status(void)
{
	return mailbox_status(emulator.replies, emulator.incarnation);
}

static void report(uint32_t state)
{
	__atomic_store_n(&status()->state, state, __ATOMIC_SEQ_CST);
	futex_wake(&status()->state);
}

/* Before the filters only: says what failed and ends. */
static void __attribute__((noreturn)) fail(const char *what, int err)
{
	snprintf(status()->message, sizeof(status()->message), "%s: %s", what, strerror(-err));
	report(EMULATOR_FAILED);
	_exit(1);
}

/* Maps the whole of a descriptor and closes it. NULL: errno says why. */
static void *map_and_close(int fd, int prot)
{
	struct stat st;
	void *p = MAP_FAILED;

	if (fstat(fd, &st) == 0)
		p = mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return NULL;
	close(fd);
	return p;
}

static void map_files(struct emulator *e)
{
	struct guest_memory memory;
	void *region, *ram;
	int err;

	e->requests = map_and_close(FD_REQUEST, PROT_READ);
	e->replies = map_and_close(FD_REPLY, PROT_READ | PROT_WRITE);
	if (!e->requests || !e->replies)
		_exit(1); /* nobody to tell; dvmm sees the exit */
	e->machine = (const struct machine *)e->requests;
	region = map_and_close(FD_REGION, PROT_READ | PROT_WRITE);
	ram = map_and_close(FD_MEMORY, PROT_READ | PROT_WRITE);
	if (!region || !ram)
		fail("cannot map shared memory", -errno);
	machine_memory(e->machine, ram, &memory);
	e->staging = (uint8_t *)ram + e->machine->ram_bytes;
	err = core_init(&e->core, e->machine, region, &memory);
	if (err)
		fail("cannot lay out the state region", err);
	if (e->machine->count_instructions)
		e->core.x86_counts = mailbox_counts(e->replies, e->machine->vcpus);
	e->core.published = mailbox_published(e->replies, e->machine->vcpus);
	chaos_attach(&e->core, e->replies);
}

/* After registration with the ring, backing files are reached through it alone; the eventfds stay, workers
 * write them. */
static void start_ring(struct emulator *e)
{
	int err = io_init(&e->io, &e->core);

	if (!err && e->io.ring.ring_fd != FILTER_RING)
		err = -EBADFD;
	if (err)
		fail("cannot set up io_uring", err);
	io_show_beat(&e->io, &mailbox_control(e->requests)->beat, mailbox_io_beat(e->replies));
	close(e->machine->beat_fd); /* the ring has it */
	for (uint32_t i = 0; i < e->machine->devices; i++)
		if (e->machine->device[i].file_fd >= 0)
			close(e->machine->device[i].file_fd);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	int err = sched_pin_thread(0, __atomic_load_n(&emulator.machine->worker_cpu[w->slot], __ATOMIC_RELAXED));
	char name[16];

	__atomic_store_n(mailbox_worker_tid(emulator.replies, w->slot, emulator.incarnation), gettid(),
			 __ATOMIC_RELAXED);
	sched_leave_rseq();
	worker_name(name, w->slot);
	prctl(PR_SET_NAME, name);
	if (err)
		fail("cannot bind a worker to its CPU", err);
	pthread_barrier_wait(&emulator.started);
	pthread_barrier_wait(&emulator.go);
	worker_run(w);
	syscall(SYS_exit, 0); /* returning would give back the stack, with calls that the filter forbids */
	return NULL;
}

static struct instruction *instruction_of(struct emulator *e, uint32_t slot)
{
	const struct machine *m = e->machine;

	if (slot >= m->vcpus)
		return NULL;
	e->instruction[slot] = (struct instruction){
		.asked = mailbox_request_cpu(e->requests, m->vcpus, slot),
		.answer = mailbox_reply_cpu(e->replies, m->vcpus, slot),
		.cpu = &e->cpu[slot],
	};
	return &e->instruction[slot];
}

static void start_workers(struct emulator *e)
{
	uint32_t workers = e->machine->vcpus + 1;
	pthread_attr_t attr;

	pthread_barrier_init(&e->started, NULL, workers + 1);
	pthread_barrier_init(&e->go, NULL, workers + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	for (uint32_t i = 0; i < workers; i++) {
		pthread_t thread;
		int err;

		e->worker[i] = (struct worker){
			.core = &e->core,
			.queue = mailbox_queue(e->requests, i),
			.reply = mailbox_reply(e->replies, i),
			.claim = mailbox_claim(e->replies, i),
			.slot = i,
			.instruction = instruction_of(e, i),
			.spin_ns = e->machine->handoff == HANDOFF_SPIN ? e->machine->spin_ns : 0,
		};
		err = pthread_create(&thread, &attr, worker_main, &e->worker[i]);
		if (err)
			fail("cannot start a worker", -err);
	}
}

static uint64_t largest_disk_bytes(const struct machine *m)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < m->devices; i++)
		if (m->device[i].config.capacity * 512 > bytes)
			bytes = m->device[i].config.capacity * 512;
	return bytes;
}

/* A stage of the sandbox that failed has written its line. */
static void require(int err)
{
	if (err) {
		report(EMULATOR_FAILED);
		_exit(1);
	}
}

/* The first of all emulators makes a guest of the kernel file. dvmm takes the staging area away afterwards.
 */
static void load_kernel(struct emulator *e)
{
	const struct loader_request *request = mailbox_loader_request(e->requests);

	__atomic_store_n(&status()->state, EMULATOR_LOADING, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&request->posted, __ATOMIC_SEQ_CST))
		futex_wait(&request->posted, 0, NULL);
	loader_run(request, &e->core.memory, e->staging, mailbox_loader_result(e->replies));
}

/* Stands by until dvmm says that it is our turn. */
static void wait_for_turn(struct emulator *e)
{
	const uint32_t *active = &mailbox_control(e->requests)->active;
	uint32_t now;

	while ((now = __atomic_load_n(active, __ATOMIC_SEQ_CST)) != e->incarnation)
		futex_wait(active, now, NULL);
}

static bool unanswered(void *context, uint32_t slot, uint32_t seq)
{
	struct emulator *e = context;

	/* Only the oldest can have been begun. */
	return __atomic_load_n(&mailbox_reply(e->replies, slot)->seq, __ATOMIC_ACQUIRE) == seq - 1 &&
	       queue_has(mailbox_queue(e->requests, slot), seq);
}

static void publish_late(void *context, uint32_t slot, const struct reply *reply)
{
	struct emulator *e = context;

	worker_publish(&e->worker[slot], reply);
}

/* For ps, pidof and so on: the name of the process, and its first argument, as far as there is room. */
static void set_name(struct emulator *e, const char *name)
{
	prctl(PR_SET_NAME, name);
	if (e->title_room > strlen(name))
		memcpy(e->title, name, strlen(name) + 1);
}

/* What each emulator does, from its birth on. */
static void emulate(uint32_t incarnation)
{
	struct emulator *e = &emulator;
	int err;

	set_name(e, "dvmm-emulator");
	e->incarnation = incarnation;
	sched_leave_rseq();
	start_ring(e);
	start_workers(e);
	if (incarnation != FIRST_INCARNATION)
		image_release_startup(); /* a standby has the time, and no start waits for it */
	pthread_barrier_wait(&e->started);
	require(sandbox_seal(largest_disk_bytes(e->machine), status()->message));
	err = filter_load_process(&e->filter);
	if (err)
		fail("cannot install the system call filter", err);
	if (e->incarnation == FIRST_INCARNATION)
		load_kernel(e);
	report(EMULATOR_READY);
	wait_for_turn(e);
	core_recover(&e->core, unanswered, publish_late, e);
	pthread_barrier_wait(&e->go);
	io_run(&e->io);
}

int main(int argc, char **argv)
{
	struct emulator *e = &emulator;

	e->title = argv[0];
	e->title_room = argc > 0 ? strlen(argv[0]) + 1 : 0;
	set_name(e, "dvmm-spawner");
	futex_choose();
	e->incarnation = FIRST_INCARNATION; /* who has it hears of what goes wrong here */
	map_files(e);
	require(sandbox_enter(status()->message));
	filter_build(&e->filter, FILTER_EMULATOR, -1);
	spawner_serve(e->replies, emulate);
}

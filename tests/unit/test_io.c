/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O thread and a worker at work: doorbells, files, what is damaged, what is cancelled.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "devices/uart16550.h"
#include "devices/virtio_mmio.h"
#include "emulator/futex.h"
#include "emulator/instruction.h"
#include "emulator/io.h"
#include "emulator/worker.h"

enum { UART, RNG, DISK, NO_DISK, DEVICES };

#define RAM_BYTES 0x10000u
#define SECTORS   16u
#define SIZE      8u /* of the queue */
#define AVAIL     0x1000u
#define USED      0x2000u
#define HEADER    0x3000u
#define STATUS    0x3100u
#define DATA      0x4000u

static struct machine machine;
static struct core core;
static struct io io;
static uint8_t *region, *ram;
static pthread_t thread;

static void add(unsigned n, uint32_t type, uint32_t space, uint64_t base, uint64_t size)
{
	machine.device[n] = (struct machine_device){.type = type, .space = space, .base = base, .size = size,
						    .irq_fd = eventfd(0, EFD_NONBLOCK), .queue_fd = -1,
						    .file_fd = -1, .config = {.capacity = SECTORS}};
	if (device_ops_of(type)->queues)
		machine.device[n].queue_fd = eventfd(0, 0);
}

static void setup(void)
{
	char path[] = "/tmp/dvmm-test-XXXXXX";
	struct region_layout layout;
	struct guest_memory memory;

	machine.vcpus = 1;
	machine.devices = DEVICES;
	machine.ram_bytes = RAM_BYTES;
	add(UART, DEVICE_UART, BUS_PIO, UART_PORT, 8);
	add(RNG, DEVICE_VIRTIO_RNG, BUS_MMIO, VIRTIO_MMIO_BASE, VIRTIO_MMIO_SIZE);
	add(DISK, DEVICE_VIRTIO_BLK, BUS_MMIO, VIRTIO_MMIO_BASE + VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE);
	add(NO_DISK, DEVICE_VIRTIO_BLK, BUS_MMIO, VIRTIO_MMIO_BASE + 2 * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE);
	machine.device[DISK].file_fd = mkstemp(path);
	unlink(path);
	ck_assert_int_eq(ftruncate(machine.device[DISK].file_fd, SECTORS * 512), 0);
	ck_assert_int_eq(region_layout(&machine, &layout), 0);
	region = aligned_alloc(4096, layout.size);
	ram = aligned_alloc(4096, RAM_BYTES);
	memset(region, 0, layout.size);
	memset(ram, 0, RAM_BYTES);
	region_init(&machine, &layout, region);
	machine_memory(&machine, ram, &memory);
	ck_assert_int_eq(core_init(&core, &machine, region, &memory), 0);
	ck_assert_int_eq(io_init(&io, &core), 0);
}

static void *io_main(void *arg)
{
	io_run(&io);
	return NULL;
}

static void start(void) { ck_assert_int_eq(pthread_create(&thread, NULL, io_main, NULL), 0); }

static void keep_reply(void *to, const struct reply *reply) { *(struct reply *)to = *reply; }

static uint32_t mmio(unsigned device, bool write, uint32_t reg, uint32_t value)
{
	struct request req = {.kind = write ? REQUEST_WRITE : REQUEST_READ, .space = BUS_MMIO,
			      .addr = machine.device[device].base + reg, .size = 4, .count = 1};
	struct reply reply = {0};

	memcpy(req.data, &value, sizeof(value));
	core_request(&core, &(struct core_client){.context = &reply, .publish = keep_reply}, &req);
	memcpy(&value, reply.data, sizeof(value));
	return value;
}

static void bring_up(unsigned device)
{
	static const uint32_t steps[][2] = {
		{VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER},
		{VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1}, {VIRTIO_MMIO_DRIVER_FEATURES, 1},
		{VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FEATURES_OK}, {VIRTIO_MMIO_QUEUE_NUM, SIZE},
		{VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL}, {VIRTIO_MMIO_QUEUE_USED_LOW, USED}, {VIRTIO_MMIO_QUEUE_READY, 1},
		{VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_DRIVER_OK}};

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		mmio(device, true, steps[i][0], steps[i][1]);
	ck_assert_uint_eq(mmio(device, false, VIRTIO_MMIO_QUEUE_READY, 0), 1);
}

static void describe(unsigned i, uint64_t gpa, uint32_t len, uint16_t flags)
{
	((struct vring_desc *)ram)[i] = (struct vring_desc){gpa, len, flags, (uint16_t)(i + 1)};
}

/* Shows the chain at descriptor `head` to the device and rings; by a register, or as KVM does. */
static void offer(unsigned device, uint16_t head, bool by_eventfd)
{
	struct vring_avail *avail = (void *)(ram + AVAIL);

	avail->ring[avail->idx % SIZE] = head;
	__atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
	if (by_eventfd)
		ck_assert_int_eq(eventfd_write(machine.device[device].queue_fd, 1), 0);
	else
		mmio(device, true, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void wait_used(uint16_t index)
{
	const struct vring_used *used = (const void *)(ram + USED);

	for (int i = 0; i < 10000 && __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != index; i++)
		usleep(1000);
	ck_assert_uint_eq(used->idx, index);
}

static uint8_t disk_request(unsigned device, uint32_t type, uint64_t sector, uint32_t bytes, bool by_eventfd)
{
	const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	const uint16_t before = ((struct vring_used *)(ram + USED))->idx;

	memcpy(ram + HEADER, &header, sizeof(header));
	ram[STATUS] = 0xee;
	describe(0, HEADER, sizeof(header), VRING_DESC_F_NEXT);
	/* In two pieces, so that a short transfer may end inside of one. */
	describe(1, DATA, bytes / 2, VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0));
	describe(2, DATA + bytes / 2, bytes - bytes / 2,
		 VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0));
	describe(3, STATUS, 1, VRING_DESC_F_WRITE);
	offer(device, 0, by_eventfd);
	wait_used((uint16_t)(before + 1));
	return ram[STATUS];
}

START_TEST(what_is_written_is_read)
{
	uint64_t interrupts;

	start();
	bring_up(DISK);
	memset(ram + DATA, 0x3c, 1024);
	ck_assert_uint_eq(disk_request(DISK, VIRTIO_BLK_T_OUT, 2, 1024, _i), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(disk_request(DISK, VIRTIO_BLK_T_FLUSH, 0, 0, _i), VIRTIO_BLK_S_OK);
	memset(ram + DATA, 0, 1024);
	ck_assert_uint_eq(disk_request(DISK, VIRTIO_BLK_T_IN, 2, 1024, _i), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 1024; i++)
		ck_assert_uint_eq(ram[DATA + i], 0x3c);
	ck_assert_int_eq(read(machine.device[DISK].irq_fd, &interrupts, sizeof(interrupts)), sizeof(interrupts));
}
END_TEST

/* The file has become shorter than the disk, ends inside of a piece, or is not there. */
START_TEST(files_that_end)
{
	start();
	bring_up(DISK);
	ck_assert_int_eq(ftruncate(machine.device[DISK].file_fd, 512 + 100), 0);
	ck_assert_uint_eq(disk_request(DISK, VIRTIO_BLK_T_IN, 0, 2048, true), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(disk_request(DISK, VIRTIO_BLK_T_IN, 4, 512, true), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(disk_request(DISK, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(no_file)
{
	start();
	bring_up(NO_DISK);
	ck_assert_uint_eq(disk_request(NO_DISK, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(random_numbers)
{
	const struct vring_used *used = (const void *)(ram + USED);
	unsigned zeros = 0;

	start();
	bring_up(RNG);
	describe(0, DATA, 1000, VRING_DESC_F_WRITE);
	offer(RNG, 0, true);
	wait_used(1);
	ck_assert_uint_eq(used->ring[0].len, 1000);
	for (unsigned i = 0; i < 1000; i++)
		zeros += !ram[DATA + i];
	ck_assert_uint_lt(zeros, 100);
	ck_assert_uint_eq(ram[DATA + 1000], 0);
}
END_TEST

static void expect_beat(int pipe_fd, uint32_t *asked, const uint32_t *beat, uint32_t value)
{
	const uint64_t one = 1;

	__atomic_store_n(asked, value, __ATOMIC_SEQ_CST);
	ck_assert_int_eq(write(pipe_fd, &one, sizeof(one)), sizeof(one));
	for (int i = 0; i < 10000 && __atomic_load_n(beat, __ATOMIC_SEQ_CST) != value; i++)
		usleep(1000);
	ck_assert_uint_eq(__atomic_load_n(beat, __ATOMIC_SEQ_CST), value);
}

START_TEST(it_shows_that_it_lives)
{
	static uint32_t asked, beat;
	int end[2];

	ck_assert_int_eq(pipe(end), 0);
	machine.beat_fd = end[0];
	ck_assert_int_eq(io_init(&io, &core), 0);
	io_show_beat(&io, &asked, &beat);
	start();
	for (uint32_t i = 1; i < 4; i++)
		expect_beat(end[1], &asked, &beat, 5 * i);
}
END_TEST

static bool nobody(void *context, uint32_t slot, uint32_t seq) { return false; }
static void to_nobody(void *context, uint32_t slot, const struct reply *reply) {}

/* A predecessor has left I/O in flight: whole, with a segment outside of memory, with a record that says nothing. */
START_TEST(inherited_io)
{
	struct virtio_slot *slot = region_bulk_of(&core.layout, region, DISK);
	struct virtio_mmio *m;

	bring_up(DISK);
	m = region_state_of(&core.layout, region, DISK, region_current(&core.layout, region, DISK));
	for (unsigned i = 0; i < 3; i++)
		slot[i] = (struct virtio_slot){.status_gpa = STATUS + i, .wanted = 512, .in_bytes = 513, .head = i,
					       .io = {.kind = IO_READ, .count = 1, .seg = {{DATA, 512}}}};
	slot[1].io.seg[0].gpa = RAM_BYTES - 256;
	slot[2].io.kind = IO_NONE;
	m->slots = 7;
	m->queue.last_avail = ((struct vring_avail *)(ram + AVAIL))->idx = 3;
	memset(ram + STATUS, 0xee, 3);
	core_recover(&core, nobody, to_nobody, NULL);
	start();
	ck_assert_int_eq(eventfd_write(machine.device[DISK].queue_fd, 1), 0);
	wait_used(3);
	ck_assert_uint_eq(ram[STATUS], VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(ram[STATUS + 1], VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(ram[STATUS + 2], VIRTIO_BLK_S_IOERR);
}
END_TEST

/* Three more vCPUs at the same devices all the time. */
static void *other_vcpu(void *arg)
{
	const bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		mmio(DISK, false, VIRTIO_MMIO_STATUS, 0);
		mmio(DISK, true, VIRTIO_MMIO_INTERRUPT_ACK, 1);
		mmio(DISK, true, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	}
	return NULL;
}

START_TEST(several_vcpus)
{
	static bool stop;
	pthread_t other[3];

	start();
	bring_up(DISK);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&other[i], NULL, other_vcpu, &stop), 0);
	for (unsigned i = 0; i < 50; i++)
		ck_assert_uint_eq(disk_request(DISK, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, i % 8, 1024, i % 3),
				  VIRTIO_BLK_S_OK);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(other[i], NULL);
}
END_TEST

/* --- A worker ------------------------------------------------------------------------------------ */

static struct request_queue queue;
static struct reply reply;
static uint32_t claim;
static struct worker worker = {.core = &core, .queue = &queue, .reply = &reply, .claim = &claim};

static void *worker_main(void *arg)
{
	worker_run(&worker);
	return NULL;
}

/* Hands a request over, and leaves the worker asleep. */
static void post(uint32_t seq, uint32_t kind, uint64_t port, uint8_t value)
{
	struct request *request = queue_at(&queue, seq);

	request->kind = kind;
	request->space = BUS_PIO;
	request->addr = port;
	request->size = request->count = 1;
	request->data[0] = value;
	__atomic_store_n(&request->seq, seq, __ATOMIC_SEQ_CST);
}

static void wake_worker(void)
{
	__atomic_store_n(&reply.sleeping, 0, __ATOMIC_SEQ_CST);
	futex_wake(&reply.sleeping);
}

static void wait_until_answered(uint32_t seq)
{
	for (int i = 0; i < 10000 && __atomic_load_n(&reply.seq, __ATOMIC_ACQUIRE) != seq; i++)
		usleep(1000);
	ck_assert_uint_eq(__atomic_load_n(&reply.seq, __ATOMIC_ACQUIRE), seq);
}

static void write_scratch(uint32_t seq, uint8_t value)
{
	post(seq, REQUEST_WRITE, UART_PORT + 7, value);
	wake_worker();
	wait_until_answered(seq);
}

static void quit(uint32_t seq)
{
	post(seq, REQUEST_QUIT, 0, 0);
	wake_worker();
	pthread_join(thread, NULL);
}

static uint8_t scratch(void)
{
	const struct uart_state *s =
		region_state_of(&core.layout, region, UART, region_current(&core.layout, region, UART));

	return s->scr;
}

START_TEST(requests_and_cancellations)
{
	ck_assert_int_eq(pthread_create(&thread, NULL, worker_main, NULL), 0);
	write_scratch(1, 0x11);
	ck_assert_uint_eq(scratch(), 0x11);
	ck_assert_uint_eq(__atomic_load_n(&claim, __ATOMIC_ACQUIRE), CLAIM(1, CLAIM_COMMITTED));
	/* Completed by force before the worker has seen it: acknowledged, and nothing has happened. */
	__atomic_store_n(&claim, CLAIM(2, CLAIM_CANCELLED), __ATOMIC_SEQ_CST);
	write_scratch(2, 0x22);
	ck_assert_uint_eq(scratch(), 0x11);
	queue.cancelled = 3;
	write_scratch(3, 0x33);
	ck_assert_uint_eq(scratch(), 0x11);
	write_scratch(4, 0x44);
	ck_assert_uint_eq(scratch(), 0x44);
	quit(5);
	/* One that a predecessor had committed and not published. */
	worker_publish(&worker, &(struct reply){.seq = 5, .device = UART});
	ck_assert_uint_eq(reply.seq, 5);
}
END_TEST

/* As many as there can be, around the ring and past number 0, and one of them completed by force before it
 * was begun. */
START_TEST(posts_are_done_in_order)
{
	const struct uart_bulk *bulk = region_bulk_of(&core.layout, region, UART);
	uint32_t seq = UINT32_MAX - 40;

	reply.seq = seq;
	ck_assert_int_eq(pthread_create(&thread, NULL, worker_main, NULL), 0);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < MAILBOX_RING; i++)
			post(++seq, REQUEST_WRITE, UART_PORT, (uint8_t)('A' + i));
		if (round == 1)
			__atomic_store_n(&queue.cancelled, seq - 3, __ATOMIC_SEQ_CST);
		wake_worker();
		wait_until_answered(seq);
		ck_assert_uint_eq(reply.console_head, (round + 1) * MAILBOX_RING - (round > 0));
	}
	ck_assert_mem_eq(bulk->ring,
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\^_`"
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`",
			 3 * MAILBOX_RING - 1);
	/* Later replies say it too, also those of requests that put nothing there. */
	write_scratch(++seq, 0x55);
	ck_assert_uint_eq(reply.console_head, 3 * MAILBOX_RING - 1);
	quit(seq + 1);
}
END_TEST

/* A worker begins where its predecessor has ended, with what that had not come to. */
START_TEST(posts_outlive_a_worker)
{
	const struct uart_bulk *bulk = region_bulk_of(&core.layout, region, UART);

	post(1, REQUEST_WRITE, UART_PORT, 'x');
	post(2, REQUEST_WRITE, UART_PORT, 'y');
	post(3, REQUEST_QUIT, 0, 0);
	worker_run(&worker);
	ck_assert_uint_eq(reply.seq, 2);
	post(4, REQUEST_WRITE, UART_PORT, 'w');
	post(5, REQUEST_QUIT, 0, 0);
	post(3, REQUEST_WRITE, UART_PORT, 'z');
	worker_run(&worker);
	ck_assert_uint_eq(reply.seq, 4);
	ck_assert_mem_eq(bulk->ring, "xyzw", 4);
}
END_TEST

START_TEST(instructions_that_were_committed_are_finished)
{
	static struct x86_cpu asked, answer, cpu;
	static struct instruction instruction = {&asked, &answer, &cpu};

	answer.stores.count = 1;
	answer.stores.entry[0] = (struct x86_store){.gpa = DATA, .size = 1, .data = {0x77}};
	worker.instruction = &instruction;
	claim = CLAIM(1, CLAIM_COMMITTED);
	queue_at(&queue, 1)->kind = REQUEST_X86;
	queue_at(&queue, 1)->seq = 1;
	ck_assert_int_eq(pthread_create(&thread, NULL, worker_main, NULL), 0);
	for (int i = 0; i < 10000 && __atomic_load_n(&reply.seq, __ATOMIC_ACQUIRE) != 1; i++)
		usleep(1000);
	ck_assert_uint_eq(__atomic_load_n(&reply.seq, __ATOMIC_ACQUIRE), 1);
	ck_assert_uint_eq(ram[DATA], 0x77);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("io");
	TCase *t = tcase_create("io");
	SRunner *r;
	struct io_uring ring;
	int failed;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return 77; /* no io_uring here */
	io_uring_queue_exit(&ring);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_is_written_is_read, 0, 2);
	tcase_add_test(t, files_that_end);
	tcase_add_test(t, no_file);
	tcase_add_test(t, random_numbers);
	tcase_add_test(t, it_shows_that_it_lives);
	tcase_add_test(t, inherited_io);
	tcase_add_test(t, several_vcpus);
	tcase_add_test(t, requests_and_cancellations);
	tcase_add_test(t, posts_are_done_in_order);
	tcase_add_test(t, posts_outlive_a_worker);
	tcase_add_test(t, instructions_that_were_committed_are_finished);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O thread's ring after io_init(): what the kernel still lets it do, and what not, whoever fills its entries in. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "emulator/io.h"

#define DOORBELL 0 /* registered files: emulator/io.c */
#define DISK     1

static struct machine machine;
static struct core core;
static struct io io;
static uint8_t buffer[512];
static struct iovec vector = {buffer, sizeof(buffer)};

static void setup(void)
{
	char path[] = "/tmp/dvmm-test-XXXXXX";
	struct guest_memory memory = {0};

	machine.vcpus = machine.devices = 1;
	machine.device[0] = (struct machine_device){
		.type = DEVICE_VIRTIO_BLK,
		.irq_fd = -1,
		.queue_fd = eventfd(0, 0),
		.file_fd = mkstemp(path),
	};
	unlink(path);
	ck_assert_int_eq(ftruncate(machine.device[0].file_fd, 4096), 0);
	ck_assert_int_eq(core_init(&core, &machine, NULL, &memory), 0);
	ck_assert_int_eq(io_init(&io, &core), 0);
}

/* What becomes of one entry. */
static int result_of(const struct io_uring_sqe *entry)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&io.ring);
	struct io_uring_cqe *cqe;
	int result;

	*sqe = *entry;
	ck_assert_int_ge(io_uring_submit_and_wait(&io.ring, 1), 0);
	ck_assert_int_eq(io_uring_peek_cqe(&io.ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(&io.ring, cqe);
	return result;
}

START_TEST(what_disks_need)
{
	struct io_uring_sqe e;

	io_uring_prep_writev(&e, DISK, &vector, 1, 512);
	e.flags = IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of(&e), 512);
	io_uring_prep_readv(&e, DISK, &vector, 1, 0);
	e.flags = IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of(&e), 512);
	io_uring_prep_fsync(&e, DISK, IORING_FSYNC_DATASYNC);
	e.flags = IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of(&e), 0);
	ck_assert_int_eq(eventfd_write(machine.device[0].queue_fd, 3), 0);
	io_uring_prep_read(&e, DOORBELL, buffer, 8, 0);
	e.flags = IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of(&e), 8);
}
END_TEST

START_TEST(no_other_operation)
{
	for (unsigned op = 0; op < 256; op++) {
		struct io_uring_sqe e = {.opcode = (uint8_t)op, .fd = DISK, .flags = IOSQE_FIXED_FILE};

		if (op == IORING_OP_READ || op == IORING_OP_READV || op == IORING_OP_WRITEV || op == IORING_OP_FSYNC)
			continue;
		ck_assert_int_lt(result_of(&e), 0);
		/* Not just because the rest of the entry makes no sense. */
		if (op == IORING_OP_NOP || op == IORING_OP_WRITE || op == IORING_OP_OPENAT || op == IORING_OP_FALLOCATE ||
		    op == IORING_OP_MADVISE || op == IORING_OP_FILES_UPDATE || op == IORING_OP_SENDMSG)
			ck_assert_int_eq(result_of(&e), -EACCES);
	}
}
END_TEST

START_TEST(no_other_flag)
{
	/* Not a plain descriptor, and nothing beside it: drain, link, hard link, async, buffer select, skip. */
	static const unsigned flags[] = {0, 3, 5, 9, 17, 33, 65};
	struct io_uring_sqe e;

	io_uring_prep_readv(&e, DISK, &vector, 1, 0);
	e.flags = (uint8_t)flags[_i];
	ck_assert_int_eq(result_of(&e), -EACCES);
}
END_TEST

START_TEST(no_other_file)
{
	struct io_uring_sqe e;
	int fd = eventfd(0, 0);

	io_uring_prep_readv(&e, 2, &vector, 1, 0);
	e.flags = IOSQE_FIXED_FILE;
	ck_assert_int_eq(result_of(&e), -EBADF);
	ck_assert_int_lt(io_uring_register_files_update(&io.ring, 0, &fd, 1), 0);
	ck_assert_int_lt(io_uring_register_buffers(&io.ring, &vector, 1), 0);
	ck_assert_int_lt(io_uring_register_eventfd(&io.ring, fd), 0);
	ck_assert_int_lt(io_uring_register_personality(&io.ring), 0);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("io_ring");
	TCase *t = tcase_create("io_ring");
	SRunner *r;
	struct io_uring ring;
	int failed;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return 77; /* no io_uring here */
	io_uring_queue_exit(&ring);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, what_disks_need);
	tcase_add_test(t, no_other_operation);
	tcase_add_loop_test(t, no_other_flag, 0, 7);
	tcase_add_test(t, no_other_file);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk: devices/virtio_blk.c, its requests, their records, and what survives a restart. */
#include "tests/unit/virtio_harness.h"

#include <linux/virtio_blk.h>

#include "devices/virtio_blk.h"

#define SECTORS       1000u
#define FLUSH         F(VIRTIO_BLK_F_FLUSH)
#define STATUS_GPA(n) (DATA_GPA - 256 + (n)) /* status byte of request n */
#define HEADER_GPA(n) (DATA_GPA - 0x2000 + 16 * (n))

static struct rig r;
static const struct device_config disk = {.capacity = SECTORS, .serial = "0123456789abcdefghij"};
static const struct device_config read_only = {.capacity = SECTORS, .read_only = 1};
static const uint64_t layouts[] = {FLUSH, FLUSH | INDIRECT, FLUSH | EVENT_IDX, FLUSH | INDIRECT | EVENT_IDX};

static void set_up(const struct device_config *cfg, uint64_t features, uint16_t size)
{
	rig_new(&r, &virtio_blk_ops, cfg);
	driver_start(&r, features, size);
}

static void header_set(unsigned n, uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr h = {.type = type, .sector = sector};

	memcpy(r.driver.ram + HEADER_GPA(n), &h, sizeof(h));
	r.driver.ram[STATUS_GPA(n)] = 0xff;
}

/* The usual layout: header, at most one piece of data, status. Rings no doorbell. */
static uint16_t request_add(unsigned n, uint32_t type, uint64_t sector, uint64_t gpa, uint32_t len)
{
	const struct buffer b[] = {
		{HEADER_GPA(n), 16, false},
		{gpa, len, type != VIRTIO_BLK_T_OUT},
		{STATUS_GPA(n), 1, true},
	};
	const struct buffer without_data[] = {b[0], b[2]};

	header_set(n, type, sector);
	return len ? driver_add(&r.driver, b, 3) : driver_add(&r.driver, without_data, 2);
}

static void answer_expect(unsigned n, uint16_t head, uint8_t status, uint32_t len)
{
	struct vring_used_elem e;

	ck_assert(driver_take(&r.driver, &e));
	ck_assert_uint_eq(e.id, head);
	ck_assert_uint_eq(r.driver.ram[STATUS_GPA(n)], status);
	ck_assert_uint_eq(e.len, len);
}

/* A request that is to be answered at once. */
static void answer_at_once(uint32_t type, uint64_t sector, uint32_t bytes, uint8_t status, uint32_t len)
{
	uint16_t head = request_add(0, type, sector, DATA_GPA, bytes);

	rig_notify(&r);
	ck_assert_uint_eq(r.started, 0);
	answer_expect(0, head, status, len);
}

START_TEST(read_write_flush)
{
	struct io_request req;
	uint16_t head[3];

	set_up(&disk, layouts[_i], 16);
	head[0] = request_add(0, VIRTIO_BLK_T_IN, 7, DATA_GPA, 1024);
	head[1] = request_add(1, VIRTIO_BLK_T_OUT, SECTORS - 1, HIGH_GPA, 512);
	head[2] = request_add(2, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 7);

	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.kind, IO_READ);
	ck_assert_uint_eq(req.offset, 7 * 512);
	ck_assert_uint_eq(req.count, 1);
	ck_assert_uint_eq(req.seg[0].gpa, DATA_GPA);
	ck_assert_uint_eq(req.seg[0].len, 1024);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 1, &req));
	ck_assert_uint_eq(req.kind, IO_WRITE);
	ck_assert_uint_eq(req.sync, 0);
	ck_assert_uint_eq(req.offset, (SECTORS - 1) * 512);
	ck_assert_uint_eq(req.seg[0].gpa, HIGH_GPA);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 2, &req));
	ck_assert_uint_eq(req.kind, IO_FLUSH);
	ck_assert_uint_eq(req.count, 0);
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 3, &req));

	/* They end in any order. */
	*used_event(&r.driver) = 0;
	rig_complete(&r, 2, 0);
	*used_event(&r.driver) = 1;
	rig_complete(&r, 0, 1024);
	*used_event(&r.driver) = 2;
	rig_complete(&r, 1, 512);
	ck_assert_uint_eq(r.irqs, 3);
	answer_expect(2, head[2], VIRTIO_BLK_S_OK, 1);
	answer_expect(0, head[0], VIRTIO_BLK_S_OK, 1025);
	answer_expect(1, head[1], VIRTIO_BLK_S_OK, 1);
	ck_assert_uint_eq(rig_pending(&r), 0);
	rig_free(&r);
}
END_TEST

/* Anything but the number of bytes asked for is a failure; after a failed read no data counts as written. */
START_TEST(failed_io)
{
	const int32_t read_results[] = {-5, 0, 1023, 1025, INT32_MIN, INT32_MAX};
	uint16_t head;

	set_up(&disk, FLUSH, 16);
	for (unsigned i = 0; i < sizeof(read_results) / sizeof(read_results[0]); i++) {
		head = request_add(0, VIRTIO_BLK_T_IN, 0, DATA_GPA, 1024);
		rig_notify(&r);
		rig_complete(&r, 0, read_results[i]);
		answer_expect(0, head, VIRTIO_BLK_S_IOERR, 0);
	}
	head = request_add(0, VIRTIO_BLK_T_OUT, 0, DATA_GPA, 1024);
	rig_notify(&r);
	rig_complete(&r, 0, 512);
	answer_expect(0, head, VIRTIO_BLK_S_IOERR, 1);
	head = request_add(0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	rig_notify(&r);
	rig_complete(&r, 0, -5);
	answer_expect(0, head, VIRTIO_BLK_S_IOERR, 1);
	rig_free(&r);
}
END_TEST

START_TEST(bad_requests)
{
	set_up(&disk, FLUSH, 16);
	answer_at_once(VIRTIO_BLK_T_IN, SECTORS, 512, VIRTIO_BLK_S_IOERR, 0);
	answer_at_once(VIRTIO_BLK_T_IN, SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR, 0);
	answer_at_once(VIRTIO_BLK_T_IN, UINT64_MAX, 512, VIRTIO_BLK_S_IOERR, 0);
	answer_at_once(VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 512, VIRTIO_BLK_S_IOERR,
		       0); /* offset 0 modulo 2^64 */
	answer_at_once(VIRTIO_BLK_T_IN, 0, 511, VIRTIO_BLK_S_IOERR, 0);
	answer_at_once(VIRTIO_BLK_T_IN, 0, 0, VIRTIO_BLK_S_IOERR, 1);
	answer_at_once(VIRTIO_BLK_T_OUT, SECTORS, 512, VIRTIO_BLK_S_IOERR, 1);
	answer_at_once(VIRTIO_BLK_T_OUT, 0, 513, VIRTIO_BLK_S_IOERR, 1);
	answer_at_once(VIRTIO_BLK_T_DISCARD, 0, 512, VIRTIO_BLK_S_UNSUPP, 0);
	answer_at_once(0xffffffff, 0, 0, VIRTIO_BLK_S_UNSUPP, 1);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), STATUS_RUNNING);
	rig_free(&r);

	set_up(&read_only, FLUSH, 16);
	answer_at_once(VIRTIO_BLK_T_OUT, 0, 512, VIRTIO_BLK_S_IOERR, 1);
	request_add(0, VIRTIO_BLK_T_IN, 0, DATA_GPA, 512);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 1);
	rig_free(&r);
}
END_TEST

START_TEST(get_id)
{
	set_up(&disk, FLUSH, 16);
	memset(r.driver.ram + DATA_GPA, 0xee, 64);
	answer_at_once(VIRTIO_BLK_T_GET_ID, 0, 20, VIRTIO_BLK_S_OK, 21);
	ck_assert_mem_eq(r.driver.ram + DATA_GPA, "0123456789abcdefghij\xee", 21);
	memset(r.driver.ram + DATA_GPA, 0xee, 64);
	answer_at_once(VIRTIO_BLK_T_GET_ID, 0, 4, VIRTIO_BLK_S_OK, 5);
	ck_assert_mem_eq(r.driver.ram + DATA_GPA, "0123\xee", 5);
	answer_at_once(VIRTIO_BLK_T_GET_ID, 0, 32, VIRTIO_BLK_S_OK, 20);
	ck_assert_mem_eq(r.driver.ram + DATA_GPA, "0123456789abcdefghij\xee", 21);
	rig_free(&r);
}
END_TEST

/* The bytes are a stream: header and status may lie in any descriptors. _i: bytes of header in the first one.
 */
START_TEST(any_layout)
{
	const uint32_t split = (uint32_t)_i;
	struct io_request req;
	uint16_t head;
	/* A write: the rest of the header and the data share a descriptor. */
	const struct buffer out[] = {
		{HEADER_GPA(0), split, false},
		{DATA_GPA + split, 16 - split + 512, false},
		{STATUS_GPA(0), 1, true},
	};
	/* A read: the data ends and the status begins in the middle of a descriptor. */
	const struct buffer in[] = {
		{HEADER_GPA(0), split, false},
		{DATA_GPA + split, 16 - split, false},
		{DATA_GPA + 0x100, 500, true},
		{DATA_GPA + 0x400, 13, true},
	};

	set_up(&disk, FLUSH | INDIRECT, 16);
	header_set(0, VIRTIO_BLK_T_OUT, 3);
	memcpy(r.driver.ram + DATA_GPA, r.driver.ram + HEADER_GPA(0), 16);
	memset(r.driver.ram + HEADER_GPA(0) + split, 0xff, 16 - split);
	head = driver_add(&r.driver, out, 3);
	rig_notify(&r);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.offset, 3 * 512);
	ck_assert_uint_eq(req.count, 1);
	ck_assert_uint_eq(req.seg[0].gpa, DATA_GPA + 16);
	ck_assert_uint_eq(req.seg[0].len, 512);
	rig_complete(&r, 0, 512);
	answer_expect(0, head, VIRTIO_BLK_S_OK, 1);

	header_set(0, VIRTIO_BLK_T_IN, 5);
	memcpy(r.driver.ram + DATA_GPA, r.driver.ram + HEADER_GPA(0), 16);
	head = driver_add(&r.driver, in, 4);
	rig_notify(&r);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.count, 2);
	ck_assert_uint_eq(req.seg[0].len, 500);
	ck_assert_uint_eq(req.seg[1].gpa, DATA_GPA + 0x400);
	ck_assert_uint_eq(req.seg[1].len, 12);
	r.driver.ram[DATA_GPA + 0x400 + 12] = 0xff;
	rig_complete(&r, 0, 512);
	ck_assert_uint_eq(r.driver.ram[DATA_GPA + 0x400 + 12], VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(device_ring(&r.driver)->ring[1].len, 513);
	rig_free(&r);
}
END_TEST

/* No room for a header or for a status byte: there is no answer. */
START_TEST(unanswerable)
{
	const struct buffer short_header[] = {{HEADER_GPA(0), 15, false}, {STATUS_GPA(0), 1, true}};
	const struct buffer no_status[] = {{HEADER_GPA(0), 16, false}, {DATA_GPA, 0, true}};

	set_up(&disk, FLUSH, 16);
	header_set(0, VIRTIO_BLK_T_FLUSH, 0);
	if (_i)
		driver_add(&r.driver, short_header, 2);
	else
		driver_add(&r.driver, no_status, 2);
	rig_notify(&r);
	assert_broken(&r);
	ck_assert_uint_eq(r.started, 0);
	rig_free(&r);
}
END_TEST

/* As many pieces of data as a request can record, and one more. */
START_TEST(segment_limit)
{
	struct buffer b[2 + IO_SEGMENTS + 1];
	unsigned n = IO_SEGMENTS + (unsigned)_i;
	uint16_t head;

	set_up(&disk, FLUSH | INDIRECT, 16);
	header_set(0, VIRTIO_BLK_T_OUT, 0);
	b[0] = (struct buffer){HEADER_GPA(0), 16, false};
	for (unsigned i = 0; i < n; i++)
		b[1 + i] = (struct buffer){DATA_GPA + 1024 * i, 512, false};
	b[1 + n] = (struct buffer){STATUS_GPA(0), 1, true};
	head = driver_add(&r.driver, b, 2 + n);
	rig_notify(&r);
	if (_i) {
		answer_expect(0, head, VIRTIO_BLK_S_IOERR, 1);
	} else {
		rig_complete(&r, 0, (int32_t)n * 512);
		answer_expect(0, head, VIRTIO_BLK_S_OK, 1);
	}
	rig_free(&r);
}
END_TEST

/* 5.2.6.2: a driver without FLUSH gets a write-through cache. */
START_TEST(write_through)
{
	struct io_request req;

	set_up(&disk, 0, 16);
	request_add(0, VIRTIO_BLK_T_OUT, 0, DATA_GPA, 512);
	request_add(1, VIRTIO_BLK_T_IN, 0, DATA_GPA, 512);
	rig_notify(&r);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.sync, 1);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 1, &req));
	ck_assert_uint_eq(req.sync, 0);
	rig_free(&r);
}
END_TEST

/* Every entry of the largest queue in flight, then all of them once more; a doorbell in between finds
 * nothing. */
START_TEST(full_queue)
{
	uint16_t head[64];

	set_up(&disk, layouts[_i] | INDIRECT, 64);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned n = 0; n < 64; n++)
			head[n] = request_add(n, VIRTIO_BLK_T_IN, n, DATA_GPA + 512 * n, 512);
		rig_notify(&r);
		rig_notify(&r);
		ck_assert_uint_eq(rig_pending(&r), UINT64_MAX);
		ck_assert_uint_eq(r.started, UINT64_MAX);
		for (unsigned n = 0; n < 64; n++) {
			unsigned slot = (n * 37 + 11) % 64;

			rig_complete(&r, slot, 512);
			answer_expect(slot, head[slot], VIRTIO_BLK_S_OK, 513);
		}
		ck_assert_uint_eq(rig_pending(&r), 0);
	}
	/* One more than the queue holds. */
	for (unsigned n = 0; n < 64; n++)
		request_add(n, VIRTIO_BLK_T_IN, n, DATA_GPA + 512 * n, 512);
	rig_notify(&r);
	request_add(0, VIRTIO_BLK_T_IN, 0, DATA_GPA, 512);
	rig_notify(&r);
	assert_broken(&r);
	rig_free(&r);
}
END_TEST

/* All answers of one operation are published together, with one interrupt. */
START_TEST(one_publication)
{
	set_up(&disk, FLUSH, 16);
	for (unsigned n = 0; n < 4; n++)
		request_add(n, VIRTIO_BLK_T_GET_ID, 0, DATA_GPA + 64 * n, 20);
	rig_notify(&r);
	ck_assert_uint_eq(r.out.used_old, 0);
	ck_assert_uint_eq(r.out.used_new, 4);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 4);
	ck_assert_uint_eq(r.irqs, 1);
	ck_assert_uint_eq(device_ring(&r.driver)->flags, 0); /* the doorbell is armed again */
	rig_free(&r);
}
END_TEST

/* The emulator dies with requests in flight: a copy of state and bulk elsewhere describes the same requests,
 * and ends them. */
START_TEST(restart)
{
	struct rig old;
	struct io_request before, after;
	uint16_t head[6];

	set_up(&disk, layouts[_i], 32);
	for (unsigned n = 0; n < 6; n++)
		head[n] = request_add(n, n % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, n, DATA_GPA + 512 * n,
				      512);
	rig_notify(&r);
	rig_complete(&r, 2, 512);
	answer_expect(2, head[2], VIRTIO_BLK_S_OK, 513);

	old = r;
	r.state = malloc(r.ops->state_size);
	r.bulk = malloc(r.ops->bulk_size);
	ck_assert(r.state && r.bulk);
	memcpy(r.state, old.state, r.ops->state_size);
	memcpy(r.bulk, old.bulk, r.ops->bulk_size);
	ck_assert_uint_eq(rig_pending(&r), 0x3b);
	for (unsigned n = 0; n < 64; n++) {
		ck_assert(r.ops->io_describe(r.state, r.bulk, n, &after) == !!(0x3b & F(n)));
		if (n < 6 && n != 2) {
			ck_assert(old.ops->io_describe(old.state, old.bulk, n, &before));
			ck_assert_mem_eq(&before, &after, sizeof(before));
		}
	}
	memset(old.state, 0xff, old.ops->state_size);
	memset(old.bulk, 0xff, old.ops->bulk_size);
	rig_effects(&r); /* the last outbox again */
	for (unsigned n = 0; n < 6; n++) {
		if (n == 2)
			continue;
		rig_complete(&r, n, 512);
		answer_expect(n, head[n], VIRTIO_BLK_S_OK, n % 3 ? 513 : 1);
	}
	free(old.state);
	free(old.bulk);
	rig_free(&r);
}
END_TEST

/* The header changes after it was read, data descriptors after they were checked: the record does not. */
START_TEST(memory_changes_afterwards)
{
	struct io_request req;
	uint16_t head;

	set_up(&disk, FLUSH, 16);
	head = request_add(0, VIRTIO_BLK_T_IN, 7, DATA_GPA, 512);
	rig_notify(&r);
	memset(r.driver.ram + HEADER_GPA(0), 0xff, 16);
	memset(driver_desc(&r.driver, 0), 0xff, 64);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.kind, IO_READ);
	ck_assert_uint_eq(req.offset, 7 * 512);
	ck_assert_uint_eq(req.seg[0].gpa, DATA_GPA);
	rig_complete(&r, 0, 512);
	answer_expect(0, head, VIRTIO_BLK_S_OK, 513);
	rig_free(&r);
}
END_TEST

/* A record that some other program wrote leads neither beyond the disk nor beyond the array. */
START_TEST(damaged_records)
{
	struct virtio_slot *slot;
	struct io_request req;

	set_up(&disk, FLUSH, 16);
	request_add(0, VIRTIO_BLK_T_OUT, SECTORS - 1, DATA_GPA, 512);
	rig_notify(&r);
	slot = (struct virtio_slot *)r.bulk;
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.offset += 512;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.offset = 1;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.offset = 0;
	slot->io.count = IO_SEGMENTS + 1;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.count = 1;
	slot->io.kind = IO_RANDOM;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.kind = IO_WRITE;
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));

	/* The answer would go nowhere: the device breaks, dvmm does not. */
	slot->status_gpa = UINT64_MAX;
	rig_complete(&r, 0, 512);
	assert_broken(&r);
	rig_free(&r);
}
END_TEST

START_TEST(fuzz)
{
	rig_new(&r, &virtio_blk_ops, &disk);
	/* Headers that mean something, at the addresses where the fuzzer's descriptors often point. */
	for (unsigned n = 0; n < RAM_BYTES / 2 / 16; n++) {
		const struct virtio_blk_outhdr h = {.type = n % 10, .sector = n % (SECTORS + 2)};

		memcpy(r.driver.ram + RAM_BYTES / 2 + 16 * n, &h, sizeof(h));
	}
	rig_fuzz(&r, 0x2545f4914f6cdd1dull + (unsigned)_i, 300, 200);
	rig_free(&r);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, read_write_flush, 0, 4);
	tcase_add_test(tc, failed_io);
	tcase_add_test(tc, bad_requests);
	tcase_add_test(tc, get_id);
	tcase_add_loop_test(tc, any_layout, 0, 17);
	tcase_add_loop_test(tc, unanswerable, 0, 2);
	tcase_add_loop_test(tc, segment_limit, 0, 2);
	tcase_add_test(tc, write_through);
	tcase_add_loop_test(tc, full_queue, 0, 4);
	tcase_add_test(tc, one_publication);
	tcase_add_loop_test(tc, restart, 0, 4);
	tcase_add_test(tc, memory_changes_afterwards);
	tcase_add_test(tc, damaged_records);
	tcase_add_loop_test(tc, fuzz, 0, 4);
}

int main(void)
{
	return harness_run("virtio_blk", add);
}

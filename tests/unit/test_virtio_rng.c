/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The entropy device: devices/virtio_rng.c. */
#include "tests/unit/virtio_harness.h"

#include "devices/virtio_rng.h"

static struct rig r;
static const struct device_config none;

static void set_up(uint64_t features, uint16_t size)
{
	rig_new(&r, &virtio_rng_ops, &none);
	driver_start(&r, features, size);
}

START_TEST(buffer_is_filled)
{
	const struct buffer b[] = {{DATA_GPA, 8, false}, {DATA_GPA + 0x100, 10, true}, {HIGH_GPA, 20, true}};
	struct io_request req;
	struct vring_used_elem e;
	uint16_t head;

	set_up(_i ? INDIRECT | EVENT_IDX : 0, 8);
	head = driver_add(&r.driver, b, 3);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 1);
	ck_assert_uint_eq(rig_pending(&r), 1);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.kind, IO_RANDOM);
	ck_assert_uint_eq(req.count, 2);
	ck_assert_uint_eq(req.seg[0].gpa, DATA_GPA + 0x100);
	ck_assert_uint_eq(req.seg[0].len, 10);
	ck_assert_uint_eq(req.seg[1].gpa, HIGH_GPA);
	ck_assert_uint_eq(req.seg[1].len, 20);
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 1, &req));
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 64, &req));
	rig_complete(&r, 0, 30);
	ck_assert(driver_take(&r.driver, &e));
	ck_assert_uint_eq(e.id, head);
	ck_assert_uint_eq(e.len, 30);
	ck_assert_uint_eq(r.irqs, 1);
	ck_assert_uint_eq(rig_pending(&r), 0);
	rig_free(&r);
}
END_TEST

/* More bytes or more pieces than one request takes: the front part is filled. */
START_TEST(large_buffers)
{
	struct buffer b[40];
	struct io_request req;

	set_up(INDIRECT, 8);
	for (unsigned i = 0; i < 40; i++)
		b[i] = (struct buffer){DATA_GPA + i * 16, 16, true};
	driver_add(&r.driver, b, 40);
	driver_add(&r.driver, &(struct buffer){DATA_GPA, 0x10000, true}, 1);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 3);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 0, &req));
	ck_assert_uint_eq(req.count, IO_SEGMENTS);
	ck_assert(r.ops->io_describe(r.state, r.bulk, 1, &req));
	ck_assert_uint_eq(req.count, 1);
	ck_assert_uint_eq(req.seg[0].len, VIRTIO_RNG_BYTES);
	rig_free(&r);
}
END_TEST

START_TEST(results)
{
	const struct {
		int32_t result;
		uint32_t len;
	} cases[] = {{100, 100}, {40, 40}, {101, 100}, {INT32_MAX, 100}, {0, 0}, {-5, 0}, {INT32_MIN, 0}};
	struct vring_used_elem e;

	set_up(0, 8);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		driver_add(&r.driver, &(struct buffer){DATA_GPA, 100, true}, 1);
		rig_notify(&r);
		rig_complete(&r, 0, cases[i].result);
		ck_assert(driver_take(&r.driver, &e));
		ck_assert_uint_eq(e.len, cases[i].len);
	}
	/* Nothing to fill: comes back at once. */
	driver_add(&r.driver, &(struct buffer){DATA_GPA, 100, false}, 1);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 0);
	ck_assert(driver_take(&r.driver, &e));
	ck_assert_uint_eq(e.len, 0);
	rig_free(&r);
}
END_TEST

START_TEST(damaged_records)
{
	struct virtio_slot *slot;
	struct io_request req;

	set_up(0, 8);
	driver_add(&r.driver, &(struct buffer){DATA_GPA, 100, true}, 1);
	rig_notify(&r);
	slot = (struct virtio_slot *)r.bulk;
	slot->io.kind = IO_WRITE;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.kind = IO_RANDOM;
	slot->io.count = IO_SEGMENTS + 1;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	slot->io.count = 1;
	slot->io.seg[0].len = VIRTIO_RNG_BYTES + 1;
	ck_assert(!r.ops->io_describe(r.state, r.bulk, 0, &req));
	rig_free(&r);
}
END_TEST

START_TEST(fuzz)
{
	rig_new(&r, &virtio_rng_ops, &none);
	rig_fuzz(&r, 0x9e3779b97f4a7c15ull + (unsigned)_i, 300, 200);
	rig_free(&r);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, buffer_is_filled, 0, 2);
	tcase_add_test(tc, large_buffers);
	tcase_add_test(tc, results);
	tcase_add_test(tc, damaged_records);
	tcase_add_loop_test(tc, fuzz, 0, 4);
}

int main(void)
{
	return harness_run("virtio_rng", add);
}

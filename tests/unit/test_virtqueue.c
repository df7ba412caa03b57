/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The split ring by itself: devices/virtqueue.c against a driver in malloc'ed guest memory. */
#include "tests/unit/virtio_harness.h"

#include <errno.h>

static struct guest_memory mem;
static struct driver drv;
static struct virtqueue vq;
static struct outbox out;
static struct operation op;
static struct virtqueue_chain chain;

static void set_up(uint16_t size, bool event_idx, bool indirect)
{
	memory_new(&mem);
	drv = (struct driver){.ram = mem.seg[0].host, .size = size, .indirect = indirect};
	vq = (struct virtqueue){.desc_gpa = DESC_GPA,
				.driver_gpa = DRIVER_GPA,
				.device_gpa = DEVICE_GPA,
				.size = size,
				.event_idx = event_idx,
				.indirect = indirect};
	memset(&out, 0, sizeof(out));
	op = (struct operation){.out = &out, .mem = &mem};
	ck_assert(virtqueue_start(&vq, &mem));
}

/* The end of one operation and the start of the next; returns whether the driver is to be interrupted. */
static bool next_operation(void)
{
	bool interrupt = virtqueue_publish(&out, &mem);

	memset(&out, 0, sizeof(out));
	return interrupt;
}

START_TEST(start_checks_size_place_and_alignment)
{
	const struct {
		uint64_t desc, driver, device;
		uint16_t size;
		bool good;
	} cases[] = {
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA, 64, true},
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA, 1, true},
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA, 0, false},
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA, 48, false},
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA, 128, false},
		{DESC_GPA + 8, DRIVER_GPA, DEVICE_GPA, 64, false},
		{DESC_GPA, DRIVER_GPA + 1, DEVICE_GPA, 64, false},
		{DESC_GPA, DRIVER_GPA + 2, DEVICE_GPA, 64, true},
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA + 2, 64, false},
		{DESC_GPA, DRIVER_GPA, DEVICE_GPA + 4, 64, true},
		/* The last place where each fits, and one step further. */
		{RAM_BYTES - 1024, DRIVER_GPA, DEVICE_GPA, 64, true},
		{RAM_BYTES - 1008, DRIVER_GPA, DEVICE_GPA, 64, false},
		{DESC_GPA, RAM_BYTES - 134, DEVICE_GPA, 64, true},
		{DESC_GPA, RAM_BYTES - 132, DEVICE_GPA, 64, false},
		{DESC_GPA, DRIVER_GPA, RAM_BYTES - 520, 64, true},
		{DESC_GPA, DRIVER_GPA, RAM_BYTES - 516, 64, false},
		{HIGH_GPA, HIGH_GPA + 2048, HIGH_GPA + 3072, 64, true},
		{HIGH_GPA - 512, DRIVER_GPA, DEVICE_GPA, 64, false},
		{UINT64_MAX - 15, DRIVER_GPA, DEVICE_GPA, 64, false},
		{DESC_GPA, UINT64_MAX - 1, DEVICE_GPA, 64, false},
		{DESC_GPA, DRIVER_GPA, UINT64_MAX - 3, 64, false},
	};

	memory_new(&mem);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtqueue q = {.desc_gpa = cases[i].desc,
				      .driver_gpa = cases[i].driver,
				      .device_gpa = cases[i].device,
				      .size = cases[i].size,
				      .last_avail = 7,
				      .used = 7};

		ck_assert_msg(virtqueue_start(&q, &mem) == cases[i].good, "case %u", i);
		ck_assert_uint_eq(q.ready, cases[i].good);
		ck_assert_uint_eq(q.last_avail, 0);
		ck_assert_uint_eq(q.used, 0);
	}
	memory_free(&mem);
}
END_TEST

/* _i: without and with an indirect table. */
START_TEST(chain_goes_out_and_comes_back)
{
	const struct buffer b[] = {
		{0x20000, 16, false}, {0x20100, 0, false}, {0x20200, 512, false},
		{0x20400, 100, true}, {HIGH_GPA, 1, true},
	};
	struct vring_used_elem e;

	set_up(8, false, _i);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 0);
	drv.next_desc = 6; /* the chain wraps around the table */
	ck_assert_uint_eq(driver_add(&drv, b, 5), 6);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	ck_assert_uint_eq(chain.head, 6);
	ck_assert_uint_eq(chain.out.count, 2); /* the empty one is gone */
	ck_assert_uint_eq(chain.out.bytes, 528);
	ck_assert_uint_eq(chain.out.seg[1].gpa, 0x20200);
	ck_assert_uint_eq(chain.out.seg[1].len, 512);
	ck_assert_uint_eq(chain.in.count, 2);
	ck_assert_uint_eq(chain.in.bytes, 101);
	ck_assert_uint_eq(chain.in.seg[1].gpa, HIGH_GPA);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 0);

	ck_assert(virtqueue_push(&vq, &op, 6, 101));
	ck_assert(!driver_take(&drv, &e)); /* not before the commit */
	ck_assert(next_operation());
	ck_assert(driver_take(&drv, &e));
	ck_assert_uint_eq(e.id, 6);
	ck_assert_uint_eq(e.len, 101);
	ck_assert(!driver_take(&drv, &e));
	memory_free(&mem);
}
END_TEST

/* Direct descriptors may precede the one that refers to a table, whose write flag means nothing (2.7.5.3.2).
 */
START_TEST(indirect_after_direct)
{
	struct vring_desc *table;

	set_up(8, false, true);
	table = (struct vring_desc *)(drv.ram + TABLE_GPA + 4); /* and the table needs no alignment */
	*driver_desc(&drv, 0) = (struct vring_desc){0x20000, 16, VRING_DESC_F_NEXT, 1};
	*driver_desc(&drv, 1) =
		(struct vring_desc){TABLE_GPA + 4, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0};
	memcpy(&table[0], &(struct vring_desc){0x20100, 8, VRING_DESC_F_NEXT, 1}, 16);
	memcpy(&table[1], &(struct vring_desc){0x20200, 4, VRING_DESC_F_WRITE, 0}, 16);
	driver_offer(&drv, 0);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	ck_assert_uint_eq(chain.out.bytes, 24);
	ck_assert_uint_eq(chain.in.bytes, 4);
	memory_free(&mem);
}
END_TEST

/* A chain as long as the largest queue is taken whole, with and without a table; one descriptor more is not.
 */
START_TEST(longest_chain)
{
	struct buffer b[VIRTQUEUE_MAX];
	struct vring_desc *table;

	set_up(64, false, _i);
	for (unsigned i = 0; i < VIRTQUEUE_MAX; i++)
		b[i] = (struct buffer){0x20000 + 16 * i, 16, true};
	driver_add(&drv, b, VIRTQUEUE_MAX);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	ck_assert_uint_eq(chain.in.count, VIRTQUEUE_MAX);
	ck_assert_uint_eq(chain.in.bytes, VIRTQUEUE_MAX * 16);

	if (_i) {
		table = (struct vring_desc *)(drv.ram + 0x30000);
		for (unsigned i = 0; i <= VIRTQUEUE_MAX; i++)
			desc_set(&table[i], &b[0], i < VIRTQUEUE_MAX, i + 1);
		*driver_desc(&drv, 1) = (struct vring_desc){0x30000, 65 * 16, VRING_DESC_F_INDIRECT, 0};
		driver_offer(&drv, 1);
		ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);
	}
	memory_free(&mem);
}
END_TEST

/* Each row is one thing that a driver must not do; the queue does not advance over it. */
START_TEST(malformed_chains)
{
	const uint16_t N = VRING_DESC_F_NEXT, W = VRING_DESC_F_WRITE, I = VRING_DESC_F_INDIRECT;
	const struct {
		const char *what;
		struct vring_desc d[2];
		uint16_t head;
		struct vring_desc table[2];
	} cases[] = {
		{"head out of range", {{0x20000, 16, 0, 0}}, 8, {{0}}},
		{"head far out of range", {{0x20000, 16, 0, 0}}, 0xffff, {{0}}},
		{"next out of range", {{0x20000, 16, N, 8}}, 0, {{0}}},
		{"loop on itself", {{0x20000, 16, N, 0}}, 0, {{0}}},
		{"loop of two", {{0x20000, 16, N, 1}, {0x20000, 16, N, 0}}, 0, {{0}}},
		{"loop of empty ones", {{0x20000, 0, N, 1}, {0x20000, 0, N, 0}}, 0, {{0}}},
		{"readable after writable", {{0x20000, 16, N | W, 1}, {0x20000, 16, 0, 0}}, 0, {{0}}},
		{"readable after empty writable", {{0x20000, 0, N | W, 1}, {0x20000, 16, 0, 0}}, 0, {{0}}},
		{"beyond the end", {{RAM_BYTES - 15, 16, 0, 0}}, 0, {{0}}},
		{"in the hole", {{0xd0000000, 16, 0, 0}}, 0, {{0}}},
		{"into high memory", {{HIGH_GPA - 8, 16, 0, 0}}, 0, {{0}}},
		{"around the end of addresses", {{UINT64_MAX - 7, 16, 0, 0}}, 0, {{0}}},
		{"length of 4 GiB", {{0, UINT32_MAX, 0, 0}}, 0, {{0}}},
		{"indirect and next", {{TABLE_GPA, 32, I | N, 1}}, 0, {{0x20000, 16, 0, 0}}},
		{"indirect in indirect", {{TABLE_GPA, 32, I, 0}}, 0, {{TABLE_GPA, 32, I, 0}}},
		{"one table after another",
		 {{TABLE_GPA, 16, I, 0}, {0x20000, 16, 0, 0}},
		 0,
		 {{DESC_GPA + 16, 16, I, 0}}},
		{"empty table", {{TABLE_GPA, 0, I, 0}}, 0, {{0x20000, 16, 0, 0}}},
		{"crooked table", {{TABLE_GPA, 24, I, 0}}, 0, {{0x20000, 16, 0, 0}}},
		{"table beyond the end", {{RAM_BYTES - 16, 32, I, 0}}, 0, {{0}}},
		{"table around the end", {{UINT64_MAX - 15, 32, I, 0}}, 0, {{0}}},
		{"huge table", {{0, 0xfffffff0, I, 0}}, 0, {{0}}},
		{"loop in a table", {{TABLE_GPA, 32, I, 0}}, 0, {{0x20000, 16, N, 1}, {0x20000, 16, N, 0}}},
		{"next outside a table", {{TABLE_GPA, 32, I, 0}}, 0, {{0x20000, 16, N, 2}}},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_up(8, false, true);
		memcpy(driver_desc(&drv, 0), cases[i].d, sizeof(cases[i].d));
		memcpy(drv.ram + TABLE_GPA, cases[i].table, sizeof(cases[i].table));
		driver_offer(&drv, cases[i].head);
		ck_assert_msg(virtqueue_pop(&vq, &op, &chain) == -EINVAL, "%s", cases[i].what);
		ck_assert_uint_eq(vq.last_avail, 0);
		memory_free(&mem);
	}

	/* A table without the feature. */
	set_up(8, false, true);
	vq.indirect = 0;
	driver_add(&drv, &(struct buffer){0x20000, 16, false}, 1);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);
	memory_free(&mem);
}
END_TEST

/* Many references to all of memory add up to more bytes than a chain may have. */
START_TEST(total_length)
{
	struct buffer b[VIRTQUEUE_MAX];
	struct guest_memory big = {.seg = {{0}, {HIGH_GPA, 1ull << 31, (uint8_t *)0x100000000}}};

	set_up(64, false, false);
	for (unsigned i = 0; i < VIRTQUEUE_MAX; i++)
		b[i] = (struct buffer){HIGH_GPA, 1u << 31, true};
	big.seg[0] = mem.seg[0];
	op.mem = &big; /* only ever compared with */
	driver_add(&drv, b, 2);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);
	b[0].len--;
	vq.last_avail = 0;
	drv.avail = 0;
	drv.next_desc = 0;
	driver_add(&drv, b, 2);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	ck_assert_uint_eq(chain.in.bytes, UINT32_MAX);
	memory_free(&mem);
}
END_TEST

/* The driver's index may not run ahead by more than the queue holds, chains in flight included. */
START_TEST(index_runs_ahead)
{
	const struct buffer b = {0x20000, 16, true};

	set_up(4, false, false);
	driver_ring(&drv)->idx = 5;
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);
	driver_ring(&drv)->idx = 0xffff;
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);

	for (unsigned i = 0; i < 4; i++)
		driver_add(&drv, &b, 1);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 0);
	/* Given back, but the driver cannot know it yet, */
	ck_assert(virtqueue_push(&vq, &op, 0, 16));
	driver_add(&drv, &b, 1);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);
	/* now it can. */
	next_operation();
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	driver_add(&drv, &b, 1);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), -EINVAL);
	memory_free(&mem);
}
END_TEST

/* Indices pass 65535 -> 0 with the event index in use; one interrupt for each element that the driver waits
 * for. */
START_TEST(indices_wrap)
{
	const struct buffer b = {0x20000, 16, true};
	struct vring_used_elem e;

	set_up(8, true, false);
	vq.last_avail = vq.used = drv.avail = drv.seen = 65530;
	driver_ring(&drv)->idx = 65530;
	device_ring(&drv)->idx = 65530;
	for (unsigned i = 0; i < 20; i++) {
		uint16_t head = driver_add(&drv, &b, 1);

		*used_event(&drv) = drv.seen;
		ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
		ck_assert_uint_eq(chain.head, head);
		ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 0);
		virtqueue_arm(&vq, &mem);
		ck_assert_uint_eq(*avail_event(&drv), drv.avail);
		ck_assert(virtqueue_push(&vq, &op, head, i));
		ck_assert(next_operation());
		ck_assert(driver_take(&drv, &e));
		ck_assert_uint_eq(e.id, head);
		ck_assert_uint_eq(e.len, i);
	}
	ck_assert_uint_eq(vq.used, 14);
	ck_assert_uint_eq(vq.last_avail, 14);
	memory_free(&mem);
}
END_TEST

/* 2.7.7.2 and 2.7.10: when the driver is interrupted, across the wrap too. */
START_TEST(driver_says_when_to_interrupt)
{
	const struct {
		bool event_idx;
		uint16_t wish, used_old, used_new;
		bool interrupt;
	} cases[] = {
		{false, 0, 0, 1, true},         {false, VRING_AVAIL_F_NO_INTERRUPT, 0, 1, false},
		{false, 2, 0, 1, true},         {true, 0, 0, 1, true},
		{true, 1, 0, 1, false},         {true, 1, 0, 2, true},
		{true, 4, 3, 4, false},         {true, 3, 3, 4, true},
		{true, 2, 3, 4, false},         {true, 65535, 65534, 1, true},
		{true, 0, 65534, 1, true},      {true, 1, 65534, 1, false},
		{true, 65533, 65534, 1, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_up(8, cases[i].event_idx, false);
		vq.used = cases[i].used_old;
		if (cases[i].event_idx)
			*used_event(&drv) = cases[i].wish;
		else
			driver_ring(&drv)->flags = cases[i].wish;
		for (uint16_t n = cases[i].used_old; n != cases[i].used_new; n++)
			ck_assert(virtqueue_push(&vq, &op, 0, 0));
		ck_assert_msg(virtqueue_publish(&out, &mem) == cases[i].interrupt, "case %u", i);
		/* A successor that cannot know does it again: same index, same answer. */
		ck_assert(virtqueue_publish(&out, &mem) == cases[i].interrupt);
		ck_assert_uint_eq(device_ring(&drv)->idx, cases[i].used_new);
		memory_free(&mem);
	}
}
END_TEST

START_TEST(doorbell_suppression)
{
	set_up(8, false, false);
	virtqueue_quiet(&vq, &mem);
	ck_assert_uint_eq(device_ring(&drv)->flags, VRING_USED_F_NO_NOTIFY);
	virtqueue_arm(&vq, &mem);
	ck_assert_uint_eq(device_ring(&drv)->flags, 0);
	memory_free(&mem);

	set_up(8, true, false); /* the flag must stay 0 then: 2.7.10.2 */
	vq.last_avail = 5;
	virtqueue_quiet(&vq, &mem);
	ck_assert_uint_eq(*avail_event(&drv), 0);
	virtqueue_arm(&vq, &mem);
	ck_assert_uint_eq(device_ring(&drv)->flags, 0);
	ck_assert_uint_eq(*avail_event(&drv), 5);
	memory_free(&mem);
}
END_TEST

START_TEST(outbox_of_nothing_or_of_nonsense)
{
	set_up(8, false, false);
	ck_assert(!virtqueue_publish(&out, &mem));
	out = (struct outbox){.used_gpa = DEVICE_GPA + 1, .event_gpa = DRIVER_GPA, .used_new = 9};
	ck_assert(!virtqueue_publish(&out, &mem));
	out = (struct outbox){.used_gpa = RAM_BYTES, .event_gpa = DRIVER_GPA, .used_new = 9};
	ck_assert(!virtqueue_publish(&out, &mem));
	out = (struct outbox){.used_gpa = DEVICE_GPA + 2, .event_gpa = UINT64_MAX, .used_new = 9};
	ck_assert(!virtqueue_publish(&out, &mem));
	ck_assert_uint_eq(device_ring(&drv)->idx, 0);
	memory_free(&mem);
}
END_TEST

START_TEST(push_without_a_ring)
{
	set_up(8, false, false);
	vq.size = 0;
	ck_assert(!virtqueue_push(&vq, &op, 0, 0));
	vq.size = 8;
	vq.device_gpa = RAM_BYTES - 4;
	ck_assert(!virtqueue_push(&vq, &op, 0, 0));
	vq.device_gpa = DEVICE_GPA + 2;
	ck_assert(!virtqueue_push(&vq, &op, 0, 0));
	ck_assert_uint_eq(out.used_gpa, 0);
	ck_assert_uint_eq(vq.used, 0);
	memory_free(&mem);
}
END_TEST

START_TEST(streams)
{
	const struct buffer b[] = {{0x20000, 3, false}, {0x20010, 1, false}, {0x20020, 6, false},
				   {0x20030, 2, true},  {0x20040, 1, true},  {0x20050, 4, true}};
	char text[16] = "";
	uint64_t gpa;

	set_up(8, false, false);
	memcpy(drv.ram + 0x20000, "abc", 3);
	memcpy(drv.ram + 0x20010, "d", 1);
	memcpy(drv.ram + 0x20020, "efghij", 6);
	driver_add(&drv, b, 6);
	ck_assert_int_eq(virtqueue_pop(&vq, &op, &chain), 1);
	ck_assert(segments_read(&chain.out, &mem, text, 6));
	ck_assert_str_eq(text, "abcdef");
	ck_assert_uint_eq(chain.out.bytes, 4);
	ck_assert_uint_eq(chain.out.count, 1);
	ck_assert_uint_eq(chain.out.seg[chain.out.first].gpa, 0x20022);
	ck_assert(!segments_read(&chain.out, &mem, text, 5));

	ck_assert(segments_take_last(&chain.in, &gpa));
	ck_assert_uint_eq(gpa, 0x20053);
	ck_assert(segments_write(&chain.in, &mem, "12345", 5));
	ck_assert_mem_eq(drv.ram + 0x20030, "12", 2);
	ck_assert_mem_eq(drv.ram + 0x20040, "3", 1);
	ck_assert_mem_eq(drv.ram + 0x20050, "45\0", 3);
	ck_assert(segments_take_last(&chain.in, &gpa));
	ck_assert_uint_eq(gpa, 0x20052);
	ck_assert(!segments_take_last(&chain.in, &gpa));
	ck_assert(!segments_write(&chain.in, &mem, "x", 1));
	memory_free(&mem);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, start_checks_size_place_and_alignment);
	tcase_add_loop_test(tc, chain_goes_out_and_comes_back, 0, 2);
	tcase_add_test(tc, indirect_after_direct);
	tcase_add_loop_test(tc, longest_chain, 0, 2);
	tcase_add_test(tc, malformed_chains);
	tcase_add_test(tc, total_length);
	tcase_add_test(tc, index_runs_ahead);
	tcase_add_test(tc, indices_wrap);
	tcase_add_test(tc, driver_says_when_to_interrupt);
	tcase_add_test(tc, doorbell_suppression);
	tcase_add_test(tc, outbox_of_nothing_or_of_nonsense);
	tcase_add_test(tc, push_without_a_ring);
	tcase_add_test(tc, streams);
}

int main(void)
{
	return harness_run("virtqueue", add);
}

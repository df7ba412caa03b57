/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state region and the core: an operation commits or did not happen; requests are answered whatever they say.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/uart16550.h"
#include "devices/virtio_mmio.h"
#include "emulator/core.h"

enum { UART, RTC, I8042, PM, BLK, DEVICES };

static struct machine machine;
static struct region_layout layout;
static struct core core;
static void *region;
static uint8_t *ram;
static struct published published[DEVICES];

static void setup(void)
{
	struct guest_memory memory;

	memset(&machine, 0, sizeof(machine));
	machine.vcpus = 2;
	machine.ram_bytes = 1 << 20;
	machine.devices = DEVICES;
	machine.device[UART] = (struct machine_device){.type = DEVICE_UART, .base = UART_PORT, .size = 8};
	machine.device[RTC] = (struct machine_device){.type = DEVICE_RTC, .base = RTC_PORT, .size = 2};
	machine.device[I8042] = (struct machine_device){.type = DEVICE_I8042, .base = I8042_PORT, .size = 5};
	machine.device[PM] = (struct machine_device){.type = DEVICE_ACPI_PM, .base = ACPI_PM_PORT, .size = 6};
	machine.device[BLK] = (struct machine_device){.type = DEVICE_VIRTIO_BLK, .space = BUS_MMIO,
						      .base = VIRTIO_MMIO_BASE, .size = VIRTIO_MMIO_SIZE,
						      .config = {.capacity = 8}};
	for (int i = 0; i < DEVICES; i++)
		machine.device[i].irq_fd = machine.device[i].queue_fd = machine.device[i].file_fd = -1;
	ck_assert_int_eq(region_layout(&machine, &layout), 0);
	region = calloc(1, layout.size);
	ram = calloc(1, machine.ram_bytes);
	region_init(&machine, &layout, region);
	machine_memory(&machine, ram, &memory);
	ck_assert_int_eq(core_init(&core, &machine, region, &memory), 0);
	memset(published, 0, sizeof(published));
	core.published = published;
}

static void teardown(void)
{
	free(region);
	free(ram);
}

static void keep_reply(void *to, const struct reply *reply) { *(struct reply *)to = *reply; }

static struct reply ask(uint32_t kind, uint32_t space, uint64_t addr, uint32_t size, uint32_t count, const void *data)
{
	static uint32_t seq;
	struct request req = {.seq = ++seq, .kind = kind, .space = space, .addr = addr, .size = size, .count = count};
	struct reply reply = {0};

	if (data)
		memcpy(req.data, data, MAILBOX_DATA);
	core_request(&core, &(struct core_client){.slot = 1, .context = &reply, .publish = keep_reply}, &req);
	ck_assert_uint_eq(reply.seq, seq);
	return reply;
}

static struct reply out8(uint64_t port, uint8_t value)
{
	uint8_t data[MAILBOX_DATA] = {value};

	return ask(REQUEST_WRITE, BUS_PIO, port, 1, 1, data);
}

static uint8_t in8(uint64_t port) { return ask(REQUEST_READ, BUS_PIO, port, 1, 1, NULL).data[0]; }

START_TEST(parts_do_not_overlap)
{
	uint64_t end = 0;

	for (int i = 0; i < DEVICES; i++) {
		const struct region_device *d = &layout.device[i];

		ck_assert_uint_ge(d->current, end);
		ck_assert_uint_ge(d->copy[0], d->current + 4);
		ck_assert_uint_ge(d->state[0], d->copy[0] + sizeof(struct region_copy));
		ck_assert_uint_ge(d->copy[1], d->state[0] + d->state_size);
		ck_assert_uint_ge(d->state[1], d->copy[1] + sizeof(struct region_copy));
		end = d->state[1] + d->state_size;
	}
	for (int i = 0; i < DEVICES; i++) {
		ck_assert(!layout.device[i].bulk_size || layout.device[i].bulk >= end);
		end = layout.device[i].bulk_size ? layout.device[i].bulk + layout.device[i].bulk_size : end;
	}
	ck_assert_uint_ge(layout.size, end);
	ck_assert_uint_eq(layout.size % 4096, 0);
}
END_TEST

START_TEST(unknown_device_has_no_layout)
{
	machine.device[0].type = DEVICE_TYPES;
	ck_assert_int_lt(region_layout(&machine, &layout), 0);
	machine.device[0].type = DEVICE_NONE;
	ck_assert_int_lt(region_layout(&machine, &layout), 0);
}
END_TEST

START_TEST(abandoned_operation_did_not_happen)
{
	struct uart_state *spare;
	uint32_t which;

	out8(UART_PORT + 7, 0x5a);
	which = region_begin(&layout, region, UART);
	spare = region_state_of(&layout, region, UART, which);
	ck_assert_uint_eq(spare->scr, 0x5a); /* the spare starts as the committed state */
	spare->scr = 0x11;
	ck_assert_uint_eq(in8(UART_PORT + 7), 0x5a); /* begins anew: the spare is overwritten */
	which = region_begin(&layout, region, UART);
	spare = region_state_of(&layout, region, UART, which);
	spare->scr = 0x22;
	region_commit(&layout, region, UART, which);
	ck_assert_uint_eq(in8(UART_PORT + 7), 0x22);
}
END_TEST

START_TEST(journal_holds_the_last_reply)
{
	struct reply reply;
	struct region_copy *copy;

	out8(UART_PORT + 7, 0x77);
	reply = ask(REQUEST_READ, BUS_PIO, UART_PORT + 7, 1, 1, NULL);
	copy = region_copy_of(&layout, region, UART, region_current(&layout, region, UART));
	ck_assert_uint_eq(copy->journal.slot, 1);
	ck_assert_uint_eq(copy->journal.seq, reply.seq);
	ck_assert_mem_eq(&copy->journal.reply, &reply, sizeof(reply));
	core_notify(&core, BLK);
	copy = region_copy_of(&layout, region, BLK, region_current(&layout, region, BLK));
	ck_assert_uint_eq(copy->journal.slot, JOURNAL_NOBODY);
}
END_TEST

START_TEST(unclaimed_addresses)
{
	uint8_t ff[MAILBOX_DATA];
	struct reply reply = ask(REQUEST_READ, BUS_PIO, 0x1234, 4, 4, NULL);

	memset(ff, 0xff, sizeof(ff));
	ck_assert_uint_eq(reply.device, REPLY_NO_DEVICE);
	ck_assert_mem_eq(reply.data, ff, 16);
	ck_assert_uint_eq(ask(REQUEST_WRITE, BUS_MMIO, UINT64_MAX, 8, 1, ff).device, REPLY_NO_DEVICE);
	/* Port numbers and memory addresses are different spaces. */
	ck_assert_uint_eq(ask(REQUEST_READ, BUS_MMIO, UART_PORT, 1, 1, NULL).device, REPLY_NO_DEVICE);
}
END_TEST

START_TEST(wide_access_is_split)
{
	uint8_t data[MAILBOX_DATA] = {0, 0xa5};
	struct reply reply;

	ask(REQUEST_WRITE, BUS_PIO, UART_PORT + 6, 2, 1, data); /* MSR (read-only) and SCR */
	ck_assert_uint_eq(in8(UART_PORT + 7), 0xa5);
	reply = ask(REQUEST_READ, BUS_PIO, UART_PORT + 7, 2, 1, NULL);
	ck_assert_uint_eq(reply.data[0], 0xa5);
	ck_assert_uint_eq(reply.data[1], 0xff); /* behind the window's end */
}
END_TEST

START_TEST(string_output_reaches_the_ring)
{
	const struct uart_bulk *bulk = region_bulk_of(&layout, region, UART);
	uint8_t data[MAILBOX_DATA];
	struct reply reply;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)('A' + i % 26);
	reply = ask(REQUEST_WRITE, BUS_PIO, UART_PORT, 1, MAILBOX_DATA, data);
	ck_assert_uint_eq(reply.console_head, MAILBOX_DATA);
	ck_assert_mem_eq(bulk->ring, data, sizeof(data));
	ck_assert_uint_eq(out8(UART_PORT + 7, 1).console_head, 0); /* nothing new */
}
END_TEST

START_TEST(machine_events)
{
	uint8_t sleep5[MAILBOX_DATA] = {0x00, 0x34}; /* SLP_TYP 5, SLP_EN */

	ck_assert_uint_eq(out8(I8042_PORT + 4, 0xfe).event, MACHINE_RESET);
	ck_assert_uint_eq(ask(REQUEST_WRITE, BUS_PIO, ACPI_PM_PORT + 4, 2, 1, sleep5).event, MACHINE_POWEROFF);
	ck_assert_uint_eq(out8(UART_PORT + 7, 0xfe).event, MACHINE_RUN);
}
END_TEST

START_TEST(malformed_requests)
{
	static const uint32_t sizes[] = {0, 3, 5, 16, UINT32_MAX};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ck_assert_uint_eq(ask(REQUEST_READ, BUS_PIO, UART_PORT, sizes[i], 1, NULL).device, REPLY_NO_DEVICE);
	ck_assert_uint_eq(ask(REQUEST_READ, BUS_PIO, UART_PORT, 1, MAILBOX_DATA + 1, NULL).device, REPLY_NO_DEVICE);
	ck_assert_uint_eq(ask(REQUEST_READ, BUS_PIO, UART_PORT, 8, UINT32_MAX, NULL).device, REPLY_NO_DEVICE);
	ck_assert_uint_eq(ask(REQUEST_INPUT, 0, 0, 0, MAILBOX_DATA + 1, NULL).device, REPLY_NO_DEVICE);
	ck_assert_uint_eq(ask(99, BUS_PIO, UART_PORT, 1, 1, NULL).device, REPLY_NO_DEVICE);
}
END_TEST

START_TEST(interrupt_is_raised_after_commit)
{
	uint64_t count = 0;
	int fd = eventfd(0, EFD_NONBLOCK);

	machine.device[UART].irq_fd = fd;
	out8(UART_PORT + 4, 0x08); /* OUT2: the line is connected */
	out8(UART_PORT + 1, 0x02); /* THR empty */
	ck_assert_int_eq(read(fd, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 1);
	out8(UART_PORT + 7, 0);
	ck_assert_int_lt(read(fd, &count, sizeof(count)), 0);
	close(fd);
}
END_TEST

/* The registers of the UART in the order of its table: LSR, IER, MSR, and THR, which is posted. */
static bool is_published(unsigned n, uint8_t value) { return published[UART].word[n] == (PUBLISHED_VALID | value); }

START_TEST(registers_are_published)
{
	const uint8_t typed[MAILBOX_DATA] = "ab";

	core_publish(&core);
	ck_assert(is_published(0, 0x60) && is_published(1, 0) && is_published(2, 0xb0));
	ck_assert(is_published(3, 0));
	ck_assert_uint_eq(published[RTC].word[0], PUBLISHED_VALID); /* its index may always be posted */
	out8(UART_PORT + 1, 0x05);
	ck_assert(is_published(1, 0x05));
	ck_assert(is_published(3, 0));
	out8(UART_PORT + 1, 0x02);
	ck_assert(is_published(3, POST_URGENT)); /* an interrupt will come of it */
	out8(UART_PORT + 4, 0x02); /* RTS: typed bytes may come */
	ask(REQUEST_INPUT, 0, 0, 0, 1, typed);
	ck_assert(is_published(0, 0x61));
	in8(UART_PORT);
	ck_assert(is_published(0, 0x60));
}
END_TEST

START_TEST(what_a_read_would_change_is_not_published)
{
	core_publish(&core);
	out8(UART_PORT + 4, 0x10); /* loopback: the modem lines fall */
	ck_assert_uint_eq(published[UART].word[2], 0);
	ck_assert_uint_eq(in8(UART_PORT + 6), 0x0b);
	ck_assert(is_published(2, 0));
	ck_assert_uint_eq(published[UART].word[0], 0); /* a character that is sent now shows in it */
	ck_assert_uint_eq(published[UART].word[3], 0);
	out8(UART_PORT, 1);
	out8(UART_PORT, 2); /* overrun */
	out8(UART_PORT + 4, 0);
	ck_assert_uint_eq(published[UART].word[0], 0);
	ck_assert_uint_eq(in8(UART_PORT + 5), 0x63);
	ck_assert(is_published(0, 0x61));
	ck_assert(is_published(3, 0));
}
END_TEST

static uint64_t seen_by_io;

static void look_at_published(void *context, uint32_t device, uint64_t slots)
{
	seen_by_io = published[BLK].word[0];
}

/* Who takes the interrupt finds why. */
START_TEST(publication_comes_before_effects)
{
	struct virtio_mmio *m = region_state_of(&layout, region, BLK, 0);

	core.start_io = look_at_published;
	m->interrupt_status = 3;
	m->slots = 1;
	core_recover(&core, NULL, NULL, NULL);
	ck_assert_uint_eq(seen_by_io, PUBLISHED_VALID | 3);
}
END_TEST

static bool no(void *context, uint32_t seq) { return false; }

START_TEST(an_abandoned_operation_publishes_nothing)
{
	const struct request req = {.seq = 9, .kind = REQUEST_WRITE, .addr = UART_PORT + 1, .size = 1, .count = 1,
				    .data = {0x0f}};

	core_publish(&core);
	ck_assert(!core_request(&core, &(struct core_client){.slot = 1, .claim = no, .publish = keep_reply}, &req));
	ck_assert(is_published(1, 0));
}
END_TEST

/* Whatever a dead emulator has left there. */
static bool answered(void *context, uint32_t slot, uint32_t seq) { return false; }

START_TEST(a_successor_publishes_all)
{
	out8(UART_PORT + 1, 0x05);
	memset(published, 0xa5, sizeof(published));
	core_recover(&core, answered, NULL, NULL);
	ck_assert(is_published(0, 0x60) && is_published(1, 0x05) && is_published(2, 0xb0));
	ck_assert_uint_eq(published[BLK].word[0], PUBLISHED_VALID);
}
END_TEST

/* Any bytes at all may be in the region when an emulator takes over. */
START_TEST(random_region)
{
	srand((unsigned)_i);
	for (uint64_t i = 0; i < layout.size; i++)
		((uint8_t *)region)[i] = (uint8_t)rand();
	for (int i = 0; i < 2000; i++) {
		uint8_t data[MAILBOX_DATA];
		uint32_t device = (uint32_t)rand() % DEVICES;
		const struct machine_device *d = &machine.device[device];

		for (unsigned k = 0; k < sizeof(data); k++)
			data[k] = (uint8_t)rand();
		ask(rand() & 1 ? REQUEST_READ : REQUEST_WRITE, d->space, d->base + (uint64_t)rand() % d->size,
		    1u << (rand() & 3), (uint32_t)rand() % 9, data);
		if (rand() % 8 == 0)
			ask(REQUEST_INPUT, 0, 0, 0, (uint32_t)rand() % (MAILBOX_DATA + 1), data);
		core_notify(&core, device);
		core_complete(&core, device, (unsigned)rand() % DEVICE_IO_SLOTS, rand() - rand());
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core");
	TCase *t = tcase_create("core");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, parts_do_not_overlap);
	tcase_add_test(t, unknown_device_has_no_layout);
	tcase_add_test(t, abandoned_operation_did_not_happen);
	tcase_add_test(t, journal_holds_the_last_reply);
	tcase_add_test(t, unclaimed_addresses);
	tcase_add_test(t, wide_access_is_split);
	tcase_add_test(t, string_output_reaches_the_ring);
	tcase_add_test(t, machine_events);
	tcase_add_test(t, malformed_requests);
	tcase_add_test(t, interrupt_is_raised_after_commit);
	tcase_add_test(t, registers_are_published);
	tcase_add_test(t, what_a_read_would_change_is_not_published);
	tcase_add_test(t, publication_comes_before_effects);
	tcase_add_test(t, an_abandoned_operation_publishes_nothing);
	tcase_add_test(t, a_successor_publishes_all);
	tcase_add_loop_test(t, random_region, 0, 20);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of registers that are not waited for: exactly those that the models declare, in the largest
 * machine too. */
#include <check.h>
#include <string.h>

#include "vmm/registers.h"

static struct machine machine;
static struct published published[MACHINE_MAX_DEVICES];
static struct registers registers;

static void add(uint32_t type, uint32_t space, uint64_t base, uint64_t size)
{
	machine.device[machine.devices++] =
		(struct machine_device){.type = type, .space = space, .base = base, .size = size};
}

static void setup(void)
{
	memset(&machine, 0, sizeof(machine));
	memset(published, 0, sizeof(published));
	add(DEVICE_RTC, BUS_PIO, RTC_PORT, 2);
	add(DEVICE_UART, BUS_PIO, UART_PORT, 8);
	add(DEVICE_VIRTIO_RNG, BUS_MMIO, VIRTIO_MMIO_BASE, VIRTIO_MMIO_SIZE);
	for (uint32_t i = 1; i <= MACHINE_MAX_DISKS; i++)
		add(DEVICE_VIRTIO_BLK, BUS_MMIO, VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE);
	registers_build(&registers, &machine, published, 3);
}

static const uint64_t *declared(uint32_t device, uint64_t offset, uint32_t use)
{
	const struct device_ops *ops = device_ops_of(machine.device[device].type);

	for (uint32_t n = 0; n < ops->register_count; n++)
		if (ops->registers[n].offset == offset && ops->registers[n].use == use)
			return &published[device].word[n];
	return NULL;
}

START_TEST(all_that_are_declared_and_no_others)
{
	unsigned found = 0;

	for (uint32_t i = 0; i < machine.devices; i++) {
		const struct machine_device *d = &machine.device[i];

		for (uint64_t at = 0; at < 2 * d->size; at++) {
			const uint32_t use = at & 1 ? REGISTER_POSTED : REGISTER_PUBLISHED;
			const struct fast_register *r = registers_find(&registers, d->space, d->base + at / 2, use);

			ck_assert_ptr_eq(r ? r->word : NULL, declared(i, at / 2, use));
			ck_assert(!r || r->device == i);
			ck_assert_ptr_null(registers_find(&registers, !d->space, d->base + at / 2, use));
			found += r != NULL;
		}
	}
	ck_assert_uint_eq(found, registers.count);
	ck_assert_uint_ge(found, 5 + 1 + MACHINE_MAX_DISKS);
	ck_assert_ptr_null(registers_find(&registers, BUS_PIO, UINT64_MAX, REGISTER_PUBLISHED));
}
END_TEST

START_TEST(one_use_without_the_other)
{
	registers_build(&registers, &machine, published, 1u << REGISTER_PUBLISHED);
	ck_assert_ptr_null(registers_find(&registers, BUS_PIO, UART_PORT, REGISTER_POSTED));
	ck_assert_ptr_nonnull(registers_find(&registers, BUS_PIO, UART_PORT + 5, REGISTER_PUBLISHED));
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_PIO, UART_PORT), NOT_POSTED);
	registers_build(&registers, &machine, published, 1u << REGISTER_POSTED);
	ck_assert_ptr_nonnull(registers_find(&registers, BUS_PIO, UART_PORT, REGISTER_POSTED));
	ck_assert_ptr_null(registers_find(&registers, BUS_PIO, UART_PORT + 5, REGISTER_PUBLISHED));
	registers_build(&registers, &machine, published, 0);
	ck_assert_uint_eq(registers.count, 0);
}
END_TEST

/* Any address of theirs: also a register that is not posted comes after what was. */
START_TEST(devices_with_posted_registers)
{
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_PIO, RTC_PORT + 1), 0);
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_PIO, UART_PORT), 1);
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_PIO, UART_PORT + 7), 1);
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_PIO, UART_PORT + 8), NOT_POSTED);
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_PIO, UART_PORT - 1), NOT_POSTED);
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_MMIO, UART_PORT), NOT_POSTED);
	ck_assert_uint_eq(registers_posted_device(&registers, BUS_MMIO, VIRTIO_MMIO_BASE), NOT_POSTED);
}
END_TEST

START_TEST(a_word_counts_if_it_says_so)
{
	const struct fast_register *r = registers_find(&registers, BUS_PIO, UART_PORT + 5, REGISTER_PUBLISHED);
	uint32_t value;

	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(r->size, 1);
	ck_assert(!register_read(r, &value));
	*(uint64_t *)r->word = PUBLISHED_VALID | 0x60;
	ck_assert(register_read(r, &value));
	ck_assert_uint_eq(value, 0x60);
	*(uint64_t *)r->word = ~PUBLISHED_VALID;
	ck_assert(!register_read(r, &value));
}
END_TEST

START_TEST(an_empty_table)
{
	memset(&registers, 0, sizeof(registers));
	ck_assert_ptr_null(registers_find(&registers, BUS_PIO, UART_PORT + 5, REGISTER_PUBLISHED));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("registers");
	TCase *t = tcase_create("registers");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, all_that_are_declared_and_no_others);
	tcase_add_test(t, one_use_without_the_other);
	tcase_add_test(t, devices_with_posted_registers);
	tcase_add_test(t, a_word_counts_if_it_says_so);
	tcase_add_test(t, an_empty_table);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

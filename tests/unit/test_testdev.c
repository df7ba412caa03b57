/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's test devices: the echo register, interrupt lines, memory, and fw_cfg. */
#include "devices/fw_cfg.h"
#include "devices/testdev.h"
#include "tests/unit/device_harness.h"

START_TEST(register_keeps_what_is_written)
{
	struct harness h;

	harness_open(&h, &testdev_ops);
	harness_write_wide(&h, 0, 4, 0x12345678);
	ck_assert_uint_eq(harness_read_wide(&h, 0, 4), 0x12345678);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(harness_read_wide(&h, i, 1), 0x12345678 >> 8 * i & 0xff);
	ck_assert_uint_eq(harness_read_wide(&h, 2, 2), 0x1234);
	harness_write_wide(&h, 1, 1, 0xab);
	harness_write_wide(&h, 10, 2, 0xcdef);
	ck_assert_uint_eq(harness_read_wide(&h, 8, 4), 0xcdefab78);
	harness_write_wide(&h, 3, 2, 0x55aa); /* across its end: what is outside is nowhere */
	ck_assert_uint_eq(harness_read_wide(&h, 0, 4), 0xaaefab78);
	harness_close(&h);
}
END_TEST

START_TEST(flush_does_nothing)
{
	struct harness h;

	harness_open(&h, &testdev_ops);
	harness_write_wide(&h, 0, 4, 7);
	for (unsigned size = 1; size <= 4; size *= 2) {
		harness_write_wide(&h, 4, size, 0x1000);
		ck_assert_uint_eq(harness_read_wide(&h, 4, size),
				  size == 4 ? 0xffffffff : (1u << 8 * size) - 1);
	}
	ck_assert_uint_eq(harness_read_wide(&h, 0, 4), 7);
	harness_close(&h);
}
END_TEST

START_TEST(a_line_is_pulsed_when_it_goes_up)
{
	static const struct {
		uint8_t value;
		uint32_t irq;
	} steps[] = {{0, 0}, {1, 1}, {1, 0}, {0xff, 0}, {0, 0}, {0, 0}, {0x80, 1}, {0, 0}, {2, 1}};
	struct harness h;

	harness_open(&h, &testdev_irq_ops);
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		harness_write_wide(&h, 0, 1, steps[i].value);
		ck_assert_msg(h.out.irq == steps[i].irq, "step %u", i);
		ck_assert_uint_eq(harness_read_wide(&h, 0, 1), 0xff);
		ck_assert_uint_eq(h.out.irq, 0);
	}
	/* Whatever its level claims to be. */
	memset(harness_state(&h), 0xee, sizeof(struct testdev_irq_state));
	harness_write_wide(&h, 0, 1, 1);
	ck_assert_uint_eq(h.out.irq, 0);
	harness_close(&h);
}
END_TEST

START_TEST(memory_is_memory)
{
	struct harness h;

	harness_open(&h, &testdev_memory_ops);
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t value = 0x8877665544332211 >> (64 - 8 * size);

		harness_write_wide(&h, 0, size, value);
		harness_write_wide(&h, TESTDEV_MEMORY_BYTES - size, size, ~value);
		ck_assert_uint_eq(harness_read_wide(&h, 0, size), value);
		ck_assert_uint_eq(harness_read_wide(&h, TESTDEV_MEMORY_BYTES - size, size),
				  ~value & UINT64_MAX >> (64 - 8 * size));
	}
	ck_assert_uint_eq(harness_read_wide(&h, 3, 2), 0x5544);
	harness_close(&h);
}
END_TEST

static uint64_t item(struct harness *h, uint16_t number, unsigned bytes)
{
	uint64_t value = 0;

	harness_write_wide(h, 0, 2, number);
	for (unsigned i = 0; i < bytes; i++)
		value |= harness_read_wide(h, 1, 1) << 8 * i;
	return value;
}

START_TEST(fw_cfg_tells_the_size)
{
	const struct device_config cfg = {.capacity = 0x123456789000, .cpus = 0x1234};
	struct harness h;

	harness_open(&h, &fw_cfg_ops);
	fw_cfg_ops.init(harness_state(&h), &cfg);
	ck_assert_uint_eq(item(&h, 0, 4), 0x554d4551);
	ck_assert_uint_eq(item(&h, 1, 4), 1);
	ck_assert_uint_eq(item(&h, 3, 8), cfg.capacity);
	ck_assert_uint_eq(harness_read_wide(&h, 1, 1), 0); /* behind its end */
	ck_assert_uint_eq(item(&h, 5, 2), 0x1234);
	ck_assert_uint_eq(item(&h, 15, 8), 0x1234);
	ck_assert_uint_eq(item(&h, 0x7777, 8), 0);
	/* Only 16-bit writes select, and data cannot be written. */
	item(&h, 0, 1);
	harness_write_wide(&h, 0, 1, 3);
	harness_write_wide(&h, 1, 1, 3);
	ck_assert_uint_eq(harness_read_wide(&h, 1, 1), 'E');
	memset(harness_state(&h), 0xff, sizeof(struct fw_cfg_state));
	ck_assert_uint_eq(harness_read_wide(&h, 1, 1), 0);
	harness_close(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("testdev");
	TCase *t = tcase_create("models");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, register_keeps_what_is_written);
	tcase_add_test(t, flush_does_nothing);
	tcase_add_test(t, a_line_is_pulsed_when_it_goes_up);
	tcase_add_test(t, memory_is_memory);
	tcase_add_test(t, fw_cfg_tells_the_size);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard controller, ACPI PM1a, reset control, debug exit. */
#include "devices/acpi_pm.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/reset.h"
#include "tests/unit/device_harness.h"

struct step {
	char kind; /* 'r', 'w', 0: end */
	uint64_t offset;
	uint32_t size;
	uint64_t value; /* written or expected */
	uint32_t event; /* expected */
	uint32_t exit_code;
};

static void run_script(const struct device_ops *ops, const char *name, const struct step *steps)
{
	struct harness h;

	harness_open(&h, ops);
	for (int i = 0; steps[i].kind; i++) {
		const struct step *s = &steps[i];

		if (s->kind == 'w') {
			harness_write_wide(&h, s->offset, s->size, s->value);
		} else {
			uint64_t got = harness_read_wide(&h, s->offset, s->size);

			ck_assert_msg(got == s->value, "%s, step %d: %#llx, expected %#llx", name, i,
				      (unsigned long long)got, (unsigned long long)s->value);
		}
		ck_assert_msg(h.out.event == s->event && h.out.exit_code == s->exit_code,
			      "%s, step %d: event %u, code %u", name, i, h.out.event, h.out.exit_code);
	}
	harness_close(&h);
}

/* clang-format off */
#define R(offset, value) {'r', offset, 1, value, 0, 0}
#define W(offset, value) {'w', offset, 1, value, 0, 0}
#define W_EVENT(offset, value, event) {'w', offset, 1, value, event, 0}
/* clang-format on */

START_TEST(test_i8042)
{
	static const struct {
		const char *name;
		struct step steps[24];
	} scripts[] = {
		{"nothing waits at first",
		 {R(4, 0x14), R(1, 0xff), R(2, 0xff), R(3, 0xff), W(1, 0), W(3, 0xfe), R(4, 0x14)}},
		{"self test", {W(4, 0xaa), R(4, 0x1d), R(0, 0x55), R(4, 0x1c), W(4, 0xab), R(0, 0x00)}},
		{"command byte",
		 {W(4, 0x20), R(4, 0x1d), R(0, 0x34), W(4, 0x60), R(4, 0x1c), W(0, 0x43), R(4, 0x10),
		  W(4, 0x20), R(0, 0x63), W(4, 0xad), W(4, 0x20), R(0, 0x73), W(4, 0xae), W(4, 0x20),
		  R(0, 0x63), W(4, 0x7f), W(0, 0x99), W(4, 0x3f), R(0, 0x99), W(4, 0x20), R(0, 0x63)}},
		{"no auxiliary port, told at once",
		 {W(4, 0xa7), W(4, 0xa8), R(4, 0x1c), W(4, 0xd3), W(0, 0x5a), R(4, 0x15), R(0, 0x5a),
		  W(4, 0xa9), R(4, 0x1d), R(0, 0x01), W(4, 0x20), R(0, 0x34), W(4, 0xd4), W(0, 0xf2),
		  R(4, 0x55), R(0, 0xfe)}},
		{"no keyboard, told at once",
		 {W(0, 0xff), R(4, 0x55), R(0, 0xfe), R(4, 0x14), W(0, 0xf2), W(4, 0xaa), R(4, 0x1d),
		  R(0, 0x55)}},
		{"ports",
		 {W(4, 0xc0), R(0, 0x80), W(4, 0xd0), R(0, 0x03), W(4, 0xe0), R(0, 0), W(4, 0xd2), W(0, 0x1c),
		  R(4, 0x15), R(0, 0x1c)}},
		{"A20 by keyboard controller, as kernels do it",
		 {W(4, 0xd1), R(4, 0x1c), W(0, 0xdf), R(4, 0x14), W(4, 0xff), R(4, 0x1c)}},
		{"reset by pulse", {W(4, 0xff), W(4, 0xf1), W_EVENT(4, 0xfe, MACHINE_RESET)}},
		{"reset by pulse of several lines", {W_EVENT(4, 0xf0, MACHINE_RESET)}},
		{"reset by output port",
		 {W(4, 0xd1), W(0, 0x03), W(4, 0xd1), W_EVENT(0, 0x02, MACHINE_RESET)}},
		{"a command forgets the one that awaited data",
		 {W(4, 0xd1), W(4, 0xaa), W(0, 0x00), R(0, 0xfe)}},
	};

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		run_script(&i8042_ops, scripts[i].name, scripts[i].steps);
}
END_TEST

/* clang-format off */
#define R2(offset, value) {'r', offset, 2, value, 0, 0}
#define W2(offset, value) {'w', offset, 2, value, 0, 0}
/* clang-format on */

START_TEST(test_acpi_pm)
{
	static const struct {
		const char *name;
		struct step steps[16];
	} scripts[] = {
		{"power-on", {R2(0, 0), R2(2, 0), R2(4, 1), R(4, 1), R(5, 0), R2(3, 0x0100), R2(1, 0)}},
		{"enable",
		 {W2(2, 0xffff), R2(2, 0x4721), R(2, 0x21), R(3, 0x47), W(3, 0x01), R2(2, 0x0121), W2(2, 0),
		  R2(2, 0)}},
		{"status is only cleared", {W2(0, 0xffff), R2(0, 0), W(1, 0xff), R2(0, 0)}},
		{"SCI_EN stays, GBL_RLS and SLP_EN read 0",
		 {W2(4, 0), R2(4, 1), W2(4, 0x0006), R2(4, 3), W2(4, 0x2000), R2(4, 1)}},
		{"SLP_TYP without SLP_EN", {W2(4, 5 << 10), R2(4, 5 << 10 | 1)}},
		{"other sleep states",
		 {W2(4, 1 << 10 | 1 << 13), W2(4, 7 << 10 | 1 << 13), R2(4, 7 << 10 | 1)}},
		{"S5, words", {W2(4, 5 << 10 | 1), {'w', 4, 2, 5 << 10 | 1 << 13 | 1, MACHINE_POWEROFF, 0}}},
		{"S5, bytes", {W(4, 1), W(5, 0x14), W_EVENT(5, 0x34, MACHINE_POWEROFF)}},
		{"S5, a word across registers",
		 {{'w', 5, 1, 0x34, MACHINE_POWEROFF, 0}, W2(3, 0x0100), R2(4, 0x1401)}},
	};

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		run_script(&acpi_pm_ops, scripts[i].name, scripts[i].steps);
}
END_TEST

START_TEST(test_acpi_status_write_one_to_clear)
{
	struct harness h;
	struct acpi_pm_state *s;

	harness_open(&h, &acpi_pm_ops);
	s = harness_state(&h);
	s->reg[0] = 0x31;
	s->reg[1] = 0x85;
	harness_write_wide(&h, 0, 2, 0x0110);
	ck_assert_uint_eq(harness_read_wide(&h, 0, 2), 0x8421);
	harness_write(&h, 1, 0x80);
	ck_assert_uint_eq(harness_read_wide(&h, 0, 2), 0x0421);
	harness_close(&h);
}
END_TEST

START_TEST(test_reset)
{
	static const struct {
		const char *name;
		struct step steps[8];
	} scripts[] = {
		{"at once, as by the FADT", {R(0, 0), W_EVENT(0, RESET_VALUE, MACHINE_RESET), R(0, 0x06)}},
		{"in two steps, as reboot=pci", {W(0, 0x02), R(0, 0x02), W_EVENT(0, 0x06, MACHINE_RESET)}},
		{"only a rise counts",
		 {W_EVENT(0, 0x04, MACHINE_RESET), W(0, 0x0e), W(0, 0xfb), R(0, 0xfb),
		  W_EVENT(0, 0x0e, MACHINE_RESET)}},
	};

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		run_script(&reset_ops, scripts[i].name, scripts[i].steps);
}
END_TEST

START_TEST(test_debug_exit)
{
	static const struct step steps[] = {
		{'r', 0, 1, 0xff, 0, 0},
		{'r', 0, 4, 0xffffffff, 0, 0},
		{'w', 0, 1, 0, MACHINE_EXIT, 0},
		{'w', 3, 1, 7, MACHINE_EXIT, 7},
		{'w', 2, 2, 0x1234, MACHINE_EXIT, 0x1234},
		{'w', 0, 4, 0xdeadbeef, MACHINE_EXIT, 0xdeadbeef},
		{0, 0, 0, 0, 0, 0},
	};
	struct outbox out = {0};
	struct operation op = {.out = &out};
	struct access first = {.size = 1, .value = 3, .write = true},
		      second = {.size = 1, .value = 4, .write = true};

	run_script(&debug_exit_ops, "debug exit", steps);
	debug_exit_ops.access(&op, &first); /* REP OUTS: one operation */
	debug_exit_ops.access(&op, &second);
	ck_assert_uint_eq(out.exit_code, 3);
}
END_TEST

/* The input buffer never looks full, or a kernel's wait before a reset would not end. */
static void check_i8042(struct harness *h)
{
	harness_expect(!(harness_read(h, 4) & 0x02));
	harness_expect(h->out.event == MACHINE_RUN);
}

static void check_acpi_pm(struct harness *h)
{
	harness_expect(h->out.event == MACHINE_RUN || h->out.event == MACHINE_POWEROFF);
}

START_TEST(test_fuzz)
{
	static const struct {
		const struct device_ops *ops;
		uint64_t window;
		void (*check)(struct harness *h);
	} devices[] = {
		{&i8042_ops, I8042_PORTS, check_i8042},
		{&acpi_pm_ops, ACPI_PM_PORTS + 2, check_acpi_pm}, /* a window made too large */
		{&reset_ops, RESET_PORTS, NULL},
		{&debug_exit_ops, DEBUG_EXIT_PORTS, NULL},
	};

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		struct harness h;

		harness_open(&h, devices[i].ops);
		harness_fuzz(&h, devices[i].window, 250000, i, devices[i].check);
		harness_close(&h);
	}
}
END_TEST

HARNESS_MAIN("pc_misc", test_i8042, test_acpi_pm, test_acpi_status_write_one_to_clear, test_reset,
	     test_debug_exit, test_fuzz)

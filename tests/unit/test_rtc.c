/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MC146818A, against the C library's calendar and a second-by-second count of alarms. */
#include <time.h>

#include "devices/rtc.h"
#include "tests/unit/device_harness.h"

#define SECOND   1000000000ull
#define REG_A    10
#define REG_B    11
#define REG_C    12
#define REG_D    13
#define SET      0x80
#define BINARY   0x04
#define HOURS_24 0x02

static uint8_t get(struct harness *h, uint8_t reg)
{
	harness_write(h, 0, reg);
	return harness_read(h, 1);
}

static void put(struct harness *h, uint8_t reg, uint8_t value)
{
	harness_write(h, 0, reg);
	harness_write(h, 1, value);
}

static uint8_t number(uint8_t b, unsigned n)
{
	return b & BINARY ? n : n / 10 * 16 + n % 10;
}

static uint8_t hour_number(uint8_t b, unsigned hour)
{
	if (b & HOURS_24)
		return number(b, hour);
	return number(b, hour == 0 ? 12 : hour > 12 ? hour - 12 : hour) + (hour >= 12 ? 0x80 : 0);
}

static void expect_time(struct harness *h, uint8_t b, time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	harness_expect(get(h, 0) == number(b, tm.tm_sec));
	harness_expect(get(h, 2) == number(b, tm.tm_min));
	harness_expect(get(h, 4) == hour_number(b, tm.tm_hour));
	harness_expect(get(h, 6) == number(b, tm.tm_wday + 1));
	harness_expect(get(h, 7) == number(b, tm.tm_mday));
	harness_expect(get(h, 8) == number(b, tm.tm_mon + 1));
	harness_expect(get(h, 9) == number(b, tm.tm_year % 100));
	harness_expect(get(h, RTC_CENTURY) == number(b, 19 + tm.tm_year / 100));
}

static void put_time(struct harness *h, uint8_t b, time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	put(h, 0, number(b, tm.tm_sec));
	put(h, 2, number(b, tm.tm_min));
	put(h, 4, hour_number(b, tm.tm_hour));
	put(h, 6, number(b, tm.tm_wday + 1));
	put(h, 7, number(b, tm.tm_mday));
	put(h, 8, number(b, tm.tm_mon + 1));
	put(h, 9, number(b, tm.tm_year % 100));
	put(h, RTC_CENTURY, number(b, 19 + tm.tm_year / 100));
}

#define LAST_SECOND 4102444799u /* 2099-12-31 23:59:59 */

static time_t random_time(uint64_t *seed)
{
	return (((uint64_t)harness_random(seed) << 31) + harness_random(seed)) % (LAST_SECOND + 1ull);
}

static void expect_clock(struct harness *h, uint8_t b, time_t t)
{
	harness_clock_ns = t * SECOND + 5;
	expect_time(h, b, t);
}

START_TEST(test_calendar)
{
	static const time_t corners[] = {0,         59,        86399,     68255999,   68256000,
					 951782400, 951868799, 951868800, 1709164800, LAST_SECOND};
	static const uint8_t modes[] = {HOURS_24, HOURS_24 | BINARY, 0, BINARY};
	uint64_t seed = 1;

	for (size_t m = 0; m < sizeof(modes); m++) {
		struct harness h;

		harness_open(&h, &rtc_ops);
		put(&h, REG_B, modes[m]);
		for (size_t i = 0; i < sizeof(corners) / sizeof(corners[0]); i++)
			expect_clock(&h, modes[m], corners[i]);
		for (time_t day = 0; day * 86400 < (time_t)LAST_SECOND; day++)
			expect_clock(&h, modes[m], day * 86400 + day % 86400);
		for (int i = 0; i < 20000; i++)
			expect_clock(&h, modes[m], random_time(&seed));
		harness_clock_ns = (LAST_SECOND + 1ull) * SECOND; /* 2100: again from 1970 */
		expect_time(&h, modes[m], 0);
		harness_close(&h);
	}
}
END_TEST

/* A time set under SET starts when SET is cleared, keeps the phase of the second, and persists. */
START_TEST(test_set)
{
	static const uint8_t modes[] = {HOURS_24, HOURS_24 | BINARY, 0, BINARY};
	uint64_t seed = 7;

	for (int i = 0; i < 20000; i++) {
		uint8_t b = modes[i % 4];
		time_t t = random_time(&seed) % (LAST_SECOND - 1000000),
		       later = harness_random(&seed) % 1000000;

		struct harness h;

		harness_open(&h, &rtc_ops);
		harness_clock_ns = random_time(&seed) * SECOND + 300000000;
		put(&h, REG_B, b | SET);
		put_time(&h, b, t);
		harness_clock_ns += 5 * SECOND;
		harness_expect(get(&h, 7) != 0 && !(get(&h, REG_A) & 0x80));
		put(&h, REG_B, b);
		expect_time(&h, b, t);
		harness_clock_ns += 699999999;
		expect_time(&h, b, t);
		harness_clock_ns += 1 + later * SECOND;
		expect_time(&h, b, t + 1 + later);
		harness_close(&h);
	}
}
END_TEST

START_TEST(test_set_details)
{
	struct harness h;

	harness_open(&h, &rtc_ops);
	harness_clock_ns = 1700000000 * SECOND; /* 2023-11-14 22:13:20 */

	/* SET freezes, clears UIE, and lets the old time run on when nothing was written (now late by the
	 * pause). */
	put(&h, REG_B, SET | HOURS_24 | 0x70);
	ck_assert_uint_eq(get(&h, REG_B), SET | HOURS_24 | 0x60);
	harness_clock_ns += 100 * SECOND;
	expect_time(&h, HOURS_24, 1700000000);
	put(&h, REG_B, HOURS_24);
	expect_time(&h, HOURS_24, 1700000000);
	harness_clock_ns += SECOND;
	expect_time(&h, HOURS_24, 1700000001);

	/* Without SET, a byte at a time. */
	put(&h, 4, 0x07);
	put(&h, 2, 0x59);
	put(&h, 0, 0x58);
	expect_time(&h, HOURS_24, 1700000000 - (22 * 3600 + 13 * 60 + 20) + 7 * 3600 + 59 * 60 + 58);

	/* Out of range: moved into it. 2023-02-31 25:61:61 -> 2023-02-28 23:59:59 */
	put(&h, REG_B, SET | HOURS_24);
	put(&h, 0, 0x61);
	put(&h, 2, 0x61);
	put(&h, 4, 0x25);
	put(&h, 7, 0x31);
	put(&h, 8, 0x02);
	put(&h, REG_B, HOURS_24);
	expect_time(&h, HOURS_24, 1677628799);

	/* A century of zero is that of somebody who knows of two digits only: 2069 and 1970. */
	for (int i = 0; i < 2; i++) {
		time_t t = i ? 0 : 3124224000;

		put(&h, REG_B, SET | HOURS_24);
		put_time(&h, HOURS_24, t);
		put(&h, RTC_CENTURY, 0);
		put(&h, REG_B, HOURS_24);
		expect_time(&h, HOURS_24, t);
	}
	harness_close(&h);
}
END_TEST

/* Linux's mc146818_set_time(): SET, divider reset, write, clear SET, restore the divider; the second
 * begins 500 ms later. */
START_TEST(test_divider_reset)
{
	struct harness h;

	harness_open(&h, &rtc_ops);
	harness_clock_ns = 1700000000 * SECOND + 900000000;
	put(&h, REG_B, SET | HOURS_24);
	put(&h, REG_A, 0x76);
	put_time(&h, HOURS_24, 1000000000);
	put(&h, REG_B, HOURS_24);
	harness_clock_ns += 3 * SECOND;
	expect_time(&h, HOURS_24, 1000000000);
	put(&h, REG_A, 0x26);
	harness_clock_ns += 499999999;
	expect_time(&h, HOURS_24, 1000000000);
	harness_clock_ns += 1;
	expect_time(&h, HOURS_24, 1000000001);
	harness_close(&h);
}
END_TEST

START_TEST(test_uip)
{
	static const struct {
		uint64_t ns;
		uint8_t a;
	} cases[] = {{0, 0x26}, {999755999, 0x26}, {999756000, 0xa6}, {999999999, 0xa6}, {SECOND, 0x26}};
	struct harness h;

	harness_open(&h, &rtc_ops);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		harness_clock_ns = 1700000000 * SECOND + cases[i].ns;
		ck_assert_uint_eq(get(&h, REG_A), cases[i].a);
	}
	put(&h, REG_A, 0xff); /* UIP cannot be written; divider in reset: no updates */
	harness_clock_ns = 1700000002 * SECOND - 1;
	ck_assert_uint_eq(get(&h, REG_A), 0x7f);
	harness_close(&h);
}
END_TEST

START_TEST(test_flags)
{
	struct harness h;

	harness_open(&h, &rtc_ops);
	harness_clock_ns = 1700000000 * SECOND;
	put(&h, 1, 0x61); /* an alarm that never comes */
	put(&h, REG_A, 0x20);
	get(&h, REG_C);
	ck_assert_uint_eq(get(&h, REG_C), 0);
	harness_clock_ns += SECOND - 1;
	ck_assert_uint_eq(get(&h, REG_C), 0);
	harness_clock_ns += 1;
	ck_assert_uint_eq(get(&h, REG_C), 0x10);
	ck_assert_uint_eq(get(&h, REG_C), 0);
	harness_clock_ns += SECOND;
	put(&h, REG_B, HOURS_24 | 0x10); /* a flag from before the enable counts (MC146818A, register C) */
	ck_assert_uint_eq(get(&h, REG_C), 0x90);

	/* Periods: 1024 Hz, then rate 1, which is 256 Hz; flag without enable. */
	put(&h, REG_A, 0x26);
	put(&h, REG_B, HOURS_24);
	harness_clock_ns += 976562;
	ck_assert_uint_eq(get(&h, REG_C), 0);
	harness_clock_ns += 1;
	ck_assert_uint_eq(get(&h, REG_C), 0x40);
	put(&h, REG_A, 0x21);
	harness_clock_ns += 2929686;
	ck_assert_uint_eq(get(&h, REG_C), 0);
	harness_clock_ns += 2;
	ck_assert_uint_eq(get(&h, REG_C), 0x40);

	put(&h, REG_A, 0x22); /* 128 Hz */
	harness_clock_ns = 1700000010 * SECOND;
	get(&h, REG_C);
	harness_clock_ns += 7812499;
	ck_assert_uint_eq(get(&h, REG_C), 0);
	harness_clock_ns += 1;
	ck_assert_uint_eq(get(&h, REG_C), 0x40);

	/* SET stops updates, not periods. A divider in reset stops both. */
	put(&h, REG_B, SET | HOURS_24 | 0x40);
	harness_clock_ns += 10 * SECOND;
	ck_assert_uint_eq(get(&h, REG_C), 0xc0);
	put(&h, REG_A, 0x76);
	harness_clock_ns += 10 * SECOND;
	ck_assert_uint_eq(get(&h, REG_C), 0);
	put(&h, REG_A, 0x20);
	put(&h, REG_B, HOURS_24);

	/* Setting the time is not time passing. */
	get(&h, REG_C);
	put(&h, 9, 0x30);
	put(&h, 2, 0x30);
	ck_assert_uint_eq(get(&h, REG_C), 0);

	/* C and D are read-only. */
	put(&h, REG_C, 0xff);
	put(&h, REG_D, 0);
	ck_assert_uint_eq(get(&h, REG_C), 0);
	ck_assert_uint_eq(get(&h, REG_D), 0x80);
	harness_close(&h);
}
END_TEST

static bool alarm_in(time_t from, time_t to, const int alarm[3])
{
	for (time_t t = from + 1; t <= to; t++)
		if ((alarm[0] < 0 || alarm[0] == t % 60) && (alarm[1] < 0 || alarm[1] == t / 60 % 60) &&
		    (alarm[2] < 0 || alarm[2] == t / 3600 % 24))
			return true;
	return false;
}

START_TEST(test_alarm)
{
	struct harness h;
	uint64_t seed = 11;

	harness_open(&h, &rtc_ops);
	for (int i = 0; i < 2000; i++) {
		static const int limit[3] = {60, 60, 24};
		static const time_t reach[4] = {3, 200, 8000, 200000};
		uint8_t b = i & 1 ? BINARY : 0;
		time_t t = random_time(&seed) % 4000000000, dt = harness_random(&seed) % reach[i % 4];
		int alarm[3];

		put(&h, REG_B, b);
		for (int f = 0; f < 3; f++) {
			alarm[f] = harness_random(&seed) % 3 ? (int)(harness_random(&seed) % limit[f]) : -1;
			put(&h, f * 2 + 1,
			    alarm[f] < 0 ? 0xc0 | harness_random(&seed) % 64
			    : f == 2     ? hour_number(b, alarm[f])
					 : number(b, alarm[f]));
		}
		harness_clock_ns = t * SECOND + harness_random(&seed) % SECOND;
		get(&h, REG_C);
		harness_clock_ns += dt * SECOND;
		harness_expect(!!(get(&h, REG_C) & 0x20) == alarm_in(t, t + dt, alarm));
	}
	harness_close(&h);
}
END_TEST

START_TEST(test_ports_and_ram)
{
	struct harness h;

	harness_open(&h, &rtc_ops);
	ck_assert_uint_eq(harness_read(&h, 0), 0xff); /* port 0x70 is write-only */
	for (unsigned reg = 14; reg < 128; reg++)
		if (reg != RTC_CENTURY)
			ck_assert_uint_eq(get(&h, reg), 0);
	for (unsigned reg = 14; reg < 128; reg++)
		if (reg != RTC_CENTURY)
			put(&h, reg | 0x80, reg ^ 0x5a); /* bit 7 is the NMI mask, not part of the index */
	for (unsigned reg = 14; reg < 128; reg++)
		if (reg != RTC_CENTURY)
			ck_assert_uint_eq(get(&h, reg), reg ^ 0x5a);
	harness_close(&h);
}
END_TEST

static void check_rtc(struct harness *h)
{
	harness_expect(!h->out.irq && !h->out.event && !h->out.io_start);
}

START_TEST(test_fuzz)
{
	struct harness h;

	harness_open(&h, &rtc_ops);
	harness_fuzz(&h, RTC_PORTS, 1000000, 5, check_rtc);
	harness_close(&h);
}
END_TEST

HARNESS_MAIN("rtc", test_calendar, test_set, test_set_details, test_divider_reset, test_uip, test_flags,
	     test_alarm, test_ports_and_ram, test_fuzz)

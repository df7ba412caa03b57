/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. There is one clock: wall time plus offset_ns. While the chip runs, its registers of
 * time are a view of the clock: load_time() fills them in, in the format that register B says; store_time()
 * turns them into a new offset. While it is held, by SET or by a divider in reset, they are plain bytes;
 * letting go stores them.
 *
 * Flags: collect_flags() asks what happened between seen_ns and now, in closed form, and moves seen_ns up.
 */
#include "devices/rtc.h"

#define NS_PER_S       1000000000ull
#define UIP_NS         244000ull /* tBUC: from UIP to the update */
#define HALF_SECOND_NS 500000000ull

enum rtc_register {
	SECONDS = 0,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY, /* 1: Sunday */
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = RTC_CENTURY,
};

#define A_UIP      0x80u
#define A_RESET    0x60u /* divider 11x: held in reset */
#define A_RATE     0x0fu
#define A_DEFAULT  0x26u /* 32.768 kHz crystal, 1.024 kHz periodic rate: what PCs use */
#define B_SET      0x80u
#define B_UIE      0x10u
#define B_BINARY   0x04u
#define B_24_HOURS 0x02u
#define C_IRQF     0x80u
#define C_PERIODIC 0x40u
#define C_ALARM    0x20u
#define C_UPDATE   0x10u
#define C_FLAGS    0x70u /* each enabled by the same bit of B */
#define D_VRT      0x80u /* RAM and time are valid */
#define HOUR_PM    0x80u
#define ALARM_ANY  0xc0u /* an alarm register with both bits set matches always */

static bool divider_reset(const struct rtc_state *s)
{
	return (s->reg[REG_A] & A_RESET) == A_RESET;
}

static bool held(const struct rtc_state *s)
{
	return (s->reg[REG_B] & B_SET) || divider_reset(s);
}

static bool is_time(unsigned reg)
{
	return reg == SECONDS || reg == MINUTES || reg == HOURS || (reg >= WEEKDAY && reg <= YEAR) ||
	       reg == CENTURY;
}

static uint8_t encode(const struct rtc_state *s, unsigned value)
{
	return (uint8_t)(s->reg[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct rtc_state *s, uint8_t value)
{
	return s->reg[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 0x0f);
}

static uint8_t encode_hour(const struct rtc_state *s, unsigned hour)
{
	if (s->reg[REG_B] & B_24_HOURS)
		return encode(s, hour);
	return encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc_state *s, uint8_t value)
{
	if (s->reg[REG_B] & B_24_HOURS)
		return decode(s, value);
	return decode(s, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

/*
 * Dates. From 1970 to 2099 every fourth year is a leap year, so days come in cycles of 1461. The first cycle
 * here starts with 1969, which puts the leap day at a cycle's end.
 */
#define DAYS_PER_CYCLE (4 * 365 + 1)
#define DAYS_IN_RANGE  (130 * 365 + 32) /* 1970 to 2099 */

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && year % 4 == 0 ? 1 : 0);
}

/* Days since 1970 of a valid date. */
static unsigned days_of_date(unsigned year, unsigned month, unsigned day)
{
	unsigned y = year - 1969;
	unsigned days = y / 4 * DAYS_PER_CYCLE + y % 4 * 365 - 365;

	for (unsigned m = 1; m < month; m++)
		days += days_in_month(year, m);
	return days + day - 1;
}

/* The clock's time as registers. A clock beyond 2099 (no guest can set one) starts again at 1970. */
static void load_time(struct rtc_state *s, uint64_t clock_ns)
{
	uint64_t seconds = clock_ns / NS_PER_S;
	unsigned of_day = seconds % 86400;
	unsigned days = seconds / 86400 % DAYS_IN_RANGE;
	unsigned of_cycle = (days + 365) % DAYS_PER_CYCLE;
	unsigned of_four = of_cycle / 365 < 3 ? of_cycle / 365 : 3;
	unsigned year = 1969 + (days + 365) / DAYS_PER_CYCLE * 4 + of_four;
	unsigned day = of_cycle - of_four * 365;
	unsigned month = 1;

	while (month < 12 && day >= days_in_month(year, month))
		day -= days_in_month(year, month++);
	s->reg[SECONDS] = encode(s, of_day % 60);
	s->reg[MINUTES] = encode(s, of_day / 60 % 60);
	s->reg[HOURS] = encode_hour(s, of_day / 3600);
	s->reg[WEEKDAY] = encode(s, (days + 4) % 7 + 1); /* 1970 began on a Thursday */
	s->reg[DAY] = encode(s, day + 1);
	s->reg[MONTH] = encode(s, month);
	s->reg[YEAR] = encode(s, year % 100);
	s->reg[CENTURY] = encode(s, year / 100);
}

static unsigned clamp(unsigned value, unsigned low, unsigned high)
{
	return value < low ? low : value > high ? high : value;
}

/* 1970 to 2099. A century that makes no sense is ignored, as by software that does not know of one. */
static unsigned registers_year(const struct rtc_state *s)
{
	unsigned year = decode(s, s->reg[YEAR]) % 100;

	return decode(s, s->reg[CENTURY]) == 20 || year < 70 ? 2000 + year : 1900 + year;
}

/* The registers' time as a new offset; what is out of range is moved into it. The running second keeps its
 * phase: the oscillator does not care what time it is. */
static void store_time(struct rtc_state *s, uint64_t wall_ns)
{
	unsigned year = registers_year(s);
	unsigned month = clamp(decode(s, s->reg[MONTH]), 1, 12);
	unsigned day = clamp(decode(s, s->reg[DAY]), 1, days_in_month(year, month));
	unsigned hour = clamp(decode_hour(s, s->reg[HOURS]), 0, 23);
	unsigned minute = clamp(decode(s, s->reg[MINUTES]), 0, 59);
	unsigned second = clamp(decode(s, s->reg[SECONDS]), 0, 59);
	uint64_t seconds =
		days_of_date(year, month, day) * 86400ull + hour * 3600ull + minute * 60ull + second;
	uint64_t phase = (wall_ns + s->offset_ns) % NS_PER_S;

	s->offset_ns = seconds * NS_PER_S + phase - wall_ns;
}

/* One alarm register against one field of the time: how many values from 0 on it matches, below the
 * present one, at it (0 or 1), and in all. */
struct match {
	uint64_t before, here, total;
};

static uint64_t matches_below(uint8_t raw, unsigned value, unsigned limit)
{
	return (raw & ALARM_ANY) == ALARM_ANY ? limit : value < limit;
}

static struct match match(uint8_t raw, unsigned value, unsigned present, unsigned limit)
{
	uint64_t before = matches_below(raw, value, present);

	return (struct match){
		.before = before,
		.here = matches_below(raw, value, present + 1) - before,
		.total = matches_below(raw, value, limit),
	};
}

/* How often the alarm matches in the first `seconds` seconds since 1970: two such counts differ if it went
 * off between. */
static uint64_t alarms_before(const struct rtc_state *s, uint64_t seconds)
{
	uint8_t raw_h = s->reg[HOURS_ALARM], raw_m = s->reg[MINUTES_ALARM], raw_s = s->reg[SECONDS_ALARM];
	struct match hour = match(raw_h, decode_hour(s, raw_h), seconds / 3600 % 24, 24);
	struct match minute = match(raw_m, decode(s, raw_m), seconds / 60 % 60, 60);
	struct match second = match(raw_s, decode(s, raw_s), seconds % 60, 60);
	uint64_t per_hour = minute.total * second.total;

	return (seconds / 86400 * hour.total + hour.before) * per_hour +
	       hour.here * (minute.before * second.total + minute.here * second.before);
}

/* Periods of the periodic interrupt since 1970. Rates 1 and 2 are those of 8 and 9 (data sheet, register
 * A). */
static uint64_t periods(const struct rtc_state *s, uint64_t clock_ns)
{
	unsigned rate = s->reg[REG_A] & A_RATE;
	uint64_t ticks = clock_ns / NS_PER_S * 32768 + clock_ns % NS_PER_S * 32768 / NS_PER_S;

	if (rate == 0)
		return 0;
	return ticks >> (rate <= 2 ? rate + 6 : rate - 1);
}

static void collect_flags(struct rtc_state *s, uint64_t clock_ns)
{
	uint64_t was = s->seen_ns / NS_PER_S, is = clock_ns / NS_PER_S;

	if (!divider_reset(s) && periods(s, s->seen_ns) != periods(s, clock_ns))
		s->reg[REG_C] |= C_PERIODIC;
	if (!held(s) && was != is) {
		s->reg[REG_C] |= C_UPDATE;
		if (alarms_before(s, was + 1) != alarms_before(s, is + 1))
			s->reg[REG_C] |= C_ALARM;
	}
	s->seen_ns = clock_ns;
}

/* Registers A and B. Bringing the divider out of reset, the first update comes half a second later. */
static void write_control(struct rtc_state *s, uint64_t wall_ns, unsigned reg, uint8_t value)
{
	bool was_held = held(s), was_reset = divider_reset(s);

	if (!was_held)
		load_time(s, wall_ns + s->offset_ns);
	if (reg == REG_B && (value & B_SET))
		value &= ~B_UIE;
	s->reg[reg] = value;
	if (was_reset && !divider_reset(s))
		s->offset_ns += HALF_SECOND_NS - (wall_ns + s->offset_ns) % NS_PER_S;
	if (was_held && !held(s))
		store_time(s, wall_ns);
}

static void rtc_write(struct rtc_state *s, uint64_t wall_ns, unsigned reg, uint8_t value)
{
	collect_flags(s, wall_ns + s->offset_ns);
	if (reg == REG_A || reg == REG_B) {
		write_control(s, wall_ns, reg, value);
	} else if (is_time(reg) && !held(s)) {
		load_time(s, wall_ns + s->offset_ns);
		s->reg[reg] = value;
		store_time(s, wall_ns);
	} else if (reg != REG_C && reg != REG_D) {
		s->reg[reg] = value;
	}
	s->seen_ns = wall_ns + s->offset_ns;
}

static uint8_t read_c(struct rtc_state *s, uint64_t clock_ns)
{
	uint8_t flags;

	collect_flags(s, clock_ns);
	flags = s->reg[REG_C] & C_FLAGS;
	s->reg[REG_C] = 0;
	return flags & s->reg[REG_B] ? flags | C_IRQF : flags;
}

static uint8_t rtc_read(struct rtc_state *s, uint64_t clock_ns, unsigned reg)
{
	if (reg == REG_A)
		return (s->reg[REG_A] & ~A_UIP) |
		       (!held(s) && clock_ns % NS_PER_S >= NS_PER_S - UIP_NS ? A_UIP : 0);
	if (reg == REG_C)
		return read_c(s, clock_ns);
	if (reg == REG_D)
		return D_VRT;
	if (is_time(reg) && !held(s))
		load_time(s, clock_ns);
	return s->reg[reg];
}

static void rtc_access(struct operation *op, struct access *a)
{
	struct rtc_state *s = op->state;
	unsigned reg = s->index % RTC_REGISTERS;

	if (a->offset % RTC_PORTS == 0) {
		if (a->write)
			s->index = (uint8_t)a->value;
	} else if (a->write) {
		rtc_write(s, op->now_ns(), reg, (uint8_t)a->value);
	} else {
		a->value = rtc_read(s, op->now_ns() + s->offset_ns, reg);
	}
}

static void rtc_init(void *state, const struct device_config *cfg)
{
	struct rtc_state *s = state;

	s->reg[REG_A] = A_DEFAULT;
	s->reg[REG_B] = B_24_HOURS;
}

/* The index: it is remembered, and nothing more. What is read through it depends on the time. */
static const struct device_register registers[] = {{0, 1, REGISTER_POSTED}};

static bool rtc_publish(const void *state, unsigned n, uint32_t *value)
{
	*value = 0;
	return true;
}

const struct device_ops rtc_ops = {
	.name = "rtc",
	.state_size = sizeof(struct rtc_state),
	.max_access = 1,
	.init = rtc_init,
	.access = rtc_access,
	.registers = registers,
	.register_count = sizeof(registers) / sizeof(registers[0]),
	.publish = rtc_publish,
};

_Static_assert(sizeof(struct rtc_state) == 152, "layout of the RTC's state");

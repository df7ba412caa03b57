/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has the emulator misbehave: do=ACTION arg=N times=M on the command line. Says how many of the commands were
 * committed and how many were begun, which is more where one was begun twice, and whether the device's line has
 * been raised; then it powers off. With `mute` it says nothing: for actions after which COM1 may be anything.
 */
#include "chaos.h"
#include "irq.h"

static const char *const actions[] = {
	"count", "spin-ms", "spin", "sleep", "crash", "trap", "exit", "crash-spare", "crash-first", "crash-committed",
	"exhaust", "scribble-region", "scribble-reply", "forge-reply", "interrupts", "syscall",
};
#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

static uint32_t action_number(void)
{
	uint32_t n = 0;

	while (n < ACTIONS && !option_is("do", actions[n]))
		n++;
	check(n < ACTIONS);
	return n;
}

static void power_off(void)
{
	outw(ACPI_PM1A_CONTROL, 5 << 10 | 1 << 13); /* SLP_TYP, SLP_EN: ACPI 6.5, 4.8.3.2.1 */
	for (;;)
		barrier();
}

static void say(const char *what, uint64_t n)
{
	puts(what);
	putdec(n);
}

unsigned guest_main(void)
{
	uint32_t action = action_number(), argument = (uint32_t)option("arg", 0);
	uint64_t times = option("times", 1);

	interrupts_init();
	ioapic_enable(CHAOS_IRQ);
	interrupts_on();
	for (uint64_t i = 0; i < times; i++)
		chaos_command(action, argument);
	if (option("mute", 0))
		power_off();
	say("survived ", times);
	say(": committed ", inl(CHAOS_COUNTER));
	say(", begun ", inl(CHAOS_COMMAND));
	puts(interrupt_count[IOAPIC_VECTOR + CHAOS_IRQ] ? ", interrupted\n" : "\n");
	power_off();
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has the emulator misbehave: do=ACTION arg=N times=M on the command line; with cpus=K, by K processors at once,
 * each on the device of its own. Says how many of all these commands were committed and how many were begun, which
 * is more where one was begun twice, and whether the device's line has been raised; then it powers off. With
 * `mute` it says nothing: for actions after which COM1 may be anything. With wait=N it does nothing for about N
 * times 10 ms before it looks.
 */
#include "chaos.h"
#include "irq.h"

static const char *const actions[] = {
	"count", "spin-ms", "spin", "sleep", "crash", "trap", "exit", "crash-spare", "crash-first", "crash-committed",
	"exhaust", "scribble-region", "scribble-reply", "forge-reply", "interrupts", "syscall",
	"hang-io",
};
#define TRAMPOLINE   0x8000ul    /* the SIPI's vector is the page number */
#define ICR_INIT     0x000c4500u /* to all but self, level assert */
#define ICR_STARTUP  0x000c4600u
#define CYCLES_10_MS (1ull << 25) /* 11 ms at 3 GHz */

#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

static uint32_t action_number(void)
{
	uint32_t n = 0;

	while (n < ACTIONS && !option_is("do", actions[n]))
		n++;
	check(n < ACTIONS);
	return n;
}

/* What the other processors run, in real mode, copied to a page below 1 MiB. Ends with a struct others. */
extern const char others_start[], others_end[];
__asm__(".pushsection .rodata\n"
	".code16\n"
	"others_start:\n"
	"	cli\n"
	"	movw %cs, %ax\n"
	"	movw %ax, %ds\n"
	"	movl $1, %eax\n" /* the initial APIC id: SDM vol. 2, CPUID, EBX 31:24 */
	"	cpuid\n"
	"	shrl $24, %ebx\n"
	"	andl $7, %ebx\n"
	"	shll $3, %ebx\n"
	"	movw $0x5c0, %dx\n"
	"	addw %bx, %dx\n"
	"	movl others_end - others_start - 12, %eax\n"
	"	movl others_end - others_start - 8, %ecx\n"
	"1:	outl %eax, %dx\n"
	"	decl %ecx\n"
	"	jnz 1b\n"
	"	lock incl others_end - others_start - 4\n"
	"2:	hlt\n"
	"	jmp 2b\n"
	"	.balign 4\n"
	"	.long 0, 0, 0\n"
	"others_end:\n"
	".code64\n"
	".popsection");

struct others {
	uint32_t command;
	uint32_t times; /* > 0 */
	uint32_t done;  /* processors that have finished */
};

static volatile struct others *others_begin(uint32_t command, uint32_t times)
{
	size_t size = (size_t)(others_end - others_start);
	volatile struct others *o = (struct others *)(TRAMPOLINE + size - sizeof(*o));
	uint64_t start;

	memcpy((void *)TRAMPOLINE, others_start, size);
	o->command = command;
	o->times = times;
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_INIT);
	for (start = rdtsc(); rdtsc() - start < CYCLES_10_MS;)
		barrier();
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_STARTUP | TRAMPOLINE >> 12);
	return o;
}

/* Of all devices. */
static uint64_t sum(uint16_t port, uint64_t cpus)
{
	uint64_t total = 0;

	for (uint16_t i = 0; i < cpus && i < CHAOS_DEVICES; i++)
		total += inl(port + i * CHAOS_PORTS);
	return total;
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
	uint32_t action = action_number(), argument = (uint32_t)option("arg", 0), times = (uint32_t)option("times", 1);
	uint64_t cpus = option("cpus", 1);
	volatile struct others *others = NULL;

	interrupts_init();
	ioapic_enable(CHAOS_IRQ);
	interrupts_on();
	if (cpus > 1)
		others = others_begin(action | argument << 8, times);
	for (uint32_t i = 0; i < times; i++)
		chaos_command(action, argument);
	while (others && others->done < cpus - 1)
		barrier();
	for (uint64_t start = rdtsc(), pause = option("wait", 0) * CYCLES_10_MS; rdtsc() - start < pause;)
		barrier();
	if (option("mute", 0))
		power_off();
	say("survived ", cpus * times);
	say(": committed ", sum(CHAOS_COUNTER, cpus));
	say(", begun ", sum(CHAOS_COMMAND, cpus));
	puts(interrupt_count[IOAPIC_VECTOR + CHAOS_IRQ] ? ", interrupted\n" : "\n");
	power_off();
	return 0;
}

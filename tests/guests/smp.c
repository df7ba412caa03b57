/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts all application processors by INIT-SIPI (SDM vol. 3, 9.4.4) and counts those that report. */
#include "irq.h"

#define TRAMPOLINE   0x8000ul    /* the SIPI's vector is the page number */
#define ICR_INIT     0x000c4500u /* to all but self, level assert */
#define ICR_STARTUP  0x000c4600u
#define CYCLES_10_MS (1ull << 25) /* 11 ms at 3 GHz */

extern const char ap_trampoline[], ap_trampoline_end[];

unsigned guest_main(void)
{
	uint64_t others = option("cpus", 1) - 1, start;
	size_t size = (size_t)(ap_trampoline_end - ap_trampoline);
	volatile uint32_t *count = (volatile uint32_t *)(TRAMPOLINE + size - sizeof(uint32_t));

	interrupts_init();
	memcpy((void *)TRAMPOLINE, ap_trampoline, size);
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_INIT);
	for (start = rdtsc(); rdtsc() - start < CYCLES_10_MS;)
		barrier();
	mmio_write32(LAPIC_BASE + LAPIC_ICR, ICR_STARTUP | TRAMPOLINE >> 12);
	check(wait_until(*count >= others));
	for (start = rdtsc(); rdtsc() - start < CYCLES_10_MS;) /* for one too many */
		barrier();
	check_eq(*count, others);
	putdec(*count + 1);
	puts(" processors\n");
	return 0;
}

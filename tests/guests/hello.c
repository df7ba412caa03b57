/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints a line and switches the machine off by ACPI. */
#include "lib.h"

#define SLP_TYP_S5 (5u << 10) /* what dvmm's DSDT says for \_S5 */
#define SLP_EN     (1u << 13) /* ACPI 6.5, 4.8.3.2.1 */

unsigned guest_main(void)
{
	puts("hello, world\n");
	outw(ACPI_PM1A_CONTROL, (uint16_t)(option("slp_typ", SLP_TYP_S5 >> 10) << 10 | SLP_EN));
	wait_until(false); /* it may take effect a little later */
	return 1;
}

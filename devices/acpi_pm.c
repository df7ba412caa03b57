/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Theory of operation. The registers are handled byte by byte: SLP_TYP and SLP_EN share one, so nothing is
 * lost by it. */
#include "devices/acpi_pm.h"

#define ENABLE        2u
#define CONTROL       4u
#define CONTROL_SLEEP 5u
#define SCI_EN        0x01u
#define SLP_TYP(byte) ((byte) >> 2 & 7u)
#define SLP_EN        0x20u

/* The bits that can be written and read back: TMR_EN, GBL_EN; PWRBTN_EN, SLPBTN_EN, RTC_EN,
 * PCIEXP_WAKE_DIS; BM_RLD; SLP_TYP. Those of the status register are only cleared. (4.8.3.1.2, 4.8.3.2.1) */
static const uint8_t writable[ACPI_PM_PORTS] = {0, 0, 0x21, 0x47, 0x02, 0x1c};

static void write_byte(struct acpi_pm_state *s, struct outbox *out, uint64_t offset, uint8_t value)
{
	if (offset >= ACPI_PM_PORTS)
		return;
	if (offset < ENABLE)
		s->reg[offset] &= ~value;
	else
		s->reg[offset] = value & writable[offset];
	if (offset == CONTROL)
		s->reg[offset] |= SCI_EN;
	if (offset == CONTROL_SLEEP && (value & SLP_EN) && SLP_TYP(value) == ACPI_PM_SLP_TYP_S5)
		out->event = MACHINE_POWEROFF;
}

static void acpi_pm_access(struct operation *op, struct access *a)
{
	struct acpi_pm_state *s = op->state;

	if (!a->write)
		a->value = 0;
	for (unsigned i = 0; i < a->size; i++) {
		if (a->write)
			write_byte(s, op->out, a->offset + i, (uint8_t)(a->value >> 8 * i));
		else
			a->value |= (uint64_t)(a->offset + i < ACPI_PM_PORTS ? s->reg[a->offset + i] : 0xff)
				    << 8 * i;
	}
}

static void acpi_pm_init(void *state, const struct device_config *cfg)
{
	struct acpi_pm_state *s = state;

	s->reg[CONTROL] = SCI_EN;
}

const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.state_size = sizeof(struct acpi_pm_state),
	.max_access = 2,
	.init = acpi_pm_init,
	.access = acpi_pm_access,
};

_Static_assert(sizeof(struct acpi_pm_state) == 8, "layout of the ACPI registers' state");

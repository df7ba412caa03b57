/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the tables are laid one behind the other into the 128 KiB below 1 MiB where firmware
 * would keep them, so that what points to a table is written after it: RSDP (whose place is fixed), FACS,
 * DSDT, FADT, MADT, XSDT. Each is a packed struct from the specification; only the MADT and the DSDT have a
 * length that depends on the machine, and the DSDT's AML is written in place.
 */
#include "vmm/acpi.h"

#include <errno.h>
#include <string.h>

#include "vmm/aml.h"

#define ACPI_PACKED __attribute__((packed))

struct acpi_header { /* ACPI 6.5, 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} ACPI_PACKED;

struct acpi_rsdp { /* ACPI 6.5, 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} ACPI_PACKED;

struct acpi_register { /* Generic Address Structure, ACPI 6.5, 5.2.3.2 */
	uint8_t space; /* 1: I/O ports */
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size; /* 1: byte, 2: word */
	uint64_t address;
} ACPI_PACKED;

struct acpi_fadt { /* ACPI 6.5, 5.2.9 */
	struct acpi_header header;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved0, preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk;
	uint32_t gpe0_blk, gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len, gpe1_base;
	uint8_t cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_register reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct acpi_register x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk;
	struct acpi_register x_pm2_cnt_blk, x_pm_tmr_blk, x_gpe0_blk, x_gpe1_blk;
	struct acpi_register sleep_control, sleep_status;
	char hypervisor[8];
} ACPI_PACKED;

/* ACPI 6.5, table 5.10. The button and RTC flags say that these are not among the fixed registers. */
enum fadt_flags {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_PWR_BUTTON = 1 << 4,
	FADT_SLP_BUTTON = 1 << 5,
	FADT_FIX_RTC = 1 << 6,
	FADT_RESET_REG = 1 << 10,
};

/* ACPI 6.5, table 5.11. Bit 1, an 8042, stays clear: nobody shall look for a keyboard. */
enum fadt_boot_arch {
	FADT_LEGACY_DEVICES = 1 << 0,
	FADT_NO_VGA = 1 << 2,
};

struct acpi_facs { /* ACPI 6.5, 5.2.10 */
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
} ACPI_PACKED;

struct acpi_madt { /* ACPI 6.5, 5.2.12 */
	struct acpi_header header;
	uint32_t lapic_base;
	uint32_t flags; /* bit 0: there is also a pair of 8259s */
} ACPI_PACKED;

struct madt_lapic { /* 5.2.12.2 */
	uint8_t type, length, processor_uid, apic_id;
	uint32_t flags; /* bit 0: enabled */
} ACPI_PACKED;

struct madt_ioapic { /* 5.2.12.3 */
	uint8_t type, length, id, reserved;
	uint32_t base, gsi_base;
} ACPI_PACKED;

struct madt_override { /* 5.2.12.5 */
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags; /* bits 1:0 polarity, 1: high; bits 3:2 trigger, 3: level */
} ACPI_PACKED;

struct madt_lapic_nmi { /* 5.2.12.7 */
	uint8_t type, length, processor_uid;
	uint16_t flags;
	uint8_t lint;
} ACPI_PACKED;

struct acpi_xsdt { /* 5.2.8 */
	struct acpi_header header;
	uint64_t table[2]; /* the FADT leads to the others */
} ACPI_PACKED;

_Static_assert(sizeof(struct acpi_header) == 36 && sizeof(struct acpi_rsdp) == 36, "ACPI layout");
_Static_assert(sizeof(struct acpi_fadt) == 276 && sizeof(struct acpi_facs) == 64, "ACPI layout");
_Static_assert(sizeof(struct acpi_madt) == 44 && sizeof(struct madt_lapic) == 8, "ACPI layout");
_Static_assert(sizeof(struct madt_ioapic) == 12 && sizeof(struct madt_override) == 10, "ACPI layout");
_Static_assert(sizeof(struct madt_lapic_nmi) == 6, "ACPI layout");

/* The window at ACPI_BASE, and how much of it is taken. Offsets are from ACPI_BASE. */
struct acpi_area {
	uint8_t *host;
	uint32_t used;
};

/* Appends len bytes (NULL: zeros) at the next multiple of align, a power of two. Returns the offset, or
 * 0: no room (or the RSDP, which comes first). */
static uint32_t area_append(struct acpi_area *area, const void *from, uint32_t len, uint32_t align)
{
	uint32_t at = (area->used + align - 1) & ~(align - 1);

	if (at > ACPI_END - ACPI_BASE || len > ACPI_END - ACPI_BASE - at)
		return 0;
	if (from)
		memcpy(area->host + at, from, len);
	else
		memset(area->host + at, 0, len);
	area->used = at + len;
	return at;
}

/* What makes len bytes add up to zero, if the byte returned has been zero among them. */
static uint8_t acpi_checksum(const void *bytes, uint32_t len)
{
	const uint8_t *b = bytes;
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += b[i];
	return (uint8_t)-sum;
}

static struct acpi_header acpi_header(const char *signature, uint32_t length, uint8_t revision)
{
	struct acpi_header h = {
		.length = length,
		.revision = revision,
		.oem_id = "DVMM",
		.oem_table_id = "DVMM",
		.oem_revision = 1,
		.creator_revision = 1,
	};

	memcpy(h.signature, signature, 4);
	memcpy(h.creator_id, "DVMM", 4);
	return h;
}

/* The table at this offset is complete: gives it its length and its checksum. */
static void acpi_seal(struct acpi_area *area, uint32_t at, uint32_t length)
{
	struct acpi_header h;

	memcpy(&h, area->host + at, sizeof(h));
	h.length = length;
	h.checksum = 0;
	memcpy(area->host + at, &h, sizeof(h));
	h.checksum = acpi_checksum(area->host + at, length);
	memcpy(area->host + at, &h, sizeof(h));
}

static void dsdt_resources(struct aml *a, const struct machine_device *d)
{
	uint32_t crs;

	aml_name(a, "_CRS");
	crs = aml_resources(a);
	if (d->space == BUS_PIO)
		aml_io(a, (uint16_t)d->base, (uint8_t)d->size);
	else
		aml_memory32(a, (uint32_t)d->base, (uint32_t)d->size);
	if (d->irq != NO_IRQ)
		aml_interrupt_edge(a, d->irq);
	aml_resources_end(a, crs);
}

/* prefix and a number of two hexadecimal digits make a name: "CP0F". */
static uint32_t dsdt_numbered_device(struct aml *a, const char prefix[2], uint32_t number)
{
	static const char hex[] = "0123456789ABCDEF";
	const char name[] = {prefix[0], prefix[1], hex[number >> 4 & 15], hex[number & 15], '\0'};

	return aml_device(a, name);
}

/* What the operating system cannot find by itself. The reset port and the PM block are in the FADT. */
static void dsdt_device(struct aml *a, const struct machine_device *d, uint32_t index)
{
	uint32_t mark;

	switch (d->type) {
	case DEVICE_UART:
		mark = aml_device(a, "COM1");
		aml_name(a, "_HID");
		aml_eisa_id(a, "PNP0501");
		aml_name(a, "_UID");
		aml_integer(a, 1);
		break;
	case DEVICE_RTC:
		mark = aml_device(a, "RTC_");
		aml_name(a, "_HID");
		aml_eisa_id(a, "PNP0B00");
		break;
	case DEVICE_VIRTIO_BLK:
	case DEVICE_VIRTIO_RNG:
		mark = dsdt_numbered_device(a, "VR", index);
		aml_name(a, "_HID");
		aml_string(a, "LNRO0005"); /* virtio-mmio, by Linux' reservation */
		aml_name(a, "_UID");
		aml_integer(a, index);
		aml_name(a, "_CCA"); /* DMA is coherent */
		aml_integer(a, 1);
		break;
	default:
		return;
	}
	dsdt_resources(a, d);
	aml_end(a, mark);
}

/* \_S5: SLP_TYP 5 in PM1 control is power-off (ACPI 6.5, 7.4.2). The PM device knows the same number. */
static void dsdt_power_off(struct aml *a)
{
	uint32_t package;

	aml_name(a, "_S5_");
	package = aml_package(a, 4);
	aml_integer(a, 5); /* PM1a */
	aml_integer(a, 5); /* PM1b */
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_end(a, package);
}

static int build_dsdt(struct acpi_area *area, const struct machine *m, uint32_t *at)
{
	/* Revision 2: integers have 64 bits (ACPI 6.5, 5.2.11.1). */
	struct acpi_header header = acpi_header("DSDT", sizeof(header), 2);
	struct aml a;
	uint32_t scope, mark;

	*at = area_append(area, &header, sizeof(header), 16);
	if (!*at)
		return -ENOSPC;
	aml_init(&a, area->host + area->used, (uint32_t)(ACPI_END - ACPI_BASE) - area->used);
	dsdt_power_off(&a);
	scope = aml_scope(&a, "_SB_");
	/* Every processor in the MADT has to be in the namespace as well (ACPI 6.5, 8.4). */
	for (uint32_t i = 0; i < m->vcpus; i++) {
		mark = dsdt_numbered_device(&a, "CP", i);
		aml_name(&a, "_HID");
		aml_string(&a, "ACPI0007");
		aml_name(&a, "_UID");
		aml_integer(&a, i);
		aml_end(&a, mark);
	}
	for (uint32_t i = 0; i < m->devices; i++)
		dsdt_device(&a, &m->device[i], i);
	aml_end(&a, scope);
	if (a.failed)
		return -ENOSPC;
	area->used += a.used;
	acpi_seal(area, *at, (uint32_t)sizeof(header) + a.used);
	return 0;
}

static int build_fadt(struct acpi_area *area, uint32_t facs, uint32_t dsdt, uint32_t *at)
{
	/* The 32-bit pointers to FACS and DSDT stay zero, as the 64-bit ones are there. The register blocks
	 * are given in both forms, equal ones, because older systems know only the first and Linux compares
	 * them. */
	struct acpi_fadt f = {
		.header = acpi_header("FACP", sizeof(f), 6),
		.minor_version = 5,
		.sci_int = ACPI_SCI_IRQ,
		.pm1a_evt_blk = ACPI_PM_PORT,
		.pm1_evt_len = 4,
		.x_pm1a_evt_blk = {.space = 1, .bit_width = 32, .access_size = 2, .address = ACPI_PM_PORT},
		.pm1a_cnt_blk = ACPI_PM_PORT + 4,
		.pm1_cnt_len = 2,
		.x_pm1a_cnt_blk = {.space = 1,
				   .bit_width = 16,
				   .access_size = 2,
				   .address = ACPI_PM_PORT + 4},
		.p_lvl2_lat = 0xfff, /* over 100 us and 1000 us: there is no C2 and no C3 */
		.p_lvl3_lat = 0xfff,
		.iapc_boot_arch = FADT_LEGACY_DEVICES | FADT_NO_VGA,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC |
			 FADT_RESET_REG,
		.reset_reg = {.space = 1, .bit_width = 8, .access_size = 1, .address = RESET_PORT},
		.reset_value = 0x06, /* full reset, with the processors */
		.x_firmware_ctrl = ACPI_BASE + facs,
		.x_dsdt = ACPI_BASE + dsdt,
		.hypervisor = "DVMM",
	};

	*at = area_append(area, &f, sizeof(f), 16);
	if (!*at)
		return -ENOSPC;
	acpi_seal(area, *at, sizeof(f));
	return 0;
}

static int build_madt(struct acpi_area *area, const struct machine *m, uint32_t *at)
{
	const struct acpi_madt madt = {
		.header = acpi_header("APIC", sizeof(madt), 5),
		.lapic_base = LAPIC_BASE,
		.flags = 1,
	};
	/* Id 0 is what KVM's I/O APIC reads after reset. Its id lives apart from those of local APICs. */
	const struct madt_ioapic ioapic = {.type = 1, .length = sizeof(ioapic), .id = 0, .base = IOAPIC_BASE};
	/* Level as ACPI wants the SCI, but active high, as every line of KVM's I/O APIC is. */
	const struct madt_override sci = {.type = 2,
					  .length = sizeof(sci),
					  .source = ACPI_SCI_IRQ,
					  .gsi = ACPI_SCI_IRQ,
					  .flags = 3 << 2 | 1 << 0};
	/* All processors (UID ff), flags as the bus has them, LINT1. */
	const struct madt_lapic_nmi nmi = {
		.type = 4, .length = sizeof(nmi), .processor_uid = 0xff, .lint = 1};
	bool fits;

	*at = area_append(area, &madt, sizeof(madt), 16);
	fits = *at != 0;
	for (uint32_t i = 0; i < m->vcpus; i++) {
		const struct madt_lapic lapic = {.type = 0,
						 .length = sizeof(lapic),
						 .processor_uid = (uint8_t)i,
						 .apic_id = (uint8_t)i,
						 .flags = 1};

		fits &= area_append(area, &lapic, sizeof(lapic), 1) != 0;
	}
	fits &= area_append(area, &ioapic, sizeof(ioapic), 1) != 0;
	fits &= area_append(area, &sci, sizeof(sci), 1) != 0;
	fits &= area_append(area, &nmi, sizeof(nmi), 1) != 0;
	if (!fits)
		return -ENOSPC;
	acpi_seal(area, *at, area->used - *at);
	return 0;
}

static int build_xsdt(struct acpi_area *area, uint32_t fadt, uint32_t madt, uint32_t *at)
{
	const struct acpi_xsdt x = {
		.header = acpi_header("XSDT", sizeof(x), 1),
		.table = {ACPI_BASE + fadt, ACPI_BASE + madt},
	};

	*at = area_append(area, &x, sizeof(x), 16);
	if (!*at)
		return -ENOSPC;
	acpi_seal(area, *at, sizeof(x));
	return 0;
}

static bool machine_describable(const struct machine *m)
{
	if (m->vcpus == 0 || m->vcpus > MACHINE_MAX_VCPUS || m->devices > MACHINE_MAX_DEVICES)
		return false;
	for (uint32_t i = 0; i < m->devices; i++) {
		const struct machine_device *d = &m->device[i];
		uint64_t end = d->space == BUS_PIO ? 1ull << 16 : 1ull << 32;

		if (d->base >= end || d->size > end - d->base || (d->space == BUS_PIO && d->size > UINT8_MAX))
			return false;
	}
	return true;
}

int acpi_build(const struct guest_memory *mem, const struct machine *m, uint64_t *rsdp_gpa)
{
	struct acpi_area area = {.host = guest_memory_range(mem, ACPI_BASE, ACPI_END - ACPI_BASE)};
	const struct acpi_facs facs = {
		.signature = {'F', 'A', 'C', 'S'}, .length = sizeof(facs), .version = 2};
	struct acpi_rsdp rsdp = {
		.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
		.oem_id = "DVMM",
		.revision = 2,
		.length = sizeof(rsdp),
	};
	uint32_t facs_at, dsdt_at, fadt_at, madt_at, xsdt_at;

	if (!area.host)
		return -EFAULT;
	if (!machine_describable(m))
		return -EINVAL;
	area_append(&area, NULL, sizeof(rsdp), 1);
	facs_at = area_append(&area, &facs, sizeof(facs), 64);
	if (build_dsdt(&area, m, &dsdt_at) || build_fadt(&area, facs_at, dsdt_at, &fadt_at) ||
	    build_madt(&area, m, &madt_at) || build_xsdt(&area, fadt_at, madt_at, &xsdt_at))
		return -ENOSPC;

	rsdp.xsdt = ACPI_BASE + xsdt_at;
	rsdp.checksum = acpi_checksum(&rsdp, 20);
	rsdp.extended_checksum = acpi_checksum(&rsdp, sizeof(rsdp));
	memcpy(area.host, &rsdp, sizeof(rsdp));
	*rsdp_gpa = ACPI_BASE;
	return 0;
}

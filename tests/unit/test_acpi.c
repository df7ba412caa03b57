/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The AML encoder byte by byte, and the ACPI tables as an operating system finds them: from the RSDP on, by
 * pointers, with checksums. iasl, where installed, must disassemble each table and compile it back to the
 * same bytes.
 */
#include "vmm/acpi.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/aml.h"

#define RAM_BYTES 0x200000u

static struct guest_memory mem;

static void setup(void)
{
	mem.seg[0].size = RAM_BYTES;
	mem.seg[0].host = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(mem.seg[0].host != MAP_FAILED);
	memset(mem.seg[0].host, 0x5a, RAM_BYTES); /* the tables must not rely on zeros */
}

static void teardown(void)
{
	munmap(mem.seg[0].host, RAM_BYTES);
}

static const struct machine_device uart = {
	.type = DEVICE_UART, .base = UART_PORT, .size = 8, .irq = UART_IRQ};
static const struct machine_device rtc = {.type = DEVICE_RTC, .base = RTC_PORT, .size = 2, .irq = RTC_IRQ};
static const struct machine_device pm = {
	.type = DEVICE_ACPI_PM, .base = ACPI_PM_PORT, .size = 6, .irq = NO_IRQ};

/* The devices of a PC and some of virtio, of both types. */
static struct machine machine(uint32_t vcpus, uint32_t virtio)
{
	struct machine m = {.vcpus = vcpus, .devices = 3, .ram_bytes = RAM_BYTES, .device = {uart, rtc, pm}};

	for (uint32_t i = 0; i < virtio; i++)
		m.device[m.devices++] = (struct machine_device){
			.type = i ? DEVICE_VIRTIO_BLK : DEVICE_VIRTIO_RNG,
			.space = BUS_MMIO,
			.base = VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE,
			.size = VIRTIO_MMIO_SIZE,
			.irq = i % 2 ? 16 + i % 8 : 5,
		};
	return m;
}

static uint64_t field(uint64_t gpa, unsigned len)
{
	uint64_t value = 0;

	ck_assert(guest_memory_read(&mem, gpa, &value, len));
	return value;
}

static uint8_t sum(uint64_t gpa, uint64_t len)
{
	const uint8_t *b = guest_memory_range(&mem, gpa, len);
	uint8_t total = 0;

	ck_assert_ptr_nonnull(b);
	for (uint64_t i = 0; i < len; i++)
		total += b[i];
	return total;
}

/* Checks the header of a table and returns the table's length. */
static uint32_t check_table(uint64_t gpa, const char *signature)
{
	uint32_t len = (uint32_t)field(gpa + 4, 4);

	ck_assert_mem_eq(guest_memory_range(&mem, gpa, 4), signature, 4);
	ck_assert_uint_ge(gpa, ACPI_BASE);
	ck_assert_uint_le(gpa + len, ACPI_END);
	ck_assert_uint_eq(sum(gpa, len), 0);
	return len;
}

struct tables {
	uint64_t xsdt, fadt, madt, dsdt, facs;
};

static struct tables build(const struct machine *m)
{
	struct tables t;
	uint64_t rsdp = 0;

	ck_assert_int_eq(acpi_build(&mem, m, &rsdp), 0);
	ck_assert_uint_eq(rsdp, ACPI_BASE);
	ck_assert_mem_eq(guest_memory_range(&mem, rsdp, 8), "RSD PTR ", 8);
	ck_assert_uint_eq(field(rsdp + 15, 1), 2);
	ck_assert_uint_eq(sum(rsdp, 20), 0);
	ck_assert_uint_eq(sum(rsdp, 36), 0);
	t.xsdt = field(rsdp + 24, 8);
	ck_assert_uint_eq(check_table(t.xsdt, "XSDT"), 36 + 2 * 8);
	t.fadt = field(t.xsdt + 36, 8);
	t.madt = field(t.xsdt + 44, 8);
	t.dsdt = field(t.fadt + 140, 8);
	t.facs = field(t.fadt + 132, 8);
	return t;
}

#define ASSERT_AML(aml, ...)                                                                                 \
	do {                                                                                                 \
		const uint8_t want[] = {__VA_ARGS__};                                                        \
		ck_assert(!(aml).failed);                                                                    \
		ck_assert_uint_eq((aml).used, sizeof(want));                                                 \
		ck_assert_mem_eq((aml).bytes, want, sizeof(want));                                           \
	} while (0)

START_TEST(aml_encodes_constants)
{
	uint8_t bytes[64];
	struct aml a;

	aml_init(&a, bytes, sizeof(bytes));
	aml_integer(&a, 0);
	aml_integer(&a, 1);
	aml_integer(&a, 2);
	aml_integer(&a, 0xff);
	aml_integer(&a, 0x100);
	aml_integer(&a, 0x10000);
	aml_integer(&a, 0x123456789a);
	ASSERT_AML(a, 0x00, 0x01, 0x0a, 0x02, 0x0a, 0xff, 0x0b, 0x00, 0x01, 0x0c, 0x00, 0x00, 0x01, 0x00,
		   0x0e, 0x9a, 0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00);
	aml_init(&a, bytes, sizeof(bytes));
	aml_eisa_id(&a, "PNP0501");
	aml_eisa_id(&a, "PNP0C0F");
	aml_string(&a, "X");
	ASSERT_AML(a, 0x0c, 0x41, 0xd0, 0x05, 0x01, 0x0c, 0x41, 0xd0, 0x0c, 0x0f, 0x0d, 'X', 0);
	aml_init(&a, bytes, sizeof(bytes));
	aml_name(&a, "_S5_");
	ASSERT_AML(a, 0x08, '_', 'S', '5', '_');
}
END_TEST

START_TEST(aml_encodes_resources)
{
	uint8_t bytes[64];
	struct aml a;
	uint32_t mark;

	aml_init(&a, bytes, sizeof(bytes));
	mark = aml_resources(&a);
	aml_io(&a, 0x3f8, 8);
	aml_interrupt_edge(&a, 4);
	aml_memory32(&a, 0xd0001000, 0x1000);
	aml_resources_end(&a, mark);
	ASSERT_AML(a, 0x11, 0x22, 0x0a, 0x1f, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x89, 6, 0, 3, 1, 4, 0, 0, 0,
		   0x86, 9, 0, 1, 0x00, 0x10, 0x00, 0xd0, 0x00, 0x10, 0x00, 0x00, 0x79, 0x00);
}
END_TEST

/* A body of n bytes, on both sides of every change of PkgLength's own length. */
START_TEST(aml_encodes_lengths)
{
	static const struct {
		uint32_t body;
		uint8_t extra, length[4];
	} cases[] = {
		{62, 0, {63}},
		{63, 1, {0x41, 4}},
		{4093, 1, {0x4f, 0xff}},
		{4094, 2, {0x81, 0x00, 0x01}},
		{1048572, 2, {0x8f, 0xff, 0xff}},
		{1048573, 3, {0xc1, 0x00, 0x00, 0x01}},
	};
	static uint8_t bytes[1048600];
	struct aml a;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t mark;

		aml_init(&a, bytes, sizeof(bytes));
		mark = aml_package(&a, 0);
		while (a.used < mark + cases[i].body)
			aml_integer(&a, 1);
		aml_end(&a, mark);
		ck_assert(!a.failed);
		ck_assert_uint_eq(a.used, 1 + 1 + cases[i].extra + cases[i].body);
		ck_assert_mem_eq(bytes + 1, cases[i].length, 1 + cases[i].extra);
		ck_assert_uint_eq(bytes[a.used - 1], 1);
	}
}
END_TEST

static void encode_all(struct aml *a)
{
	uint32_t device = aml_device(a, "TEST"), crs;

	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0501");
	aml_name(a, "_CRS");
	crs = aml_resources(a);
	aml_io(a, 1, 1);
	aml_interrupt_edge(a, 1);
	aml_memory32(a, 1, 1);
	aml_resources_end(a, crs);
	aml_name(a, "_UID");
	aml_string(a, "text");
	aml_end(a, device);
}

/* The buffer has exactly `size` bytes of heap, so that a sanitizer sees the byte behind. */
START_TEST(aml_notices_overflow_at_every_size)
{
	uint8_t whole[256];
	struct aml a;
	uint32_t full;

	aml_init(&a, whole, sizeof(whole));
	encode_all(&a);
	ck_assert(!a.failed);
	full = a.used;
	for (uint32_t size = 0; size <= full; size++) {
		uint8_t *bytes = malloc(size ? size : 1);

		aml_init(&a, bytes, size);
		encode_all(&a);
		ck_assert_int_eq(a.failed, size < full);
		ck_assert_uint_le(a.used, size);
		free(bytes);
	}
}
END_TEST

START_TEST(aml_refuses_bad_names)
{
	static const char *const names[] = {"", "ABC", "ABCDE", "1ABC", "abcd", "\\", "A.BC"};
	static const char *const ids[] = {"", "PNP", "pNP0501", "PNP050", "PNP05011", "PNP050G"};
	uint8_t bytes[64];
	struct aml a;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		aml_init(&a, bytes, sizeof(bytes));
		aml_name(&a, names[i]);
		ck_assert_msg(a.failed, "%s", names[i]);
	}
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		aml_init(&a, bytes, sizeof(bytes));
		aml_eisa_id(&a, ids[i]);
		ck_assert_msg(a.failed, "%s", ids[i]);
	}
}
END_TEST

START_TEST(tables_lead_to_each_other)
{
	struct machine m = machine(2, 2);
	struct tables t = build(&m);

	ck_assert_uint_eq(check_table(t.fadt, "FACP"), 276);
	check_table(t.madt, "APIC");
	ck_assert_uint_gt(check_table(t.dsdt, "DSDT"), 36);
	ck_assert_uint_eq(field(t.dsdt + 8, 1), 2);
	ck_assert_mem_eq(guest_memory_range(&mem, t.facs, 4), "FACS", 4);
	ck_assert_uint_eq(field(t.facs + 4, 4), 64);
	ck_assert_uint_eq(t.facs % 64, 0);
}
END_TEST

START_TEST(fadt_describes_the_hardware)
{
	struct machine m = machine(1, 0);
	uint64_t fadt = build(&m).fadt;

	ck_assert_uint_eq(field(fadt + 8, 1), 6);
	ck_assert_uint_eq(field(fadt + 46, 2), ACPI_SCI_IRQ);
	ck_assert_uint_eq(field(fadt + 48, 4), 0); /* no SMI: in ACPI mode from the start */
	ck_assert_uint_eq(field(fadt + 56, 4), ACPI_PM_PORT);
	ck_assert_uint_eq(field(fadt + 64, 4), ACPI_PM_PORT + 4);
	ck_assert_uint_eq(field(fadt + 76, 4), 0); /* no PM timer */
	ck_assert_uint_eq(field(fadt + 88, 1), 4);
	ck_assert_uint_eq(field(fadt + 89, 1), 2);
	ck_assert_uint_eq(field(fadt + 109, 2), 1 << 0 | 1 << 2); /* legacy devices, no VGA, no 8042 */
	ck_assert_uint_eq(field(fadt + 112, 4) & 1 << 20, 0);     /* not hardware-reduced */
	ck_assert_uint_ne(field(fadt + 112, 4) & 1 << 10, 0);
	ck_assert_uint_eq(field(fadt + 116, 4), 0x01000801); /* I/O port, 8 bits, byte access */
	ck_assert_uint_eq(field(fadt + 120, 8), RESET_PORT);
	ck_assert_uint_eq(field(fadt + 128, 1), 6);
	ck_assert_uint_eq(field(fadt + 148, 2), 0x2001);
	ck_assert_uint_eq(field(fadt + 152, 8), ACPI_PM_PORT);
	ck_assert_uint_eq(field(fadt + 172, 2), 0x1001);
	ck_assert_uint_eq(field(fadt + 176, 8), ACPI_PM_PORT + 4);
}
END_TEST

START_TEST(madt_lists_each_processor)
{
	struct machine m = machine((uint32_t)_i, 0);
	uint64_t madt = build(&m).madt, end = madt + check_table(madt, "APIC"), at = madt + 44;
	uint32_t lapics = 0, count[5] = {0};

	ck_assert_uint_eq(field(madt + 36, 4), LAPIC_BASE);
	while (at < end) {
		uint32_t type = (uint32_t)field(at, 1);

		ck_assert_uint_lt(type, 5);
		count[type]++;
		if (type == 0) {
			ck_assert_uint_eq(field(at + 2, 1), lapics);
			ck_assert_uint_eq(field(at + 3, 1), lapics);
			ck_assert_uint_eq(field(at + 4, 4), 1);
			lapics++;
		} else if (type == 1) {
			ck_assert_uint_eq(field(at + 4, 4), IOAPIC_BASE);
			ck_assert_uint_eq(field(at + 8, 4), 0);
		} else if (type == 2) {
			ck_assert_uint_eq(field(at + 3, 1), ACPI_SCI_IRQ);
			ck_assert_uint_eq(field(at + 4, 4), ACPI_SCI_IRQ);
			ck_assert_uint_eq(field(at + 8, 2), 0xd);
		}
		ck_assert_uint_ge(field(at + 1, 1), 6);
		at += field(at + 1, 1);
	}
	ck_assert_uint_eq(at, end);
	ck_assert_uint_eq(lapics, m.vcpus);
	ck_assert_uint_eq(count[1], 1);
	ck_assert_uint_eq(count[2], 1);
	ck_assert_uint_eq(count[4], 1);
}
END_TEST

START_TEST(largest_machine_fits)
{
	struct machine m = machine(MACHINE_MAX_VCPUS, MACHINE_MAX_DEVICES - 3);
	struct tables t = build(&m);

	ck_assert_uint_eq(m.devices, MACHINE_MAX_DEVICES);
	check_table(t.dsdt, "DSDT");
	check_table(t.madt, "APIC");
}
END_TEST

START_TEST(bad_machines_are_refused)
{
	struct machine m = machine(1, 1);
	struct guest_memory small = mem;
	uint64_t rsdp;

	small.seg[0].size = ACPI_END - 1;
	ck_assert_int_eq(acpi_build(&small, &m, &rsdp), -EFAULT);
	m.vcpus = 0;
	ck_assert_int_eq(acpi_build(&mem, &m, &rsdp), -EINVAL);
	m.vcpus = MACHINE_MAX_VCPUS + 1;
	ck_assert_int_eq(acpi_build(&mem, &m, &rsdp), -EINVAL);
	m = machine(1, 1);
	m.devices = MACHINE_MAX_DEVICES + 1;
	ck_assert_int_eq(acpi_build(&mem, &m, &rsdp), -EINVAL);
	m = machine(1, 1);
	m.device[3].base = 1ull << 32;
	ck_assert_int_eq(acpi_build(&mem, &m, &rsdp), -EINVAL);
	m = machine(1, 1);
	m.device[0].base = 0xfff9;
	ck_assert_int_eq(acpi_build(&mem, &m, &rsdp), -EINVAL);
}
END_TEST

/* Writes a table to NAME.aml in the working directory, has iasl decompile and compile it, and compares. */
static void iasl_round_trip(const char *name, uint64_t gpa)
{
	uint32_t len = (uint32_t)field(gpa + 4, 4);
	const uint8_t *table = guest_memory_range(&mem, gpa, len);
	uint8_t *back = malloc(len + 1);
	char command[256];
	FILE *f;

	snprintf(command, sizeof(command), "%s.aml", name);
	f = fopen(command, "wb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(table, 1, len, f), len);
	fclose(f);
	/* The flag refuses warnings; the disassembler marks what it does not understand with "Invalid" or
	 * "Unknown". */
	snprintf(command, sizeof(command),
		 "iasl -d %s.aml >log 2>&1 && ! grep -E 'Invalid|Unknown|rror|arning' %s.dsl && rm %s.aml && "
		 "iasl -we %s.dsl >log 2>&1",
		 name, name, name, name);
	ck_assert_msg(system(command) == 0, "iasl does not accept %s", name);
	snprintf(command, sizeof(command), "%s.aml", name);
	f = fopen(command, "rb");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fread(back, 1, len + 1, f), len);
	fclose(f);
	ck_assert_mem_eq(back + 36, table + 36, len - 36); /* the header now names iasl as the creator */
	free(back);
}

START_TEST(iasl_agrees)
{
	char folder[] = "/tmp/test_acpi.XXXXXX";
	struct machine m = machine(MACHINE_MAX_VCPUS, MACHINE_MAX_DEVICES - 3);
	struct tables t = build(&m);

	if (system("command -v iasl >/dev/null") != 0) {
		fputs("iasl is not installed: its opinion is left out\n", stderr);
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	iasl_round_trip("dsdt", t.dsdt);
	iasl_round_trip("facp", t.fadt);
	iasl_round_trip("apic", t.madt);
	iasl_round_trip("xsdt", t.xsdt);
	ck_assert_int_eq(system("rm -f *.aml *.dsl log"), 0);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acpi");
	TCase *t = tcase_create("tables");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, aml_encodes_constants);
	tcase_add_test(t, aml_encodes_resources);
	tcase_add_test(t, aml_encodes_lengths);
	tcase_add_test(t, aml_notices_overflow_at_every_size);
	tcase_add_test(t, aml_refuses_bad_names);
	tcase_add_test(t, tables_lead_to_each_other);
	tcase_add_test(t, fadt_describes_the_hardware);
	tcase_add_loop_test(t, madt_lists_each_processor, 1, MACHINE_MAX_VCPUS + 1);
	tcase_add_test(t, largest_machine_fits);
	tcase_add_test(t, bad_machines_are_refused);
	tcase_add_test(t, iasl_agrees);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

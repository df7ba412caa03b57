/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine: which devices exist, where, on which lines, and how hand-offs are made.
 *
 * dvmm makes it once from the command line, before anything runs, and writes it into page 0 of the request
 * memfd, which the emulator can only read. ACPI tables, the bus, the region's layout and the statistics are
 * all derived from it. Nothing here comes from the guest.
 */
#ifndef DVMM_EMULATOR_MACHINE_H
#define DVMM_EMULATOR_MACHINE_H

#include <stdint.h>

#include "devices/device.h"

#define MACHINE_MAX_VCPUS   16
#define MACHINE_MAX_DEVICES 49 /* struct machine fits a page */
#define MACHINE_MAX_DISKS   15

/* The guest-physical map. RAM fills [0, MMIO_HOLE_START) and continues at 4 GiB. */
#define ACPI_BASE        0xe0000ull /* where a guest searches for the RSDP (ACPI 6.5, 5.2.5.1) */
#define ACPI_END         0x100000ull
#define MMIO_HOLE_START  0xc0000000ull
#define MMIO_HOLE_END    0x100000000ull
#define VIRTIO_MMIO_BASE 0xd0000000ull /* device n at VIRTIO_MMIO_BASE + n * VIRTIO_MMIO_SIZE */
#define VIRTIO_MMIO_SIZE 0x1000ull
#define IOAPIC_BASE      0xfec00000ull
#define LAPIC_BASE       0xfee00000ull
#define KVM_TSS_BASE     0xfffbd000ull /* three pages that KVM needs on old Intel processors */
#define KVM_IDENTITY_MAP 0xfffbc000ull

/* Ports and interrupt lines of the PC devices. */
#define UART_PORT       0x3f8
#define UART_IRQ        4
#define RTC_PORT        0x70
#define RTC_IRQ         8
#define I8042_PORT      0x60
#define ACPI_PM_PORT    0x600 /* PM1a event block (4 bytes), PM1a control block (2 bytes) */
#define ACPI_SCI_IRQ    9
#define RESET_PORT      0xcf9
#define DEBUG_EXIT_PORT 0xf4
#define CHAOS_PORT      0x5c0 /* device n at CHAOS_PORT + n * CHAOS_PORTS */
#define CHAOS_PORTS     8
#define CHAOS_IRQ       3 /* of device 0 */
#define CHAOS_DEVICES   8

#define TESTDEV_PORT     0xe0
#define TESTDEV_IRQ_PORT 0x2000 /* line n at TESTDEV_IRQ_PORT + n */
#define TESTDEV_LINES    24     /* all of the I/O APIC's */
#define TESTDEV_MEMORY   0xff000000ull
#define FW_CFG_PORT      0x510

enum device_type {
	DEVICE_NONE = 0,
	DEVICE_UART,       /* 16550A, COM1 */
	DEVICE_RTC,        /* MC146818 CMOS RTC */
	DEVICE_I8042,      /* keyboard controller: only its reset line */
	DEVICE_ACPI_PM,    /* PM1a event and control */
	DEVICE_RESET,      /* reset control register 0xcf9 */
	DEVICE_DEBUG_EXIT, /* ends the run with the value written */
	DEVICE_VIRTIO_BLK,
	DEVICE_VIRTIO_RNG,
	DEVICE_CHAOS, /* misbehaves when told to; with --chaos only */

	DEVICE_TESTDEV, /* these four are what QEMU has for test images; with --testdev only */
	DEVICE_TESTDEV_IRQ,
	DEVICE_TESTDEV_MEMORY,
	DEVICE_FW_CFG,
	DEVICE_TYPES
};

enum bus_space { BUS_PIO = 0, BUS_MMIO = 1 };

#define NO_IRQ UINT32_MAX

struct machine_device {
	uint32_t type;    /* enum device_type */
	uint32_t space;   /* enum bus_space */
	uint64_t base;    /* first port or guest-physical address */
	uint64_t size;    /* bytes of the window */
	uint32_t irq;     /* GSI, edge-triggered, or NO_IRQ */
	int32_t irq_fd;   /* eventfd that raises it, or -1 */
	int32_t queue_fd; /* eventfd of the doorbell, or -1 */
	int32_t file_fd;  /* backing file, or -1 */
	struct device_config config;
};

enum handoff_mode {
	HANDOFF_SAME_CPU = 0, /* futex at once; the worker shares its vCPU's CPU */
	HANDOFF_SPIN,         /* worker on another CPU; both spin for a bounded time, then futex */
};

struct machine {
	uint32_t vcpus;
	uint32_t devices;   /* entries used in device[] */
	uint64_t ram_bytes; /* size of the guest memory memfd */
	uint32_t handoff;   /* enum handoff_mode */
	uint32_t spin_ns;   /* how long a spinning side spins before it sleeps */
	uint32_t count_instructions; /* not 0: those emulated are counted (mailbox_counts()) */
	int32_t beat_fd;    /* pipe by which the I/O thread is asked whether it lives; 0: none */
	int32_t worker_cpu[MACHINE_MAX_VCPUS +
			   1]; /* CPU of each worker, -1: any; the last one is dvmm's own */
	struct machine_device device[MACHINE_MAX_DEVICES];
};

/* Where the machine's RAM is for a process that has the guest memory file mapped at ram. */
void machine_memory(const struct machine *m, void *ram, struct guest_memory *memory);

/* The model of a device type (emulator/models.c), or NULL for an unknown type. */
const struct device_ops *device_ops_of(uint32_t type);

#endif

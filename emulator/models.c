/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of device models: type -> model. */
#include "devices/acpi_pm.h"
#include "devices/debug_exit.h"
#include "devices/fw_cfg.h"
#include "devices/i8042.h"
#include "devices/reset.h"
#include "devices/rtc.h"
#include "devices/testdev.h"
#include "devices/uart16550.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_rng.h"
#include "emulator/chaos.h"
#include "emulator/machine.h"

static const struct device_ops *const models[DEVICE_TYPES] = {
	[DEVICE_UART] = &uart16550_ops,     [DEVICE_RTC] = &rtc_ops,
	[DEVICE_I8042] = &i8042_ops,        [DEVICE_ACPI_PM] = &acpi_pm_ops,
	[DEVICE_RESET] = &reset_ops,        [DEVICE_DEBUG_EXIT] = &debug_exit_ops,
	[DEVICE_VIRTIO_BLK] = &virtio_blk_ops, [DEVICE_VIRTIO_RNG] = &virtio_rng_ops,
	[DEVICE_CHAOS] = &chaos_ops,        [DEVICE_TESTDEV] = &testdev_ops,
	[DEVICE_TESTDEV_IRQ] = &testdev_irq_ops, [DEVICE_TESTDEV_MEMORY] = &testdev_memory_ops,
	[DEVICE_FW_CFG] = &fw_cfg_ops,
};

const struct device_ops *device_ops_of(uint32_t type) { return type < DEVICE_TYPES ? models[type] : NULL; }

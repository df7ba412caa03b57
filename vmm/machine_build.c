/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command line -> machine. The devices every guest gets, then virtio-mmio: an entropy source and the disks.
 *
 * Descriptors in the table are dvmm's own here; emulator_spawn() renumbers them for the emulator.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/fw_cfg.h"
#include "devices/testdev.h"
#include "vmm/vm.h"

#define SECTOR        512u
#define LOCK_TRIES    20
#define LOCK_PAUSE_US 10000

/* Interrupt lines for virtio: first those that no ISA device has ever had. */
static const uint32_t virtio_irqs[] = {16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 14, 15};
_Static_assert(sizeof(virtio_irqs) / sizeof(virtio_irqs[0]) == MACHINE_MAX_DISKS + 1, "a line for each");

static const struct machine_device pc_devices[] = {
	{.type = DEVICE_UART, .base = UART_PORT, .size = 8, .irq = UART_IRQ},
	{.type = DEVICE_RTC, .base = RTC_PORT, .size = 2, .irq = NO_IRQ},
	{.type = DEVICE_I8042, .base = I8042_PORT, .size = 5, .irq = NO_IRQ},
	{.type = DEVICE_ACPI_PM, .base = ACPI_PM_PORT, .size = 6, .irq = NO_IRQ},
	{.type = DEVICE_RESET, .base = RESET_PORT, .size = 1, .irq = NO_IRQ},
	{.type = DEVICE_DEBUG_EXIT, .base = DEBUG_EXIT_PORT, .size = 4, .irq = NO_IRQ},
};

#define TESTDEV_DEVICES (3 + TESTDEV_LINES)

_Static_assert(sizeof(pc_devices) / sizeof(pc_devices[0]) + CHAOS_DEVICES + 1 + MACHINE_MAX_DISKS <=
			       MACHINE_MAX_DEVICES &&
		       sizeof(pc_devices) / sizeof(pc_devices[0]) + TESTDEV_DEVICES + 1 + MACHINE_MAX_DISKS <=
			       MACHINE_MAX_DEVICES,
	       "room for all of them at once");

static int new_eventfd(int *fd, int flags, struct failure *f)
{
	*fd = eventfd(0, EFD_CLOEXEC | flags);
	return *fd >= 0 ? 0 : fail_with(f, EXIT_HOST, "cannot create an eventfd: %s", strerror(errno));
}

static int add_device(struct machine *m, const struct machine_device *template, struct failure *f)
{
	struct machine_device *d = &m->device[m->devices++];

	*d = *template;
	d->irq_fd = d->queue_fd = -1;
	/* Writers of a line never wait: an interrupt that cannot be counted any more is pending already. The
	 * reader of a doorbell does wait, through io_uring, which would fail at once were it non-blocking. */
	if (d->irq != NO_IRQ && new_eventfd(&d->irq_fd, EFD_NONBLOCK, f))
		return -1;
	if (device_ops_of(d->type)->queues && new_eventfd(&d->queue_fd, 0, f))
		return -1;
	return 0;
}

static int add_virtio(struct machine *m, uint32_t n, uint32_t type, int file_fd,
		      const struct device_config *config, struct failure *f)
{
	struct machine_device d = {
		.type = type,
		.space = BUS_MMIO,
		.base = VIRTIO_MMIO_BASE + n * VIRTIO_MMIO_SIZE,
		.size = VIRTIO_MMIO_SIZE,
		.irq = virtio_irqs[n],
		.file_fd = file_fd,
		.config = *config,
	};

	return add_device(m, &d, f);
}

static int disk_busy(const struct disk_option *disk, struct failure *f)
{
	if (errno == EAGAIN || errno == EACCES)
		return fail_with(f, EXIT_USAGE, "%.200s: in use, by another process or an earlier --disk; %s",
				 disk->path,
				 disk->read_only ? "only readers (,ro) may share it"
						 : "attach it once, or only as ,ro");
	return fail_with(f, EXIT_USAGE, "%.200s: cannot be locked: %s", disk->path, strerror(errno));
}

/*
 * Open-file-description locks: they go with the descriptor into the emulator, and other programs see them. A
 * VM that was killed gives its locks back some milliseconds after its end (see release_disks()), so one try
 * is not enough.
 */
static int lock_disk(int fd, const struct disk_option *disk, struct failure *f)
{
	struct flock lock = {.l_type = disk->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	for (int tries = 0; fcntl(fd, F_OFD_SETLK, &lock) < 0; tries++) {
		if ((errno != EAGAIN && errno != EACCES) || tries == LOCK_TRIES)
			return disk_busy(disk, f);
		usleep(LOCK_PAUSE_US);
	}
	return 0;
}

static int disk_size(int fd, const struct disk_option *disk, uint64_t *bytes, struct failure *f)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_with(f, EXIT_USAGE, "%.200s: %s", disk->path, strerror(errno));
	if (S_ISREG(st.st_mode))
		*bytes = (uint64_t)st.st_size;
	else if (!S_ISBLK(st.st_mode))
		return fail_with(f, EXIT_USAGE, "%.200s: not a file or block device; a disk must be one",
				 disk->path);
	else if (ioctl(fd, BLKGETSIZE64, bytes) < 0)
		return fail_with(f, EXIT_USAGE, "%.200s: its size is unknown: %s", disk->path,
				 strerror(errno));
	if (*bytes == 0 || *bytes % SECTOR)
		return fail_with(
			f, EXIT_USAGE,
			"%.200s: %llu bytes; a raw disk is a multiple of 512: extend it with truncate",
			disk->path, (unsigned long long)*bytes);
	return 0;
}

static int open_disk(const struct disk_option *disk, uint64_t *bytes, struct failure *f)
{
	/* O_NONBLOCK: a FIFO must not make us wait for its other end. */
	int fd = open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == EISDIR)
		return fail_with(f, EXIT_USAGE,
				 "%.200s: is a directory; a disk must be a file or block device", disk->path);
	if (fd < 0)
		return fail_with(f, EXIT_USAGE, "%.200s: cannot be opened%s: %s", disk->path,
				 disk->read_only ? "" : " for writing", strerror(errno));
	if (disk_size(fd, disk, bytes, f) || lock_disk(fd, disk, f)) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

static int add_disk(struct machine *m, uint32_t n, const struct disk_option *disk, struct failure *f)
{
	struct device_config config = {.read_only = disk->read_only};
	uint64_t bytes = 0;
	int fd = open_disk(disk, &bytes, f);

	if (fd < 0)
		return -1;
	config.capacity = bytes / SECTOR;
	snprintf(config.serial, sizeof(config.serial), "dvmm-disk%u", n);
	return add_virtio(m, n + 1, DEVICE_VIRTIO_BLK, fd, &config, f);
}

/* A device for each vCPU, as far as they go: an operation locks its device, and many are to be stuck at once.
 */
static int add_chaos(struct machine *m, struct failure *f)
{
	for (uint32_t i = 0; i < m->vcpus && i < CHAOS_DEVICES; i++) {
		const struct machine_device d = {
			.type = DEVICE_CHAOS,
			.base = CHAOS_PORT + i * CHAOS_PORTS,
			.size = CHAOS_PORTS,
			.irq = i == 0 ? CHAOS_IRQ : NO_IRQ,
			.file_fd = -1,
		};

		if (add_device(m, &d, f))
			return -1;
	}
	return 0;
}

static int add_testdev(struct machine *m, struct failure *f)
{
	const struct machine_device d[3] = {
		{.type = DEVICE_TESTDEV, .base = TESTDEV_PORT, .size = TESTDEV_PORTS},
		{.type = DEVICE_TESTDEV_MEMORY,
		 .space = BUS_MMIO,
		 .base = TESTDEV_MEMORY,
		 .size = TESTDEV_MEMORY_BYTES},
		{.type = DEVICE_FW_CFG,
		 .base = FW_CFG_PORT,
		 .size = FW_CFG_PORTS,
		 .config = {.capacity = m->ram_bytes, .cpus = m->vcpus}},
	};

	for (uint32_t i = 0; i < 3; i++) {
		struct machine_device with = d[i];

		with.irq = NO_IRQ;
		with.file_fd = -1;
		if (add_device(m, &with, f))
			return -1;
	}
	for (uint32_t i = 0; i < TESTDEV_LINES; i++) {
		const struct machine_device line = {.type = DEVICE_TESTDEV_IRQ,
						    .base = TESTDEV_IRQ_PORT + i,
						    .size = 1,
						    .irq = i,
						    .file_fd = -1};

		if (add_device(m, &line, f))
			return -1;
	}
	return 0;
}

int machine_build(struct machine *m, const struct options *o, struct failure *f)
{
	const struct device_config none = {0};

	m->vcpus = o->cpus;
	m->ram_bytes = o->mem_bytes;
	m->count_instructions = o->stats != NULL;
	for (size_t i = 0; i < sizeof(pc_devices) / sizeof(pc_devices[0]); i++) {
		struct machine_device d = pc_devices[i];

		d.file_fd = -1;
		if (add_device(m, &d, f))
			return -1;
	}
	if ((o->chaos && add_chaos(m, f)) || (o->testdev && add_testdev(m, f)))
		return -1;
	if (add_virtio(m, 0, DEVICE_VIRTIO_RNG, -1, &none, f))
		return -1;
	for (uint32_t i = 0; i < o->disks; i++)
		if (add_disk(m, i, &o->disk[i], f))
			return -1;
	return 0;
}

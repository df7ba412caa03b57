/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the virtio tests share: guest memory, a driver that builds rings in it, and a small core that runs
 * operations on a spare copy of a device's state and commits them, as emulator/core.c does.
 *
 * State, bulk and memory are separate allocations of exact size, so that AddressSanitizer sees every byte too
 * far.
 */
#ifndef DVMM_TESTS_VIRTIO_HARNESS_H
#define DVMM_TESTS_VIRTIO_HARNESS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "devices/virtio_mmio.h"

#define RAM_BYTES  0x40000u /* from address 0 */
#define HIGH_GPA   0x100000000ull
#define HIGH_BYTES 0x1000u

/* Where the driver puts things. */
#define DESC_GPA    0x1000u
#define DRIVER_GPA  0x2000u
#define DEVICE_GPA  0x3000u
#define TABLE_GPA   0x4000u /* an indirect table for each head */
#define TABLE_BYTES 0x400u
#define DATA_GPA    0x20000u

#define F(n)          (1ull << (n))
#define BASE_FEATURES F(VIRTIO_F_VERSION_1)
#define INDIRECT      F(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX     F(VIRTIO_RING_F_EVENT_IDX)

/* xorshift64*: the same numbers everywhere for the same seed. */
static inline uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}

static inline void random_fill(uint64_t *seed, void *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)(random_next(seed) >> 32);
}

struct buffer {
	uint64_t gpa;
	uint32_t len;
	bool writable;
};

/* The driver's side of a queue. */
struct driver {
	uint8_t *ram;
	uint16_t size;
	uint16_t avail;     /* chains ever offered */
	uint16_t seen;      /* used elements ever taken */
	uint16_t next_desc; /* descriptors are handed out in turn; tests keep few enough in flight */
	bool indirect;
};

static inline struct vring_desc *driver_desc(struct driver *d, unsigned i)
{
	return (struct vring_desc *)(d->ram + DESC_GPA) + i;
}

static inline struct vring_avail *driver_ring(struct driver *d)
{
	return (struct vring_avail *)(d->ram + DRIVER_GPA);
}
static inline struct vring_used *device_ring(struct driver *d)
{
	return (struct vring_used *)(d->ram + DEVICE_GPA);
}
static inline uint16_t *used_event(struct driver *d)
{
	return &driver_ring(d)->ring[d->size];
}
static inline uint16_t *avail_event(struct driver *d)
{
	return (uint16_t *)&device_ring(d)->ring[d->size];
}

static inline void desc_set(struct vring_desc *d, const struct buffer *b, bool next, unsigned next_index)
{
	d->addr = b->gpa;
	d->len = b->len;
	d->flags = (uint16_t)((b->writable ? VRING_DESC_F_WRITE : 0) | (next ? VRING_DESC_F_NEXT : 0));
	d->next = (uint16_t)next_index;
}

/* Makes the chain that starts at `head` available, whatever it is. */
static inline void driver_offer(struct driver *d, uint16_t head)
{
	driver_ring(d)->ring[d->avail % d->size] = head;
	driver_ring(d)->idx = ++d->avail;
}

/* Builds a chain and makes it available; returns its head. */
static inline uint16_t driver_add(struct driver *d, const struct buffer *b, unsigned n)
{
	uint16_t head = d->next_desc;

	if (d->indirect) {
		struct vring_desc *table = (struct vring_desc *)(d->ram + TABLE_GPA + head * TABLE_BYTES);
		struct vring_desc *ref = driver_desc(d, head);

		ck_assert_uint_le(n * sizeof(*table), TABLE_BYTES);
		for (unsigned i = 0; i < n; i++)
			desc_set(&table[i], &b[i], i + 1 < n, i + 1);
		ref->addr = TABLE_GPA + head * TABLE_BYTES;
		ref->len = (uint32_t)(n * sizeof(*table));
		ref->flags = VRING_DESC_F_INDIRECT;
		d->next_desc = (uint16_t)((head + 1) % d->size);
	} else {
		for (unsigned i = 0; i < n; i++)
			desc_set(driver_desc(d, (head + i) % d->size), &b[i], i + 1 < n,
				 (head + i + 1) % d->size);
		d->next_desc = (uint16_t)((head + n) % d->size);
	}
	driver_offer(d, head);
	return head;
}

/* The next used element, if there is one. */
static inline bool driver_take(struct driver *d, struct vring_used_elem *e)
{
	if (d->seen == device_ring(d)->idx)
		return false;
	*e = device_ring(d)->ring[d->seen++ % d->size];
	return true;
}

/* A device, its memory and its driver. */
struct rig {
	const struct device_ops *ops;
	struct guest_memory mem;
	uint8_t *state, *spare, *bulk;
	struct outbox out; /* of the last operation */
	uint64_t started;  /* slots that asked to be started, minus those completed */
	unsigned irqs;
	struct driver driver;
};

static inline void memory_new(struct guest_memory *mem)
{
	mem->seg[0] = (struct guest_memory_segment){0, RAM_BYTES, aligned_alloc(4096, RAM_BYTES)};
	mem->seg[1] = (struct guest_memory_segment){HIGH_GPA, HIGH_BYTES, aligned_alloc(4096, HIGH_BYTES)};
	ck_assert(mem->seg[0].host && mem->seg[1].host);
	memset(mem->seg[0].host, 0, RAM_BYTES);
	memset(mem->seg[1].host, 0, HIGH_BYTES);
}

static inline void memory_free(struct guest_memory *mem)
{
	free(mem->seg[0].host);
	free(mem->seg[1].host);
}

static inline void rig_new(struct rig *r, const struct device_ops *ops, const struct device_config *cfg)
{
	memset(r, 0, sizeof(*r));
	memory_new(&r->mem);
	r->ops = ops;
	r->state = calloc(1, ops->state_size);
	r->spare = calloc(1, ops->state_size);
	r->bulk = calloc(1, ops->bulk_size);
	ck_assert(r->state && r->spare && r->bulk);
	r->driver.ram = r->mem.seg[0].host;
	ops->init(r->state, cfg);
}

static inline void rig_free(struct rig *r)
{
	memory_free(&r->mem);
	free(r->state);
	free(r->spare);
	free(r->bulk);
}

static inline struct virtio_mmio *rig_mmio(struct rig *r)
{
	return (struct virtio_mmio *)r->state;
}

static inline struct operation rig_begin(struct rig *r)
{
	memcpy(r->spare, r->state, r->ops->state_size);
	memset(&r->out, 0, sizeof(r->out));
	return (struct operation){.state = r->spare, .bulk = r->bulk, .out = &r->out, .mem = &r->mem};
}

static inline void rig_effects(struct rig *r)
{
	r->irqs += r->out.irq;
	r->irqs += virtqueue_publish(&r->out, &r->mem);
	r->started |= r->out.io_start;
}

static inline void rig_commit(struct rig *r)
{
	memcpy(r->state, r->spare, r->ops->state_size);
	rig_effects(r);
}

static inline uint64_t rig_access(struct rig *r, uint64_t offset, uint32_t size, bool write, uint64_t value)
{
	struct access a = {
		.offset = offset, .size = size, .write = write, .value = write ? value : UINT64_MAX};
	struct operation op = rig_begin(r);

	r->ops->access(&op, &a);
	rig_commit(r);
	return a.value;
}

static inline uint32_t reg_read(struct rig *r, uint64_t offset)
{
	uint64_t value = rig_access(r, offset, 4, false, 0);

	ck_assert_uint_le(value, UINT32_MAX);
	return (uint32_t)value;
}

static inline void reg_write(struct rig *r, uint64_t offset, uint32_t value)
{
	rig_access(r, offset, 4, true, value);
}

static inline void rig_notify(struct rig *r)
{
	struct operation op = rig_begin(r);

	r->ops->notify(&op, 0);
	rig_commit(r);
}

static inline void rig_complete(struct rig *r, unsigned slot, int32_t result)
{
	struct operation op = rig_begin(r);

	r->ops->complete(&op, slot, result);
	rig_commit(r);
	r->started &= slot < 64 ? ~F(slot) : ~0ull;
}

static inline uint64_t rig_pending(struct rig *r)
{
	return r->ops->io_pending(r->state);
}

static inline uint64_t features_read(struct rig *r)
{
	uint64_t low, high;

	reg_write(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = reg_read(r, VIRTIO_MMIO_DEVICE_FEATURES);
	reg_write(r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	high = reg_read(r, VIRTIO_MMIO_DEVICE_FEATURES);
	return high << 32 | low;
}

static inline void features_write(struct rig *r, uint64_t features)
{
	reg_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(r, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	reg_write(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(r, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static inline void queue_setup(struct rig *r, uint64_t desc, uint64_t driver, uint64_t device, uint32_t size)
{
	reg_write(r, VIRTIO_MMIO_QUEUE_SEL, 0);
	reg_write(r, VIRTIO_MMIO_QUEUE_NUM, size);
	reg_write(r, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	reg_write(r, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	reg_write(r, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)driver);
	reg_write(r, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(driver >> 32));
	reg_write(r, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)device);
	reg_write(r, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(device >> 32));
	reg_write(r, VIRTIO_MMIO_QUEUE_READY, 1);
}

#define STATUS_UP_TO_FEATURES                                                                                \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define STATUS_RUNNING (STATUS_UP_TO_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK)

/* Brings the device up as a driver does: virtio 1.2, 3.1.1. */
static inline void driver_start(struct rig *r, uint64_t features, uint16_t size)
{
	struct driver *d = &r->driver;

	*d = (struct driver){.ram = d->ram, .size = size, .indirect = !!(features & INDIRECT)};
	memset(d->ram + DRIVER_GPA, 0, DEVICE_GPA - DRIVER_GPA);
	memset(d->ram + DEVICE_GPA, 0, TABLE_GPA - DEVICE_GPA);
	reg_write(r, VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(reg_read(r, VIRTIO_MMIO_STATUS), 0);
	reg_write(r, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	reg_write(r, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	features_write(r, features | BASE_FEATURES);
	reg_write(r, VIRTIO_MMIO_STATUS, STATUS_UP_TO_FEATURES);
	ck_assert_uint_eq(reg_read(r, VIRTIO_MMIO_STATUS), STATUS_UP_TO_FEATURES);
	queue_setup(r, DESC_GPA, DRIVER_GPA, DEVICE_GPA, size);
	ck_assert_uint_eq(reg_read(r, VIRTIO_MMIO_QUEUE_READY), 1);
	reg_write(r, VIRTIO_MMIO_STATUS, STATUS_RUNNING);
	ck_assert_uint_eq(reg_read(r, VIRTIO_MMIO_STATUS), STATUS_RUNNING);
}

/* The device has asked for a reset, and said so to a driver that was running. */
static inline void assert_broken(struct rig *r)
{
	ck_assert_uint_eq(reg_read(r, VIRTIO_MMIO_STATUS), STATUS_RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_ne(reg_read(r, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG, 0);
	ck_assert_uint_ge(r->irqs, 1);
}

/* Random damage everywhere: registers, rings, descriptors, state, bulk, completions. Nothing to assert but
 * that it ends and that the sanitizers stay silent; half of the rounds start from a device that works, to get
 * further in. */
static inline void rig_fuzz(struct rig *r, uint64_t seed, unsigned rounds, unsigned steps)
{
	uint8_t *pristine = malloc(r->ops->state_size);

	ck_assert(pristine);
	memcpy(pristine, r->state, r->ops->state_size);
	for (unsigned round = 0; round < rounds; round++) {
		memcpy(r->state, pristine, r->ops->state_size);
		random_fill(&seed, r->driver.ram + DESC_GPA, TABLE_GPA - DESC_GPA);
		if (round & 1)
			driver_start(r, random_next(&seed) & (INDIRECT | EVENT_IDX),
				     (uint16_t)(1u << random_next(&seed) % 7));
		for (unsigned step = 0; step < steps; step++) {
			uint64_t x = random_next(&seed);
			struct io_request req;

			switch (x >> 60) {
			case 0 ... 2: /* plausible descriptors */
				for (unsigned i = 0; i < 64; i++) {
					struct vring_desc *d = driver_desc(&r->driver, i);

					random_fill(&seed, d, sizeof(*d));
					d->addr %= RAM_BYTES + 64;
					d->len %= i & 1 ? 64 : 1024;
					d->len *= i & 2 ? 16 : 1;
					d->flags &= 7;
					d->next %= 66;
				}
				break;
			case 3 ... 6: /* a few chains more */
				driver_ring(&r->driver)->ring[(x >> 8) % 64] = (uint16_t)((x >> 16) % 65);
				driver_ring(&r->driver)->idx =
					(uint16_t)(rig_mmio(r)->queue.last_avail + (x >> 24) % 4);
				rig_notify(r);
				break;
			case 7 ... 8:
				rig_complete(r, (unsigned)(x & 0xff) % 66, (int32_t)random_next(&seed));
				break;
			case 9 ... 10:
				rig_access(r, (x & 0xff) * ((x >> 12 & 7) ? 1 : 16), 4, x >> 16 & 1,
					   random_next(&seed) >> (x >> 20 & 63));
				break;
			case 11:
				rig_access(r, x % (0x1000 - 8), 1u << (x >> 12 & 3), x >> 16 & 1,
					   random_next(&seed));
				break;
			case 12: /* one byte of the state */
				r->state[(x >> 8) % r->ops->state_size] = (uint8_t)x;
				break;
			case 13: /* all bytes of the state, sometimes in a device that believes that it runs
				  */
				random_fill(&seed, r->state, r->ops->state_size);
				if (x & 1) {
					rig_mmio(r)->status = STATUS_RUNNING;
					rig_mmio(r)->draining = 0;
					rig_mmio(r)->queue.size = (uint16_t)(1u << (x >> 8) % 8);
					rig_mmio(r)->queue.driver_gpa = DRIVER_GPA;
				}
				break;
			case 14:
				random_fill(&seed, r->bulk + (x >> 8) % (r->ops->bulk_size - 512), 512);
				break;
			case 15:
				for (unsigned n = 0; n < 66; n++)
					if (r->ops->io_describe(r->state, r->bulk, n, &req))
						ck_assert_uint_le(req.count, IO_SEGMENTS);
				rig_effects(r); /* once more */
				break;
			}
		}
	}
	free(pristine);
}

/* What every test program ends with. */
static inline int harness_run(const char *name, void (*add)(TCase *tc))
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *runner;
	int failed;

	add(tc);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers and the life of a device: devices/virtio_mmio.c under virtio-blk and virtio-rng. */
#include "tests/unit/virtio_harness.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "devices/virtio_blk.h"
#include "devices/virtio_rng.h"

static struct rig r;
static const struct device_config disk = {.capacity = 0x123456789ull, .serial = "serial"};

START_TEST(identity)
{
	rig_new(&r, &virtio_blk_ops, &disk);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_CONFIG_GENERATION), 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_DESC_LOW), 0); /* write only */
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQUEUE_MAX);
	reg_write(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	rig_free(&r);

	rig_new(&r, &virtio_rng_ops, &disk);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_RNG);
	ck_assert_uint_eq(rig_access(&r, VIRTIO_MMIO_CONFIG, 8, false, 0), 0);
	rig_free(&r);
}
END_TEST

START_TEST(widths)
{
	rig_new(&r, &virtio_blk_ops, &disk);
	for (unsigned size = 1; size <= 8; size *= 2)
		ck_assert_uint_eq(rig_access(&r, 0, size, false, 0), size == 4 ? 0x74726976 : 0);
	ck_assert_uint_eq(rig_access(&r, 2, 4, false, 0), 0);
	ck_assert_uint_eq(rig_access(&r, 0xfc, 8, false, 0), 0); /* across the border to the configuration */
	rig_access(&r, VIRTIO_MMIO_STATUS, 1, true, 1);
	rig_access(&r, VIRTIO_MMIO_STATUS, 8, true, 1);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), 0);

	/* Configuration: any width, anywhere, nothing beyond its end. */
	ck_assert_uint_eq(rig_access(&r, 0x100, 8, false, 0), 0x123456789ull);
	ck_assert_uint_eq(rig_access(&r, 0x100, 4, false, 0), 0x23456789);
	ck_assert_uint_eq(rig_access(&r, 0x104, 4, false, 0), 0x1);
	ck_assert_uint_eq(rig_access(&r, 0x102, 2, false, 0), 0x2345);
	ck_assert_uint_eq(rig_access(&r, 0x103, 1, false, 0), 0x23);
	ck_assert_uint_eq(rig_access(&r, 0x101, 4, false, 0), 0x01234567);
	ck_assert_uint_eq(rig_access(&r, 0x100 + offsetof(struct virtio_blk_config, seg_max), 4, false, 0),
			  30);
	ck_assert_uint_eq(rig_access(&r, 0x100 + offsetof(struct virtio_blk_config, blk_size), 4, false, 0),
			  512);
	ck_assert_uint_eq(rig_access(&r, 0x100 + VIRTIO_CONFIG_BYTES - 1, 8, false, 0), 0);
	ck_assert_uint_eq(rig_access(&r, 0xff8, 8, false, 0), 0);
	rig_access(&r, 0x100, 8, true, 1);
	ck_assert_uint_eq(rig_access(&r, 0x100, 8, false, 0), 0x123456789ull);
	rig_free(&r);
}
END_TEST

START_TEST(features)
{
	const struct device_config ro = {.capacity = 8, .read_only = 1};
	const uint64_t transport = BASE_FEATURES | INDIRECT | EVENT_IDX;
	const uint64_t blk = F(VIRTIO_BLK_F_SEG_MAX) | F(VIRTIO_BLK_F_BLK_SIZE) | F(VIRTIO_BLK_F_FLUSH);

	rig_new(&r, &virtio_rng_ops, &ro);
	ck_assert_uint_eq(features_read(&r), transport);
	rig_free(&r);
	rig_new(&r, &virtio_blk_ops, &ro);
	ck_assert_uint_eq(features_read(&r), transport | blk | F(VIRTIO_BLK_F_RO));
	rig_free(&r);
	rig_new(&r, &virtio_blk_ops, &disk);
	ck_assert_uint_eq(features_read(&r), transport | blk);
	reg_write(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_DEVICE_FEATURES), 0);

	/* Neither without VERSION_1 nor with anything that was not offered; the second try may be better. */
	reg_write(&r, VIRTIO_MMIO_STATUS, 1);
	reg_write(&r, VIRTIO_MMIO_STATUS, 3);
	features_write(&r, EVENT_IDX);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_UP_TO_FEATURES);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), 3);
	features_write(&r, BASE_FEATURES | F(VIRTIO_F_RING_PACKED));
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_RUNNING); /* then DRIVER_OK is not taken either */
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), 3);
	features_write(&r, BASE_FEATURES | EVENT_IDX);
	reg_write(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	reg_write(&r, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_UP_TO_FEATURES);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), STATUS_UP_TO_FEATURES);
	ck_assert_uint_eq(rig_mmio(&r)->queue.event_idx, 1);
	ck_assert_uint_eq(rig_mmio(&r)->queue.indirect, 0);
	/* Now they are fixed. */
	features_write(&r, BASE_FEATURES);
	ck_assert_uint_eq(rig_mmio(&r)->driver_features, BASE_FEATURES | EVENT_IDX);
	rig_free(&r);
}
END_TEST

START_TEST(queue_registers)
{
	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, 0, 32);
	/* A ready queue does not move, and the queue that does not exist is not this one. */
	reg_write(&r, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x8000);
	reg_write(&r, VIRTIO_MMIO_QUEUE_NUM, 16);
	ck_assert_uint_eq(rig_mmio(&r)->queue.desc_gpa, DESC_GPA);
	ck_assert_uint_eq(rig_mmio(&r)->queue.size, 32);
	reg_write(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 0);
	reg_write(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	reg_write(&r, VIRTIO_MMIO_QUEUE_SEL, 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 1);
	reg_write(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 0);
	queue_setup(&r, DESC_GPA, HIGH_GPA, DEVICE_GPA, 16);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 1);
	ck_assert_uint_eq(rig_mmio(&r)->queue.driver_gpa, HIGH_GPA);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), STATUS_RUNNING);
	reg_write(&r, VIRTIO_MMIO_QUEUE_READY, 0);

	/* 65536 + 16 is not 16. */
	queue_setup(&r, DESC_GPA, DRIVER_GPA, DEVICE_GPA, 65536 + 16);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_broken(&r);
	rig_free(&r);
}
END_TEST

START_TEST(bad_queue_before_driver_ok)
{
	rig_new(&r, &virtio_rng_ops, &disk);
	reg_write(&r, VIRTIO_MMIO_STATUS, 3);
	features_write(&r, BASE_FEATURES);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_UP_TO_FEATURES);
	queue_setup(&r, RAM_BYTES, DRIVER_GPA, DEVICE_GPA, 16);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS),
			  STATUS_UP_TO_FEATURES | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(r.irqs, 0); /* 2.1.2: only if DRIVER_OK is set */
	rig_free(&r);
}
END_TEST

START_TEST(doorbells)
{
	const struct buffer b = {DATA_GPA, 16, true};

	rig_new(&r, &virtio_rng_ops, &disk);
	rig_notify(&r); /* before anything is set up */
	driver_start(&r, 0, 8);
	rig_notify(&r); /* nothing to do */
	ck_assert_uint_eq(r.started, 0);
	driver_add(&r.driver, &b, 1);
	reg_write(&r, VIRTIO_MMIO_QUEUE_NOTIFY, 1); /* no such queue */
	ck_assert_uint_eq(r.started, 0);
	reg_write(&r, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	ck_assert_uint_eq(r.started, 1);

	/* FAILED: the driver has given up, so do we. */
	driver_add(&r.driver, &b, 1);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_RUNNING | VIRTIO_CONFIG_S_FAILED);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 1);
	rig_free(&r);
}
END_TEST

/* A doorbell before DRIVER_OK takes nothing, and is made good for at DRIVER_OK. */
START_TEST(early_doorbell)
{
	const struct buffer b = {DATA_GPA, 16, true};

	rig_new(&r, &virtio_rng_ops, &disk);
	reg_write(&r, VIRTIO_MMIO_STATUS, 3);
	features_write(&r, BASE_FEATURES);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_UP_TO_FEATURES);
	queue_setup(&r, DESC_GPA, DRIVER_GPA, DEVICE_GPA, 8);
	r.driver.size = 8;
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 0);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_RUNNING);
	ck_assert_uint_eq(r.started, 1);
	rig_free(&r);
}
END_TEST

START_TEST(interrupt_status)
{
	const struct buffer b = {DATA_GPA, 16, true};

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, 0, 8);
	driver_add(&r.driver, &b, 1);
	driver_offer(&r.driver, 9); /* and one that breaks the device */
	rig_notify(&r);
	ck_assert_uint_eq(r.irqs, 1);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	reg_write(&r, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	reg_write(&r, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	rig_complete(&r, 0, 16); /* nobody waits for it any more */
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 0);
	reg_write(&r, VIRTIO_MMIO_STATUS, 0);

	driver_start(&r, 0, 8);
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	rig_complete(&r, 0, 16);
	ck_assert_uint_eq(r.irqs, 2);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	rig_free(&r);
}
END_TEST

/* Each of these breaks the device, once; then doorbells are ignored until a reset heals it. */
START_TEST(needs_reset)
{
	const struct buffer b = {DATA_GPA, 16, true};
	unsigned irqs;

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, 0, 8);
	driver_offer(&r.driver, 8);
	rig_notify(&r);
	assert_broken(&r);
	irqs = r.irqs;
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	ck_assert_uint_eq(r.irqs, irqs);
	ck_assert_uint_eq(r.started, 0);
	reg_write(&r, VIRTIO_MMIO_STATUS, STATUS_RUNNING); /* the driver cannot take it back */
	assert_broken(&r);
	driver_start(&r, EVENT_IDX, 8);
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 1);
	rig_free(&r);
}
END_TEST

START_TEST(reset_in_flight)
{
	const struct buffer b = {DATA_GPA, 16, true};

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, 0, 8);
	driver_add(&r.driver, &b, 1);
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	ck_assert_uint_eq(r.started, 3);
	reg_write(&r, VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_ne(reg_read(&r, VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(rig_pending(&r), 3); /* a restart would start them again */

	/* Until then nothing moves. */
	reg_write(&r, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	features_write(&r, 0);
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	reg_write(&r, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	reg_write(&r, VIRTIO_MMIO_STATUS, 0);
	rig_complete(&r, 1, 16);
	ck_assert_uint_ne(reg_read(&r, VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(rig_pending(&r), 1);

	rig_complete(&r, 0, 16);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert_uint_eq(rig_pending(&r), 0);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 0); /* no completion got through */
	ck_assert_uint_eq(r.irqs, 0);
	rig_complete(&r, 0, 16); /* of a slot not in use */
	driver_start(&r, 0, 8);
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	rig_complete(&r, 0, 16);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 1);
	rig_free(&r);
}
END_TEST

START_TEST(queue_stopped_in_flight)
{
	const struct buffer b = {DATA_GPA, 16, true};

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, 0, 8);
	driver_add(&r.driver, &b, 1);
	rig_notify(&r);
	reg_write(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 1);
	reg_write(&r, VIRTIO_MMIO_QUEUE_READY, 1); /* too early: dropped */
	rig_complete(&r, 0, 16);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), STATUS_RUNNING);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 0);
	queue_setup(&r, DESC_GPA, DRIVER_GPA, DEVICE_GPA, 8);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_QUEUE_READY), 1);
	rig_notify(&r); /* from index 0 again */
	ck_assert_uint_eq(r.started, 1);

	/* A reset overtakes a stop. */
	reg_write(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	reg_write(&r, VIRTIO_MMIO_STATUS, 0);
	rig_complete(&r, 0, 16);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), 0);
	rig_free(&r);
}
END_TEST

/* An operation that is abandoned has not happened, whatever it wrote into memory: the next one does it all.
 */
START_TEST(abandoned_operation)
{
	const struct buffer b = {DATA_GPA, 16, true};
	struct operation op;

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, EVENT_IDX, 8);
	driver_add(&r.driver, &b, 1);
	op = rig_begin(&r);
	r.ops->notify(&op, 0);
	ck_assert_uint_eq(r.out.io_start, 1);
	ck_assert_uint_eq(rig_pending(&r), 0);

	rig_notify(&r);
	ck_assert_uint_eq(r.started, 1);
	op = rig_begin(&r);
	r.ops->complete(&op, 0, 16);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 0);
	rig_complete(&r, 0, 16);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 1);
	rig_free(&r);
}
END_TEST

/* Whatever the state was, a driver that follows the specification gets a working device, once I/O has ended.
 */
START_TEST(recovery_from_any_state)
{
	const struct buffer b = {DATA_GPA, 16, true};
	uint64_t seed = 0x5eed;

	rig_new(&r, &virtio_rng_ops, &disk);
	for (unsigned round = 0; round < 2000; round++) {
		random_fill(&seed, r.state, r.ops->state_size);
		rig_mmio(&r)->device_features |=
			BASE_FEATURES | INDIRECT; /* init is not repeated by a reset */
		reg_write(&r, VIRTIO_MMIO_STATUS, 0);
		for (unsigned slot = 0; slot < 64; slot++)
			rig_complete(&r, slot, -5);
		driver_start(&r, INDIRECT, 8);
		r.started = 0;
		driver_add(&r.driver, &b, 1);
		rig_notify(&r);
		ck_assert_uint_eq(r.started, 1);
		rig_complete(&r, 0, 16);
		ck_assert_uint_eq(device_ring(&r.driver)->idx, 1);
	}
	rig_free(&r);
}
END_TEST

/* Another vCPU offers the next chain while one is being worked on, and never waits for its answers. */
static unsigned taken;

static bool endless_request(struct operation *op, struct virtqueue_chain *chain)
{
	taken++;
	driver_offer(&r.driver, chain->head);
	return virtio_mmio_give_back(op, chain->head, 0);
}

START_TEST(endless_driver)
{
	const struct virtio_model model = {.request = endless_request};
	struct operation op;

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, _i ? EVENT_IDX : 0, 8);
	driver_add(&r.driver, &(struct buffer){DATA_GPA, 16, true}, 1);
	op = rig_begin(&r);
	virtio_mmio_notify(&op, &model, 0);
	rig_commit(&r);
	ck_assert_uint_eq(taken, 8);
	ck_assert_uint_eq(device_ring(&r.driver)->idx, 8);
	assert_broken(&r);
	rig_free(&r);
}
END_TEST

/*
 * Driver and device on a thread each, both asleep unless told: a doorbell or an interrupt that gets lost ends
 * in two sleepers. The chains have nothing to fill, so the device answers them within the doorbell's
 * operation.
 */
#define EXCHANGES 60000u

static sem_t doorbell, interrupt;
static bool finished;

static bool awaited(sem_t *sem)
{
	struct timespec end;

	for (unsigned spin = 0; spin < 1000; spin++) /* the races are between two that are awake */
		if (sem_trywait(sem) == 0)
			return true;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 30; /* far beyond anything but a lost wake-up */
	return sem_timedwait(sem, &end) == 0;
}

static void *device_thread(void *unused)
{
	bool *ok = calloc(1, sizeof(*ok));

	while (ok && (*ok = awaited(&doorbell)) && !__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
		unsigned before = r.irqs;

		rig_notify(&r);
		if (r.irqs != before)
			sem_post(&interrupt);
	}
	return ok;
}

/* Offers one chain; rings if the device wants that: virtio 1.2, 2.7.13.4. */
static void offer_and_ring(struct driver *d, bool event_idx)
{
	uint16_t old = d->avail, flags;

	driver_ring(d)->ring[old % d->size] = 0;
	__atomic_store_n(&driver_ring(d)->idx, ++d->avail, __ATOMIC_SEQ_CST);
	flags = __atomic_load_n(&device_ring(d)->flags, __ATOMIC_SEQ_CST);
	if (event_idx ? vring_need_event(__atomic_load_n(avail_event(d), __ATOMIC_SEQ_CST), d->avail, old)
		      : !(flags & VRING_USED_F_NO_NOTIFY))
		sem_post(&doorbell);
}

/* Sleeps until the device has used something: virtio 1.2, 2.7.14. */
static bool wait_for_used(struct driver *d, bool event_idx)
{
	for (;;) {
		if (event_idx)
			__atomic_store_n(used_event(d), d->seen, __ATOMIC_SEQ_CST);
		else
			__atomic_store_n(&driver_ring(d)->flags, 0, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&device_ring(d)->idx, __ATOMIC_SEQ_CST) != d->seen)
			break;
		if (!awaited(&interrupt))
			return false;
	}
	if (!event_idx)
		__atomic_store_n(&driver_ring(d)->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
	d->seen = __atomic_load_n(&device_ring(d)->idx, __ATOMIC_ACQUIRE);
	return true;
}

/* Meets the other side at any point of its way. */
static void pause_a_little(uint64_t *seed)
{
	for (unsigned n = random_next(seed) % 8; n; n--)
		__builtin_ia32_pause();
}

/* With many chains under way the race is for doorbells, with one it is for interrupts. */
START_TEST(no_wake_up_is_lost)
{
	const bool event_idx = _i & 1;
	const unsigned depth = _i & 2 ? 1 : 64;
	struct driver *d = &r.driver;
	uint64_t seed = 1;
	pthread_t thread;
	void *ok;

	rig_new(&r, &virtio_rng_ops, &disk);
	driver_start(&r, event_idx ? EVENT_IDX : 0, 64);
	*driver_desc(d, 0) = (struct vring_desc){DATA_GPA, 16, 0, 0};
	sem_init(&doorbell, 0, 0);
	sem_init(&interrupt, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, device_thread, NULL), 0);
	for (unsigned i = 0; i < EXCHANGES; i++) {
		while ((uint16_t)(d->avail - d->seen) == depth)
			ck_assert_msg(wait_for_used(d, event_idx), "asleep after %u chains", i);
		pause_a_little(&seed);
		offer_and_ring(d, event_idx);
		pause_a_little(&seed);
	}
	while (d->avail != d->seen)
		ck_assert(wait_for_used(d, event_idx));
	__atomic_store_n(&finished, true, __ATOMIC_RELEASE);
	sem_post(&doorbell);
	pthread_join(thread, &ok);
	ck_assert(ok && *(bool *)ok);
	free(ok);
	ck_assert_uint_eq(reg_read(&r, VIRTIO_MMIO_STATUS), STATUS_RUNNING);
	rig_free(&r);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, identity);
	tcase_add_test(tc, widths);
	tcase_add_test(tc, features);
	tcase_add_test(tc, queue_registers);
	tcase_add_test(tc, bad_queue_before_driver_ok);
	tcase_add_test(tc, doorbells);
	tcase_add_test(tc, early_doorbell);
	tcase_add_test(tc, interrupt_status);
	tcase_add_test(tc, needs_reset);
	tcase_add_test(tc, reset_in_flight);
	tcase_add_test(tc, queue_stopped_in_flight);
	tcase_add_test(tc, abandoned_operation);
	tcase_add_test(tc, recovery_from_any_state);
	tcase_add_loop_test(tc, endless_driver, 0, 2);
	tcase_add_loop_test(tc, no_wake_up_is_lost, 0, 4);
}

int main(void)
{
	return harness_run("virtio_mmio", add);
}

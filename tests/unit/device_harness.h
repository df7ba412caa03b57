/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a device model as emulator/core.c does: two copies of the state, an operation works on the spare, a
 * flip commits.
 *
 * Each operation is done twice from the same committed state, as after a crash between begin and commit, and
 * must come out the same: state, outbox and result. After each, what the model publishes must be what a read
 * gives, and that read must leave everything as it is. The buffers have exactly the size that the model
 * declares, so that AddressSanitizer sees a byte beyond.
 */
#ifndef DVMM_TESTS_DEVICE_HARNESS_H
#define DVMM_TESTS_DEVICE_HARNESS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"

/* For loops of a million: Check's own assertions note each passing through, which takes microseconds. */
#define harness_expect(condition)                                                                            \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			ck_abort_msg("expected: %s", #condition);                                            \
	} while (0)

struct harness {
	const struct device_ops *ops;
	uint8_t *copy[2];
	unsigned current;
	uint8_t *bulk;
	struct outbox out; /* of the last operation */
	struct guest_memory mem;
};

static uint64_t harness_clock_ns; /* what op->now_ns() says */

static inline uint64_t harness_now_ns(void)
{
	return harness_clock_ns;
}

static inline void harness_open(struct harness *h, const struct device_ops *ops)
{
	struct device_config cfg = {0};

	*h = (struct harness){.ops = ops};
	ck_assert_uint_eq(ops->state_size % 8, 0);
	for (int i = 0; i < 2; i++)
		h->copy[i] = calloc(1, ops->state_size ? ops->state_size : 1);
	h->bulk = ops->bulk_size ? calloc(1, ops->bulk_size) : NULL;
	if (ops->init)
		ops->init(h->copy[0], &cfg);
}

static inline void harness_close(struct harness *h)
{
	free(h->copy[0]);
	free(h->copy[1]);
	free(h->bulk);
}

/* The committed state. */
static inline void *harness_state(const struct harness *h)
{
	return h->copy[h->current];
}

static inline struct operation harness_begin(struct harness *h)
{
	memcpy(h->copy[h->current ^ 1], h->copy[h->current], h->ops->state_size);
	h->out = (struct outbox){0};
	return (struct operation){
		.state = h->copy[h->current ^ 1],
		.bulk = h->bulk,
		.out = &h->out,
		.mem = &h->mem,
		.now_ns = harness_now_ns,
	};
}

static inline void harness_check_published(struct harness *h)
{
	const struct outbox nothing = {0};
	_Alignas(8) uint8_t state[256];

	for (unsigned n = 0; n < h->ops->register_count; n++) {
		const struct device_register *r = &h->ops->registers[n];
		struct access a = {.offset = r->offset, .size = r->size, .value = UINT64_MAX};
		struct outbox out = {0};
		struct operation op = {.state = state, .bulk = h->bulk, .out = &out, .mem = &h->mem,
				       .now_ns = harness_now_ns};
		uint32_t value = 0;

		if (!h->ops->publish(h->copy[h->current], n, &value) || r->use != REGISTER_PUBLISHED)
			continue;
		harness_expect(h->ops->state_size <= sizeof(state));
		memcpy(state, h->copy[h->current], h->ops->state_size);
		h->ops->access(&op, &a);
		harness_expect((a.value & ((1ull << 8 * r->size) - 1)) == value);
		harness_expect(memcmp(&out, &nothing, sizeof(nothing)) == 0);
		harness_expect(memcmp(state, h->copy[h->current], h->ops->state_size) == 0);
	}
}

/* The end of an operation. */
static inline void harness_commit(struct harness *h)
{
	h->current ^= 1;
	harness_check_published(h);
}

static inline uint64_t harness_access(struct harness *h, struct access a)
{
	struct access first = a;
	struct operation op = harness_begin(h);
	struct outbox out;
	uint8_t state[256];

	harness_expect(h->ops->state_size <= sizeof(state));
	h->ops->access(&op, &first);
	out = h->out;
	memcpy(state, op.state, h->ops->state_size);
	op = harness_begin(h);
	h->ops->access(&op, &a);
	harness_expect(memcmp(&out, &h->out, sizeof(out)) == 0);
	harness_expect(memcmp(state, op.state, h->ops->state_size) == 0);
	harness_expect(first.value == a.value);
	harness_commit(h);
	return a.value;
}

/* What the guest sees: all ones where the model leaves the value alone. */
static inline uint64_t harness_read_wide(struct harness *h, uint64_t offset, uint32_t size)
{
	uint64_t mask = size == 8 ? UINT64_MAX : (1ull << size * 8) - 1;

	return mask & harness_access(h, (struct access){.offset = offset, .size = size, .value = UINT64_MAX});
}

static inline void harness_write_wide(struct harness *h, uint64_t offset, uint32_t size, uint64_t value)
{
	harness_access(h, (struct access){.offset = offset, .size = size, .value = value, .write = true});
}

static inline uint8_t harness_read(struct harness *h, uint64_t offset)
{
	return harness_read_wide(h, offset, 1);
}

static inline void harness_write(struct harness *h, uint64_t offset, uint8_t value)
{
	harness_write_wide(h, offset, 1, value);
}

static inline uint32_t harness_input(struct harness *h, const void *bytes, uint32_t len)
{
	struct operation op = harness_begin(h);
	uint32_t taken = h->ops->input(&op, bytes, len);

	harness_expect(taken <= len);
	harness_commit(h);
	return taken;
}

/* Small, seeded, the same everywhere. */
static inline uint32_t harness_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*seed >> 33);
}

static inline void harness_random_state(struct harness *h, uint64_t *seed)
{
	uint8_t *state = harness_state(h);

	for (uint32_t i = 0; i < h->ops->state_size; i++)
		state[i] = (uint8_t)harness_random(seed);
}

/* Accesses of every size, offset and value, from states of any bytes: nothing to assert but what
 * harness_access() asserts, what the sanitizers see, and that `check` (may be NULL) holds after each. */
static inline void harness_fuzz(struct harness *h, uint64_t window, unsigned accesses, uint64_t seed,
				void (*check)(struct harness *h))
{
	for (unsigned i = 0; i < accesses; i++) {
		uint32_t size = 1u << harness_random(&seed) % 4;
		uint64_t value = (uint64_t)harness_random(&seed) << 32 | harness_random(&seed);
		uint64_t offset;

		if (i % 50 == 0)
			harness_random_state(h, &seed);
		while (size > h->ops->max_access || size > window)
			size /= 2;
		offset = harness_random(&seed) % (window - size + 1);
		harness_clock_ns += (uint64_t)harness_random(&seed) << harness_random(&seed) % 24;
		if (harness_random(&seed) & 1)
			harness_write_wide(h, offset, size,
					   size == 8 ? value : value & ((1ull << size * 8) - 1));
		else
			harness_read_wide(h, offset, size);
		harness_expect(h->out.irq <= 1 && h->out.event <= MACHINE_EXIT);
		if (check)
			check(h);
	}
}

/* A test program's main(): one suite of one case. */
#define HARNESS_MAIN(name, ...)                                                                              \
	int main(void)                                                                                       \
	{                                                                                                    \
		const TTest *tests[] = {__VA_ARGS__};                                                        \
		Suite *suite = suite_create(name);                                                           \
		TCase *tcase = tcase_create(name);                                                           \
		SRunner *runner;                                                                             \
		int failed;                                                                                  \
                                                                                                             \
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)                                \
			tcase_add_test(tcase, tests[i]);                                                     \
		tcase_set_timeout(tcase, 120);                                                               \
		suite_add_tcase(suite, tcase);                                                               \
		runner = srunner_create(suite);                                                              \
		srunner_run_all(runner, CK_NORMAL);                                                          \
		failed = srunner_ntests_failed(runner);                                                      \
		srunner_free(runner);                                                                        \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                                 \
	}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng: two requests, which must be filled, to the last byte, and differ. */
#include "virtio.h"

static uint64_t bytes[2][8];

static bool whole(const uint64_t *words)
{
	for (unsigned i = 0; i < 8; i++)
		if (!words[i]) /* once in 2^61 runs */
			return false;
	return true;
}

unsigned guest_main(void)
{
	struct virtio d;

	check(virtio_find(&d, VIRTIO_ID_RNG, 0));
	virtio_start(&d, 0, false);
	for (unsigned i = 0; i < 2; i++) {
		struct piece pieces[] = {
			{bytes[i], 24, true},
			{bytes[i] + 3, 40, true},
		};

		check_eq(virtio_request(&d, pieces, 2), 64);
		check(whole(bytes[i]));
	}
	check(!same(bytes[0], bytes[1], 64));
	puts("rng: 2 requests\n");
	return 0;
}

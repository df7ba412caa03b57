/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/fuzz/machine.h"

#include <errno.h>
#include <sys/uio.h>

#include "devices/uart16550.h"
#include "devices/virtio_mmio.h"
#include "emulator/bus.h"
#include "vmm/handoff.h"

#ifdef __SANITIZE_ADDRESS__
#define POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON 1
#endif
#endif
#ifdef POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at))
#endif

#define CLOCK_NS 1700000000000000000ull /* some day in 2023 */

struct fuzz_machine fuzz;

/* The states and copies of the region after power-on; bulk areas are zero then. */
static uint8_t *power_on;

/* Which pages of guest memory may have been written, from 0 and then from 4 GiB on. */
#define PAGE      4096u
#define LOW_PAGES (FUZZ_LOW_BYTES / PAGE)
#define PAGES     (LOW_PAGES + FUZZ_HIGH_BYTES / PAGE)
static bool dirty[PAGES];

static uint64_t now_ns(void)
{
	return fuzz.clock_ns;
}

static void start_io(void *context, uint32_t device, uint64_t slots)
{
	fuzz.to_start[device] |= slots;
	fuzz.slots[device] |= slots;
}

static void add(enum fuzz_device n, uint32_t type, uint32_t space, uint64_t base, uint64_t size)
{
	fuzz.machine.device[n] = (struct machine_device){
		.type = type,
		.space = space,
		.base = base,
		.size = size,
		.irq = NO_IRQ,
		.irq_fd = -1,
		.queue_fd = -1,
		.file_fd = -1,
		.config = {.capacity = 64, .read_only = n == FUZZ_BLK_READ_ONLY, .serial = "fuzz"},
	};
}

static void add_devices(void)
{
	add(FUZZ_UART, DEVICE_UART, BUS_PIO, UART_PORT, 8);
	add(FUZZ_RTC, DEVICE_RTC, BUS_PIO, RTC_PORT, 2);
	add(FUZZ_I8042, DEVICE_I8042, BUS_PIO, I8042_PORT, 5);
	add(FUZZ_ACPI_PM, DEVICE_ACPI_PM, BUS_PIO, ACPI_PM_PORT, 6);
	add(FUZZ_RESET, DEVICE_RESET, BUS_PIO, RESET_PORT, 1);
	add(FUZZ_DEBUG_EXIT, DEVICE_DEBUG_EXIT, BUS_PIO, DEBUG_EXIT_PORT, 4);
	for (uint32_t i = FUZZ_RNG; i < FUZZ_DEVICES; i++)
		add(i, i == FUZZ_RNG ? DEVICE_VIRTIO_RNG : DEVICE_VIRTIO_BLK, BUS_MMIO,
		    VIRTIO_MMIO_BASE + (i - FUZZ_RNG) * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE);
	fuzz.machine.devices = FUZZ_DEVICES;
	fuzz.machine.vcpus = FUZZ_VCPUS;
	fuzz.machine.ram_bytes = FUZZ_LOW_BYTES + FUZZ_HIGH_BYTES;
}

/* Everything but the parts themselves is out of bounds. */
static void poison_gaps(void)
{
	const struct region_layout *l = &fuzz.core.layout;

	ASAN_POISON_MEMORY_REGION(fuzz.region, l->size);
	for (uint32_t i = 0; i < FUZZ_DEVICES; i++) {
		const struct region_device *d = &l->device[i];

		ASAN_UNPOISON_MEMORY_REGION(fuzz.region + d->current, sizeof(uint32_t));
		for (int c = 0; c < 2; c++) {
			ASAN_UNPOISON_MEMORY_REGION(fuzz.region + d->copy[c], sizeof(struct region_copy));
			ASAN_UNPOISON_MEMORY_REGION(fuzz.region + d->state[c], d->state_size);
		}
		ASAN_UNPOISON_MEMORY_REGION(fuzz.region + d->bulk, d->bulk_size);
	}
}

static void open_core(void)
{
	const struct guest_memory memory = {
		.seg = {
			{.gpa = 0, .size = FUZZ_LOW_BYTES, .host = fuzz.low},
			{.gpa = MMIO_HOLE_END, .size = FUZZ_HIGH_BYTES, .host = fuzz.high},
		}};

	fuzz_require(core_init(&fuzz.core, &fuzz.machine, fuzz.region, &memory) == 0);
	fuzz.core.now_ns = now_ns;
	fuzz.core.start_io = start_io;
}

static void open_machine(void)
{
	struct region_layout layout;

	add_devices();
	fuzz_require(region_layout(&fuzz.machine, &layout) == 0);
	fuzz.low = malloc(FUZZ_LOW_BYTES);
	fuzz.high = malloc(FUZZ_HIGH_BYTES);
	fuzz.region = aligned_alloc(4096, layout.size);
	power_on = calloc(1, layout.size);
	fuzz_require(fuzz.low && fuzz.high && fuzz.region && power_on);
	memset(dirty, true, sizeof(dirty));
	memset(fuzz.region, 0, layout.size);
	memset(fuzz.bulk_changed, true, sizeof(fuzz.bulk_changed));
	region_init(&fuzz.machine, &layout, power_on);
	open_core();
	poison_gaps();
}

/* Bulk is too large to be copied each time, and what was written to is known. */
static void clear_bulk(uint32_t i)
{
	const struct region_device *d = &fuzz.core.layout.device[i];
	uint8_t *bulk = fuzz.region + d->bulk;

	if (fuzz.bulk_changed[i]) {
		memset(bulk, 0, d->bulk_size);
	} else if (i == FUZZ_UART) {
		const struct uart_state *s = region_state_of(
			&fuzz.core.layout, fuzz.region, i, region_current(&fuzz.core.layout, fuzz.region, i));

		memset(bulk, 0, s->head < d->bulk_size ? s->head : d->bulk_size);
	} else {
		for (uint64_t slots = fuzz.slots[i]; slots; slots &= slots - 1)
			memset(bulk + (size_t)__builtin_ctzll(slots) * sizeof(struct virtio_slot), 0,
			       sizeof(struct virtio_slot));
	}
}

static void clear_memory(void)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		if (dirty[i])
			memset(i < LOW_PAGES ? fuzz.low + i * PAGE : fuzz.high + (i - LOW_PAGES) * PAGE, 0,
			       PAGE);
		dirty[i] = false;
	}
}

/* Whoever has the address of a range may write there. NULL: it is none. */
static void mark_dirty(const void *host, uint64_t len)
{
	uint64_t first = (uintptr_t)host - (uintptr_t)fuzz.low;

	if (!host || !len)
		return;
	if (first >= FUZZ_LOW_BYTES)
		first = (uintptr_t)host - (uintptr_t)fuzz.high + FUZZ_LOW_BYTES;
	for (uint64_t i = first / PAGE; i <= (first + len - 1) / PAGE && i < PAGES; i++)
		dirty[i] = true;
}

/* The first operation on a device leaves its journal in the second copy: a number from 1 on, or "nobody". */
static bool untouched(uint32_t i)
{
	const struct journal *j = &region_copy_of(&fuzz.core.layout, fuzz.region, i, 1)->journal;

	return !fuzz.bulk_changed[i] && !j->slot && !j->seq;
}

static void restore_region(void)
{
	for (uint32_t i = 0; i < FUZZ_DEVICES; i++) {
		const struct region_device *d = &fuzz.core.layout.device[i];

		if (untouched(i))
			continue;
		clear_bulk(i);
		memcpy(fuzz.region + d->current, power_on + d->current, sizeof(uint32_t));
		for (int c = 0; c < 2; c++) {
			memcpy(fuzz.region + d->copy[c], power_on + d->copy[c], sizeof(struct region_copy));
			memcpy(fuzz.region + d->state[c], power_on + d->state[c], d->state_size);
		}
	}
}

void machine_reset(void)
{
	if (!fuzz.region)
		open_machine();
	restore_region();
	clear_memory();
	memset(fuzz.to_start, 0, sizeof(fuzz.to_start));
	memset(fuzz.slots, 0, sizeof(fuzz.slots));
	memset(fuzz.bulk_changed, 0, sizeof(fuzz.bulk_changed));
	fuzz.clock_ns = CLOCK_NS;
	fuzz.seq = 0;
	race_clear();
}

/* --- Requests ----------------------------------------------------------------------------------- */

struct client {
	enum fuzz_fate fate;
	uint32_t slot, seq;
	unsigned published;
	struct reply reply;
};

static bool claim(void *context, uint32_t seq)
{
	return ((struct client *)context)->fate != FATE_ABANDONED;
}

/* Of an emulator that is killed here, nothing arrives. */
static void publish(void *context, const struct reply *reply)
{
	struct client *c = context;

	if (c->fate == FATE_KILLED && reply->device != REPLY_NO_DEVICE)
		return;
	c->reply = *reply;
	c->published++;
}

static bool unanswered(void *context, uint32_t slot, uint32_t seq)
{
	const struct client *c = context;

	return c && !c->published && c->slot == slot && c->seq == seq;
}

static void publish_again(void *context, uint32_t slot, const struct reply *reply)
{
	struct client *c = context;

	c->reply = *reply;
	c->published++;
}

static void recover(struct client *c)
{
	open_core();
	memset(fuzz.to_start, 0, sizeof(fuzz.to_start));
	core_recover(&fuzz.core, unanswered, publish_again, c);
}

void machine_recover(void)
{
	recover(NULL);
}

/* What an abandoned operation must leave alone: the committed copy of every device. */
static void copy_committed(uint8_t *to)
{
	for (uint32_t i = 0; i < FUZZ_DEVICES; i++) {
		uint32_t which = region_current(&fuzz.core.layout, fuzz.region, i);

		memcpy(to, region_copy_of(&fuzz.core.layout, fuzz.region, i, which),
		       sizeof(struct region_copy));
		to += sizeof(struct region_copy);
		memcpy(to, region_state_of(&fuzz.core.layout, fuzz.region, i, which),
		       fuzz.core.layout.device[i].state_size);
		to += fuzz.core.layout.device[i].state_size;
	}
}

bool machine_request(const struct request *req, uint32_t slot, enum fuzz_fate fate, struct reply *reply)
{
	static uint8_t before[0x4000], after[0x4000];
	struct client c = {.fate = fate, .slot = slot};
	const struct core_client client = {.slot = slot, .context = &c, .claim = claim, .publish = publish};
	struct request r = *req;
	bool done;

	r.seq = c.seq = ++fuzz.seq;
	if (fate == FATE_ABANDONED) {
		uint32_t device = bus_find(&fuzz.machine, r.space, r.addr);

		if (device != REPLY_NO_DEVICE) /* what it was about to commit is in its bulk area */
			fuzz.bulk_changed[device] = true;
		copy_committed(before);
	}
	done = core_request(&fuzz.core, &client, &r);
	if (!done) {
		copy_committed(after);
		fuzz_require(fate == FATE_ABANDONED && !c.published &&
			     memcmp(before, after, sizeof(after)) == 0);
		return false;
	}
	if (fate == FATE_KILLED && !c.published)
		recover(&c);
	fuzz_require(c.published == 1 && c.reply.seq == r.seq);
	fuzz_require(!handoff_check(&r, &c.reply, FUZZ_DEVICES));
	*reply = c.reply;
	return true;
}

uint64_t machine_access(uint32_t space, uint64_t addr, uint32_t size, bool write, uint64_t value)
{
	struct request req = {.kind = write ? REQUEST_WRITE : REQUEST_READ,
			      .space = space,
			      .addr = addr,
			      .size = size,
			      .count = 1};
	struct reply reply;

	memcpy(req.data, &value, sizeof(value));
	machine_request(&req, 0, FATE_REPLY, &reply);
	memcpy(&value, reply.data, sizeof(value));
	return value;
}

/* --- I/O ---------------------------------------------------------------------------------------- */

/* Touches what the I/O thread would. Returns the bytes moved, or -EFAULT. */
static int32_t move_data(const struct io_request *req, bool trusted)
{
	uint64_t moved = 0;

	for (uint32_t i = 0; i < req->count; i++) {
		uint8_t *at = guest_memory_range(&fuzz.core.memory, req->seg[i].gpa, req->seg[i].len);

		fuzz_require(at || !trusted);
		if (!at)
			return -EFAULT;
		if (req->kind == IO_WRITE)
			for (uint32_t k = 0; k < req->seg[i].len; k += 64)
				(void)*(volatile uint8_t *)(at + k);
		else
			memset(at, 0xa5, req->seg[i].len);
		moved += req->seg[i].len;
	}
	if (req->kind == IO_READ || req->kind == IO_WRITE)
		fuzz_require(req->offset + moved <= 64 * 512 || !trusted);
	return (int32_t)moved;
}

void machine_io(uint32_t device, unsigned slot, uint32_t outcome, bool trusted)
{
	const struct device_ops *ops = device_ops_of(fuzz.machine.device[device].type);
	const struct region_layout *l = &fuzz.core.layout;
	struct io_request req = {0};
	bool asked = slot < DEVICE_IO_SLOTS && fuzz.to_start[device] >> slot & 1;
	int32_t result = -EIO;

	if (ops->io_describe &&
	    ops->io_describe(region_state_of(l, fuzz.region, device, region_current(l, fuzz.region, device)),
			     region_bulk_of(l, fuzz.region, device), slot, &req)) {
		fuzz_require(req.count <= IO_SEGMENTS);
		result = move_data(&req, trusted);
	} else {
		fuzz_require(!asked || !trusted);
	}
	if (outcome & 1)
		result = (int32_t)(outcome >> 1);
	else if (outcome & 2)
		result = -(int32_t)(outcome >> 2);
	if (slot < DEVICE_IO_SLOTS)
		fuzz.to_start[device] &= ~(1ull << slot);
	core_complete(&fuzz.core, device, slot, result);
}

/* --- Inputs ------------------------------------------------------------------------------------- */

uint64_t input_gpa(struct input *in)
{
	uint8_t how = input_u8(in);

	switch (how & 7) {
	case 0: /* just below the end of low memory */
		return FUZZ_LOW_BYTES - (how >> 3);
	case 1: /* ... and around the high part's ends */
		return MMIO_HOLE_END - 4 + (how >> 3);
	case 2:
		return MMIO_HOLE_END + FUZZ_HIGH_BYTES - (how >> 3);
	case 3:
		return input_u64(in);
	default: /* memory */
		return (uint64_t)(how >> 3) << 11 | (uint64_t)input_u8(in) << 2;
	}
}

/* --- Races: all accesses of the devices to guest memory come through here (linker: --wrap). ------- */

static struct race {
	unsigned after;
	uint64_t gpa;
	uint64_t value;
	uint32_t len;
} races[RACES];
static unsigned race_count, looks;

void race_clear(void)
{
	race_count = looks = 0;
}

void race_add(struct input *in)
{
	struct race *r = &races[race_count % RACES];

	r->after = looks + 1 + input_u8(in);
	r->gpa = input_gpa(in);
	r->len = 1u + input_u8(in) % 8;
	r->value = input_u64(in);
	race_count += race_count < RACES;
}

void *__real_guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len);
bool __real_guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *to, uint64_t len);
bool __real_guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len);
void *__wrap_guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len);
bool __wrap_guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *to, uint64_t len);
bool __wrap_guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len);

static bool write_memory(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len)
{
	mark_dirty(__real_guest_memory_range(mem, gpa, len), len);
	return __real_guest_memory_write(mem, gpa, from, len);
}

static void look(const struct guest_memory *mem)
{
	looks++;
	for (unsigned i = 0; i < race_count; i++)
		if (races[i].after == looks)
			write_memory(mem, races[i].gpa, &races[i].value, races[i].len);
}

void *__wrap_guest_memory_range(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	void *host;

	look(mem);
	host = __real_guest_memory_range(mem, gpa, len);
	mark_dirty(host, len);
	return host;
}

bool __wrap_guest_memory_read(const struct guest_memory *mem, uint64_t gpa, void *to, uint64_t len)
{
	look(mem);
	return __real_guest_memory_read(mem, gpa, to, len);
}

bool __wrap_guest_memory_write(const struct guest_memory *mem, uint64_t gpa, const void *from, uint64_t len)
{
	look(mem);
	return write_memory(mem, gpa, from, len);
}

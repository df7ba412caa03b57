/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An emulator that lies: what dvmm has to expect of a dvmm-emulator that somebody has taken over.
 *
 * dvmm starts it with --emulator, in the namespaces and with the descriptors of the real one. The spawner is an honest one, as
 * it is where an emulator has been taken over. It enters no sandbox, so it can try more than a hijacked one could. What it does is named by the word "hostile=NAME" of the guest's command
 * line, which it finds in guest memory; tests/hostile/run gives the names and says how dvmm has to end.
 *
 * The guest is hello.elf: it writes bytes to COM1 and then switches off by ACPI. The honest part here knows
 * just that much.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "emulator/futex.h"
#include "emulator/mailbox.h"
#include "emulator/loader/loader.h"
#include "emulator/spawner.h"

#define RING (64u << 10)

static const struct machine *machine;
static uint8_t *requests, *replies, *ram;
static const char *guest_cmdline;
static uint64_t seed;

static void *map(int fd, int prot)
{
	struct stat st;
	void *p = fstat(fd, &st) ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		_exit(99);
	return p;
}

static void pause_ns(long ns)
{
	const struct timespec t = {.tv_nsec = ns};

	nanosleep(&t, NULL);
}

static struct emulator_status *status(void)
{
	return (struct emulator_status *)(replies + EMULATOR_STATUS_OFFSET);
}

static void report(uint32_t state)
{
	__atomic_store_n(&status()->state, state, __ATOMIC_SEQ_CST);
	futex_wake(&status()->state);
}

static uint64_t chance(void) /* xorshift64: the same seed, the same lies */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* ---- Lies in a reply: each gets the reply that the honest part has made. ---- */

static void honest(const struct request *req, struct reply *r) {}
static void next_sequence(const struct request *req, struct reply *r) { r->seq++; }
static void one_behind(const struct request *req, struct reply *r) { r->seq--; }
static void backwards(const struct request *req, struct reply *r) { r->seq -= r->seq > 4 ? 2 : 0; }
static void far_sequence(const struct request *req, struct reply *r) { r->seq += 0x80000000u; }
static void never_off(const struct request *req, struct reply *r) { r->event = MACHINE_RUN; }
static void no_such_device(const struct request *req, struct reply *r) { r->device = machine->devices; }
static void no_such_event(const struct request *req, struct reply *r) { r->event = MACHINE_EXIT + 1; }
static void no_such_flag(const struct request *req, struct reply *r) { r->flags = ~0u; }
static void console_too_far(const struct request *req, struct reply *r) { r->console_head = RING + 1; }
static void console_wraps(const struct request *req, struct reply *r) { r->console_head = INT64_MAX; }
static void too_many_taken(const struct request *req, struct reply *r) { r->count = req->count + 1; }

/* All that may be said at once, and then behind what has been said: silence, no error. */
static void console_full(const struct request *req, struct reply *r) { r->console_head = RING; }
static void console_backwards(const struct request *req, struct reply *r) { r->console_head = UINT64_MAX / 2 + 2; }

/* As much output as fits, every time: whoever does not read it holds dvmm up. */
static void console_endless(const struct request *req, struct reply *r)
{
	static uint64_t head;

	r->event = MACHINE_RUN;
	if (req->kind != REQUEST_INPUT)
		r->console_head = head += RING;
}

/* Nothing typed is ever taken, and there is always room for it. */
static void input_refused(const struct request *req, struct reply *r)
{
	r->event = MACHINE_RUN;
	r->flags = req->kind == REQUEST_INPUT ? 0 : REPLY_CONSOLE_ROOM;
}

static void anything(const struct request *req, struct reply *r)
{
	switch (chance() % 16) {
	case 0:
		r->seq = (uint32_t)chance();
		break;
	case 1:
		r->device = (uint32_t)chance();
		break;
	case 2:
		r->event = (uint32_t)chance() % MACHINE_EXIT; /* the exit code is the guest's own affair */
		break;
	case 3:
		r->flags = 1u << chance() % 32;
		break;
	case 4 ... 6:
		r->console_head = chance() >> chance() % 64;
		break;
	case 7:
		r->count = (uint32_t)chance();
		break;
	default:
		for (unsigned i = 0; i < sizeof(r->data); i++)
			r->data[i] = (uint8_t)chance();
	}
}

static const struct lie {
	const char *name;
	void (*tell)(const struct request *req, struct reply *r);
} lies[] = {
	{"honest", honest},
	{"next-sequence", next_sequence},
	{"far-sequence", far_sequence},
	{"one-behind", one_behind},
	{"backwards", backwards},
	{"no-such-device", no_such_device},
	{"no-such-event", no_such_event},
	{"no-such-flag", no_such_flag},
	{"console-too-far", console_too_far},
	{"console-wraps", console_wraps},
	{"console-full", console_full},
	{"console-backwards", console_backwards},
	{"console-endless", console_endless},
	{"too-many-taken", too_many_taken},
	{"input-refused", input_refused},
	{"anything", anything},
};

/* ---- The honest part. ---- */

static void answer(const struct request *req, struct reply *r)
{
	memset(r, 0, sizeof(*r));
	memset(r->data, 0xff, sizeof(r->data)); /* COM1 is ready to send */
	r->device = REPLY_NO_DEVICE;
	r->seq = req->seq;
	if (req->kind == REQUEST_INPUT)
		r->count = req->count;
	if (req->kind == REQUEST_WRITE && req->space == BUS_PIO && req->addr == ACPI_PM_PORT + 4)
		r->event = MACHINE_POWEROFF;
}

/* Each slot at which somebody waits. */
static void serve_once(void (*tell)(const struct request *req, struct reply *r))
{
	static uint32_t done[MAILBOX_SLOTS];

	for (uint32_t slot = 0; slot <= machine->vcpus; slot++) {
		struct request_queue *q = mailbox_queue(requests, slot);
		struct reply *to = mailbox_reply(replies, slot), r;
		struct request *req = queue_at(q, done[slot] + 1);

		if (!queue_has(q, done[slot] + 1))
			continue;
		answer(req, &r);
		tell(req, &r);
		done[slot]++;
		memcpy((uint8_t *)to + 8, (uint8_t *)&r + 8, sizeof(r) - 8); /* all but seq, sleeping */
		__atomic_store_n(&to->seq, r.seq, __ATOMIC_SEQ_CST);
		futex_wake(&to->seq);
	}
	pause_ns(20000);
}

static void serve(void (*tell)(const struct request *req, struct reply *r))
{
	for (;;)
		serve_once(tell);
}

/* ---- Other things to do with what is shared. ---- */

/* Makes a guest of the kernel file, as the real one does. */
static void load(void)
{
	struct guest_memory memory;

	machine_memory(machine, ram, &memory);
	loader_run(mailbox_loader_request(requests), &memory, ram + machine->ram_bytes, mailbox_loader_result(replies));
}

/* The request file is dvmm's alone, and nobody can change the size of any: the way to make dvmm fault. */
static bool seals_hold(void)
{
	void *p = mmap(NULL, MAILBOX_PAGE, PROT_WRITE, MAP_SHARED, FD_REQUEST, 0);

	if (p != MAP_FAILED || !mprotect(requests, MAILBOX_PAGE, PROT_READ | PROT_WRITE))
		return false;
	if (pwrite(FD_REQUEST, "x", 1, 0) >= 0 ||
	    !fallocate(FD_REQUEST, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, MAILBOX_PAGE))
		return false;
	for (int fd = FD_REQUEST; fd <= FD_MEMORY; fd++)
		if (!ftruncate(fd, 0) || !ftruncate(fd, 1ll << 40) || !fallocate(fd, 0, 1ll << 40, 1) ||
		    !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
			return false;
	/* Holes read as zeros. That is no worse than writing them. */
	for (int fd = FD_REPLY; fd <= FD_REGION; fd++)
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
	return true;
}

static void seals(void)
{
	bool hold = seals_hold();

	load(); /* the holes have swallowed the result */
	report(EMULATOR_READY);
	serve(hold ? honest : no_such_event);
}

/* Replies change all the time, also between dvmm's check and its use. */
static void *change_replies(void *arg)
{
	static const uint32_t device[] = {0, REPLY_NO_DEVICE, 1 << 30};

	for (uint64_t i = 0;; i++) {
		const uint32_t slot = (uint32_t)(i % (machine->vcpus + 1));
		struct reply *r = mailbox_reply(replies, slot);

		*mailbox_claim(replies, slot) = CLAIM(r->seq + 1, i / 2 % 3); /* cancelled, too, which nobody has asked for */
		r->device = device[i % 3];
		r->count = i % 5 ? 0 : UINT32_MAX;
		r->sleeping = i & 1;
		r->console_head = i % 7 ? 0 : chance();
		if (i % 64 == 0)
			futex_wake(&r->seq);
	}
	return arg;
}

static void changing(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, change_replies, NULL);
	report(EMULATOR_READY);
	serve(honest);
}

/* Interrupts and doorbells without end; an eventfd that is full must not stop anybody. */
static void *ring_all(void *arg)
{
	const uint64_t most = UINT64_MAX - 1;

	for (;;) {
		for (uint32_t i = 0; i < machine->devices; i++) {
			const struct machine_device *d = &machine->device[i];

			if (d->irq_fd >= 0 && write(d->irq_fd, &most, sizeof(most)) < 0)
				continue;
			if (d->queue_fd >= 0 && write(d->queue_fd, &most, sizeof(most)) < 0)
				continue;
		}
		pause_ns(1000);
	}
	return arg;
}

static void storm(void)
{
	pthread_t thread;

	for (uint32_t i = 0; i < machine->devices; i++)
		if (machine->device[i].queue_fd >= 0)
			fcntl(machine->device[i].queue_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	pthread_create(&thread, NULL, ring_all, NULL);
	report(EMULATOR_READY);
	serve(honest);
}

/* Shows that the I/O thread lives, as a real one does. */
static void show_beat(void)
{
	__atomic_store_n(mailbox_io_beat(replies), __atomic_load_n(&mailbox_control(requests)->beat, __ATOMIC_SEQ_CST),
			 __ATOMIC_SEQ_CST);
}

/* So that a write of 1 would have to wait. What dvmm's irqfd has there is taken out at once; of doorbells we are the
 * reader. */
static void *keep_full(void *arg)
{
	const uint64_t most = UINT64_MAX - 1;
	uint64_t count;

	for (;;) {
		for (uint32_t i = 0; i < machine->devices; i++) {
			const struct machine_device *d = &machine->device[i];
			struct pollfd doorbell = {.fd = d->queue_fd, .events = POLLIN};

			if (d->irq_fd >= 0 && write(d->irq_fd, &most, sizeof(most)) < 0)
				continue;
			if (poll(&doorbell, 1, 0) == 1 && read(d->queue_fd, &count, sizeof(count)) < 0)
				continue;
			if (d->queue_fd >= 0 && write(d->queue_fd, &most, sizeof(most)) < 0)
				continue;
		}
		pause_ns(1000000);
	}
	return arg;
}

/* The pipe by which the watchdog asks: small, and full, where the kernel lets us have its other end. */
static void fill_beat(void)
{
	char path[32], bytes[512] = {0};
	int fd;

	fcntl(machine->beat_fd, F_SETPIPE_SZ, MAILBOX_PAGE);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", machine->beat_fd);
	fd = open(path, O_WRONLY | O_NONBLOCK);
	while (fd >= 0 && write(fd, bytes, sizeof(bytes)) > 0)
		;
}

/* Everything that can be filled up is, and after three questions there is no answer any more: a watchdog that waits for
 * us to make room would not see that. */
static void fills(void)
{
	pthread_t thread;

	fill_beat();
	pthread_create(&thread, NULL, keep_full, NULL);
	report(EMULATOR_READY);
	while (__atomic_load_n(&mailbox_control(requests)->beat, __ATOMIC_SEQ_CST) <= 3) {
		show_beat();
		serve_once(never_off);
	}
	for (;;)
		pause();
}

/* Answers nothing, but acknowledges at once what is completed by force: nobody has a reason to kill it. */
static void acknowledges(void)
{
	uint32_t done[MAILBOX_SLOTS] = {0};

	report(EMULATOR_READY);
	for (;;) {
		show_beat();
		for (uint32_t slot = 0; slot <= machine->vcpus; slot++) {
			const uint32_t seq = done[slot] + 1;
			struct reply *to = mailbox_reply(replies, slot);

			if (!queue_has(mailbox_queue(requests, slot), seq) ||
			    __atomic_load_n(mailbox_claim(replies, slot), __ATOMIC_SEQ_CST) != CLAIM(seq, CLAIM_CANCELLED))
				continue;
			done[slot] = seq;
			__atomic_store_n(&to->seq, seq, __ATOMIC_SEQ_CST);
			futex_wake(&to->seq);
		}
		pause_ns(100000);
	}
}

/* Reads without a hand-off get what is there just then; also COM1's line status. */
static void *change_published(void *arg)
{
	uint64_t *word = mailbox_published(replies, machine->vcpus)->word;

	for (;;)
		for (size_t i = 0; i < MACHINE_MAX_DEVICES * DEVICE_MAX_REGISTERS; i++)
			__atomic_store_n(&word[i], chance() | (i ? 0 : PUBLISHED_VALID), __ATOMIC_RELAXED);
	return arg;
}

static void publishing(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, change_published, NULL);
	report(EMULATOR_READY);
	serve(honest);
}

/* All registers that can be are published, and ready; whatever can be posted is. */
static void publish_all(void)
{
	uint64_t *word = mailbox_published(replies, machine->vcpus)->word;

	for (size_t i = 0; i < MACHINE_MAX_DEVICES * DEVICE_MAX_REGISTERS; i++)
		__atomic_store_n(&word[i], PUBLISHED_VALID | 0x60, __ATOMIC_RELAXED);
}

static void posting(void)
{
	publish_all();
	report(EMULATOR_READY);
	serve(honest);
}

/* Nobody needs an answer, for a while. */
static void posting_silent(void)
{
	publish_all();
	report(EMULATOR_READY);
	for (;;)
		pause();
}

static void silent(void)
{
	report(EMULATOR_READY);
	for (;;)
		pause();
}

/* Never asleep, never awake: dvmm is woken all the time, for nothing. */
static void wakes(void)
{
	report(EMULATOR_READY);
	for (;;)
		for (uint32_t slot = 0; slot <= machine->vcpus; slot++)
			futex_wake(&mailbox_reply(replies, slot)->seq);
}

static void crashes(void)
{
	report(EMULATOR_READY);
	while (!queue_has(mailbox_queue(requests, 0), 1))
		pause_ns(100000);
	__builtin_trap();
}

static void exits(void)
{
	report(EMULATOR_READY);
	while (!queue_has(mailbox_queue(requests, 0), 1))
		pause_ns(100000);
	_exit(0);
}

static void never_ready(void)
{
	for (;;)
		pause();
}

static void ends_early(void) { _exit(0); }

static void strange_state(void)
{
	report(UINT32_MAX);
	never_ready();
}

/* A message of many lines, with terminal escapes and without an end. */
static void loud(void)
{
	static const char noise[] = "one\ntwo\033[2J\r%s%n";

	for (size_t i = 0; i < sizeof(status()->message); i++)
		status()->message[i] = noise[i % (sizeof(noise) - 1)];
	report(EMULATOR_FAILED);
	never_ready();
}

static const struct act {
	const char *name;
	void (*run)(void);
} acts[] = {
	{"seals", seals},     {"changing", changing}, {"storm", storm},
	{"publishing", publishing}, {"posting", posting},
	{"posting-silent", posting_silent},
	{"silent", silent},   {"wakes", wakes},       {"crashes", crashes},
	{"exits", exits},     {"never-ready", never_ready}, {"ends-early", ends_early},
	{"strange-state", strange_state}, {"loud", loud},
	{"fills", fills},     {"acknowledges", acknowledges},
};

/* Lies about the kernel: numbers that point nowhere, and a line that is none. */
static void result_kind(struct loader_result *r) { r->kind = LOADER_KINDS; }
static void result_entry(struct loader_result *r) { r->entry = UINT64_MAX; }
static void result_params(struct loader_result *r) { r->params_gpa = machine->ram_bytes - 1; }
static void result_error(struct loader_result *r)
{
	r->kind = LOADER_NOTHING;
	r->error = INT32_MIN;
	r->subject = UINT32_MAX;
	memset(r->text, '\n', sizeof(r->text));
}

static const struct result_lie {
	const char *name;
	void (*tell)(struct loader_result *r);
} result_lies[] = {
	{"result-kind", result_kind},
	{"result-entry", result_entry},
	{"result-params", result_params},
	{"result-error", result_error},
};

/* The value of a word of the command line: "name=value". */
static bool is_word(const char *s, const char *value)
{
	size_t len = strlen(value);

	return !strncmp(s, value, len) && (s[len] == '\0' || s[len] == ' ' || s[len] == ':');
}

static void lie(uint32_t incarnation)
{
	const char *mode;

	prctl(PR_SET_NAME, "dvmm-emulator");
	while (!__atomic_load_n(&mailbox_loader_request(requests)->posted, __ATOMIC_SEQ_CST))
		pause_ns(100000);
	mode = strstr(guest_cmdline, "hostile=");
	if (!mode)
		_exit(97);
	mode += strlen("hostile=");
	load();
	seed = strchr(mode, ':') ? strtoull(strchr(mode, ':') + 1, NULL, 10) : 1;
	seed = seed * 0x9e3779b97f4a7c15ull + 1;
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (is_word(mode, acts[i].name))
			acts[i].run();
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		if (is_word(mode, lies[i].name)) {
			report(EMULATOR_READY);
			serve(lies[i].tell);
		}
	}
	for (size_t i = 0; i < sizeof(result_lies) / sizeof(result_lies[0]); i++) {
		if (is_word(mode, result_lies[i].name)) {
			result_lies[i].tell(mailbox_loader_result(replies));
			report(EMULATOR_READY);
			serve(honest);
		}
	}
	_exit(98);
}

int main(void)
{
	requests = map(FD_REQUEST, PROT_READ);
	replies = map(FD_REPLY, PROT_READ | PROT_WRITE);
	machine = (const struct machine *)requests;
	ram = map(FD_MEMORY, PROT_READ | PROT_WRITE);
	guest_cmdline = (const char *)ram + BOOT_CMDLINE_GPA;
	spawner_serve(replies, lie);
}

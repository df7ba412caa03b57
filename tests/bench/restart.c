/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From SIGKILL of the emulator to the first reply of its replacement, seen by a guest that makes one request
 * after another (tests/guests/load.c, whose counter is read from outside). The victim may still reply for
 * some microseconds after the signal, so what is looked for is the end of the longest time without a reply.
 *
 * Once with time between kills for the next standby to get ready, once with none. The counter is looked at
 * every 20 us or so, which is the resolution.
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/observe.h"

#define COUNT_COMMAND (1u << 8) /* the chaos device's action 0, with an argument that makes it not 0 */
#define LOOK_NS       15000
#define SETTLE_MS     4
#define LIMIT_NS      5000000000ull
#define REPLIES       3 /* after the takeover has been announced */

static int guest_start(const struct bench *b, struct observed *o)
{
	char kernel[4096], words[64];
	const char *const argv[] = {
		b->dvmm,    "--chaos",        "--kernel", kernel,      "--mem", "32M", "--handoff",
		"same-cpu", "--max-restarts", "1024",     "--cmdline", words,   NULL,
	};

	snprintf(kernel, sizeof(kernel), "%s/load.elf", b->guests);
	snprintf(words, sizeof(words), "cpus=1 mask=1 command=%u", COUNT_COMMAND);
	return observe_start(o, argv, 1, 1);
}

static void pause_ns(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static bool taken_over(const struct observed *o)
{
	char text[2048];
	ssize_t n = read(o->messages, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "has taken over from") != NULL;
}

/* Two emulators, and the younger one has all its threads and has nothing to do for a while. */
static int wait_for_standby(const struct observed *o)
{
	const uint64_t end = now_ns() + LIMIT_NS;

	for (int ready = 0; ready < SETTLE_MS; ready++) {
		pause_ns(1000000);
		if (!observe_standby_idle(o))
			ready = -1;
		if (now_ns() > end)
			return -1;
	}
	return 0;
}

/* Kills the active emulator; the time until its replacement has replied. */
static int strike(const struct observed *o, uint64_t *ns)
{
	const pid_t emulator = observe_emulator(o);
	const uint64_t began = now_ns();
	uint32_t last = o->block->count[0];
	uint64_t last_at = began, longest = 0;
	bool announced = false;
	int replies = 0;

	if (!emulator)
		return -1;
	kill(emulator, SIGKILL);
	while (replies < REPLIES) {
		uint32_t count = o->block->count[0];
		uint64_t now = now_ns();

		if (count != last) {
			if (now - last_at > longest) {
				longest = now - last_at;
				*ns = now - began;
			}
			last = count;
			last_at = now;
			replies += announced;
		}
		announced = announced || taken_over(o);
		if (now - began > LIMIT_NS)
			return -1;
		pause_ns(LOOK_NS);
	}
	return 0;
}

int restart_series(const struct bench *b, bool spaced, unsigned kills, struct samples *s)
{
	bool waiting = true;
	struct observed o;
	uint64_t ns = 0;
	int rc;

	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* of this thread; nothing else here minds */
	rc = guest_start(b, &o);
	if (rc)
		return rc;
	rc = wait_for_standby(&o);
	for (unsigned i = 0; !rc && i < kills; i++) {
		waiting = spaced;
		if (spaced)
			rc = wait_for_standby(&o);
		waiting = waiting && rc;
		if (!rc)
			rc = strike(&o, &ns);
		if (!rc)
			rc = samples_add(s, ns);
	}
	if (rc)
		fprintf(stderr, "%s: after %zu kills there was no %s\n", program_invocation_short_name,
			s->count, waiting ? "standby" : "replacement");
	observe_end(&o);
	return rc;
}

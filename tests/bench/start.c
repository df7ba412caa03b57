/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of a start: startup looks at a small guest's, boot at a kernel's.
 *
 * Theory of operation: nothing in dvmm says how far it is, so it is looked at from outside: at the
 * emulator and dvmm's main thread in /proc, so often that it takes a fifth of the time and, after the first
 * 50 ms, a twentieth, until the console has said its first character, and then only at the console.
 * posix_spawn(3) returns when the exec is done. dvmm has the emulator confined before it loads the kernel,
 * because that is unpacked in there, and filters its main thread's system calls right before the guest runs: so the
 * time from one to the other is the loading.
 */
#include "tests/bench/sections.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/observe.h"

#define CONSOLE_BYTES (1u << 20)
#define LIMIT_S       600
#define SILENCE_MS    120000 /* this long without a character, and it is stuck */
#define BEGINNING_NS  50000000
#define REST_MOST_NS  10000000
#define END_MS        20000

struct console {
	char text[CONSOLE_BYTES + 1];
	size_t length, searched;
};

static uint64_t us_since(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

/* The end of file is 0, as of read(). */
static ssize_t console_read(struct console *c, int from)
{
	ssize_t n = read(from, c->text + c->length, CONSOLE_BYTES - c->length);

	c->length += n > 0 ? (size_t)n : 0;
	c->text[c->length] = '\0';
	return n;
}

/* Guests may print zeros; what is looked for has none. */
static bool console_says(struct console *c, const char *text)
{
	const size_t length = strlen(text);
	bool found = memmem(c->text + c->searched, c->length - c->searched, text, length) != NULL;

	c->searched = c->length > length ? c->length - length : 0;
	return found;
}

/* Until the first character, or the end. */
static void watch_steps(const struct child *child, struct start_steps *steps, uint64_t begin_ns,
			uint64_t limit_ns)
{
	struct pollfd console = {.fd = child->output, .events = POLLIN};

	while (!poll(&console, 1, 0)) {
		const uint64_t now = now_ns();
		uint64_t rest;

		if (now >= limit_ns)
			break;
		observe_steps(steps, child->pid);
		rest = (now_ns() - now) * (now - begin_ns < BEGINNING_NS ? 4 : 19);
		rest = rest < REST_MOST_NS ? rest : REST_MOST_NS;
		nanosleep(&(struct timespec){.tv_nsec = (long)rest}, NULL);
	}
}

/* 0 when the text has been said, or without one at the end of the output. */
static int watch_console(const struct child *child, const char *until, uint64_t limit_ns)
{
	static struct console c;
	struct pollfd console = {.fd = child->output, .events = POLLIN};

	c.length = c.searched = 0;
	while (now_ns() < limit_ns && c.length < CONSOLE_BYTES && poll(&console, 1, SILENCE_MS) > 0) {
		if (console_read(&c, child->output) <= 0)
			return until ? -1 : 0;
		if (until && console_says(&c, until))
			return 0;
	}
	return -1;
}

int start_watch(const char *const argv[], const char *until, int want_status, struct start *start)
{
	const uint64_t begin = now_ns(), limit = begin + LIMIT_S * 1000000000ull;
	struct start_steps steps = {0};
	struct child child;
	int rc, status;

	*start = (struct start){0};
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* of this thread; nothing else here minds */
	if (child_start(&child, argv, true)) {
		snprintf(start->complaint, sizeof(start->complaint), "%s could not be started", argv[0]);
		return -1;
	}
	start->exec = us_since(begin, now_ns());
	watch_steps(&child, &steps, begin, limit);
	start->first = us_since(begin, now_ns());
	start->sandbox = us_since(begin, steps.sandbox_ns);
	start->vcpu = us_since(begin, steps.vcpu_ns);
	rc = watch_console(&child, until, limit);
	start->until = us_since(begin, now_ns());
	if (until)
		kill(child.pid, SIGTERM);
	status = child_end(&child, END_MS);
	if (!rc && (until || status == want_status))
		return 0;
	snprintf(start->complaint, sizeof(start->complaint), "%s",
		 *child.complaint ? child.complaint : "its console did not say what it should");
	return -1;
}

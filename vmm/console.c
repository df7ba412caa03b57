/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The terminal is set by ioctl() and not by tcsetattr(), which makes more system calls than the one that our
 * filter allows, and others with each version of the C library. So the kernel's struct termios, whose header
 * excludes <termios.h>.
 */
#include "vmm/console.h"

#include <asm/termbits.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/vm.h"

#define CTRL_A 0x01

static struct {
	pthread_mutex_t lock;
	const uint8_t *ring; /* the emulator writes it while we read: bytes, nothing else */
	uint32_t bytes;
	uint64_t tail;         /* bytes written to standard output so far */
	bool broken;           /* nobody reads standard output any more */
	atomic_bool abandoned; /* dvmm wants to end: nobody waits for the reader any more */
} console = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct termios terminal_before, terminal_raw;
static bool terminal_ours; /* it is to be raw while we run */
static volatile sig_atomic_t terminal_changed;

void console_init(const uint8_t *ring, uint32_t bytes)
{
	console.ring = ring;
	console.bytes = bytes;
}

/* All of it, whatever kind of file it is; a reader that does not read is waited for until console_abandon().
 */
static bool write_all(const uint8_t *p, size_t len)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

	while (len) {
		ssize_t n = write(STDOUT_FILENO, p, len);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n < 0 &&
			   ((errno != EINTR && errno != EAGAIN) || atomic_load(&console.abandoned))) {
			return false;
		} else if (n < 0 && errno == EAGAIN) {
			poll(&out, 1, -1);
		}
	}
	return true;
}

void console_abandon(void)
{
	atomic_store(&console.abandoned, true);
}

int console_output(uint64_t head)
{
	int err = 0;

	pthread_mutex_lock(&console.lock);
	/* Another vCPU's later reply may have been drained already; then head lies behind tail. */
	if ((int64_t)(head - console.tail) > (int64_t)console.bytes)
		err = -EPROTO;
	while (!err && (int64_t)(head - console.tail) > 0) {
		uint32_t at = (uint32_t)(console.tail & (console.bytes - 1));
		uint64_t len = head - console.tail;

		if (len > console.bytes - at)
			len = console.bytes - at;
		if (!console.broken)
			console.broken = !write_all(console.ring + at, len);
		console.tail += len;
	}
	pthread_mutex_unlock(&console.lock);
	return err;
}

void console_terminal_restore(void)
{
	if (terminal_changed) {
		terminal_changed = 0;
		ioctl(STDIN_FILENO, TCSETS, &terminal_before);
	}
}

/* The terminal is put back, then the signal does what it would have done. */
static void fatal_signal(int signo)
{
	console_terminal_restore();
	signal(signo, SIG_DFL);
	raise(signo);
}

void console_terminal_raw(void)
{
	static const int fatal[] = {
		SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,    SIGTRAP, SIGABRT, SIGQUIT, /* with a core */
		SIGXCPU, SIGALRM, SIGPROF, SIGVTALRM, SIGUSR2, SIGIO,   SIGPWR,
	};
	struct termios *raw = &terminal_raw;

	if (ioctl(STDIN_FILENO, TCGETS, &terminal_before) < 0)
		return;
	atexit(console_terminal_restore);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		if (!program_ignores(fatal[i]))
			signal(fatal[i], fatal_signal);
	*raw = terminal_before;
	/* Output processing stays as it is: our own messages go to the same terminal. */
	raw->c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON | ISTRIP | BRKINT | PARMRK);
	raw->c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	raw->c_cc[VMIN] = 1;
	raw->c_cc[VTIME] = 0;
	terminal_ours = true;
	console_terminal_resume();
}

void console_terminal_resume(void)
{
	if (terminal_ours && ioctl(STDIN_FILENO, TCSETS, &terminal_raw) == 0)
		terminal_changed = 1;
}

void console_terminal_suspend(void)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	console_terminal_restore();
	/* Not SIGSTOP: where nobody could continue us (an orphaned process group), the kernel ignores this
	 * one. */
	raise(SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &stop, NULL); /* here we are stopped */
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	console_terminal_resume();
}

static void keep(struct console_input *in, uint8_t c)
{
	if (in->count < CONSOLE_INPUT_BYTES)
		in->byte[in->count++] = c;
}

void console_input_filter(struct console_input *in, const uint8_t *bytes, uint32_t len, bool terminal)
{
	for (uint32_t i = 0; i < len; i++) {
		uint8_t c = bytes[i];

		if (!terminal || (c != CTRL_A && !in->escape)) {
			keep(in, c);
		} else if (!in->escape) {
			in->escape = true;
		} else {
			in->escape = false;
			if (c == 'x' || c == 'X')
				in->quit = true;
			else if (c == CTRL_A || c == 'a' || c == 'A')
				keep(in, CTRL_A);
		}
	}
}

bool console_input_wanted(const struct console_input *in)
{
	return !in->ended && (terminal_changed || in->count < CONSOLE_INPUT_BYTES);
}

void console_input_read(struct console_input *in)
{
	uint8_t bytes[CONSOLE_INPUT_BYTES];
	/* What is typed while the guest takes nothing is dropped, as a real line would, but Ctrl-A X must get
	 * through. */
	size_t room = terminal_changed ? sizeof(bytes) : CONSOLE_INPUT_BYTES - in->count;
	ssize_t n = read(STDIN_FILENO, bytes, room);

	if (n > 0)
		console_input_filter(in, bytes, (uint32_t)n, terminal_changed);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		in->ended = true;
}

void console_input_taken(struct console_input *in, uint32_t n)
{
	if (n > in->count)
		n = in->count;
	in->count -= n;
	memmove(in->byte, in->byte + n, in->count);
}

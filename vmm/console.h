/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console: the UART's output ring to standard output, standard input to the UART, and the terminal's
 * mode.
 *
 * Output is taken from the ring in shared memory by the vCPU thread whose operation produced it, before
 * that vCPU enters the guest again: a reader that is slow makes the guest wait, and nothing is lost.
 * Input is read by the main thread. On a terminal, Ctrl-A X ends the guest and Ctrl-A Ctrl-A (or Ctrl-A A)
 * sends one Ctrl-A; a pipe or file is passed on byte by byte.
 */
#ifndef DVMM_VMM_CONSOLE_H
#define DVMM_VMM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the ring is; bytes is a power of two. */
void console_init(const uint8_t *ring, uint32_t bytes);

/* Writes what has come up to `head` bytes in all. Any vCPU thread. 0, or -EPROTO if head cannot be true. */
int console_output(uint64_t head);

/* From now on a write that waits for standard output's reader, and is interrupted by a signal, is given up,
 * with all output after it. Any thread. */
void console_abandon(void);

/* Puts the terminal, if standard input is one, into raw mode, and makes sure that it is put back however we
 * end. */
void console_terminal_raw(void);

/* Puts the terminal back. Async-signal-safe; harmless if nothing was changed. */
void console_terminal_restore(void);

/* Job control, for the main thread, which has SIGTSTP blocked. Suspend: puts the terminal back and stops the
 * process, and returns once it is continued. Resume: raw again, whatever somebody else has done to the
 * terminal since. */
void console_terminal_suspend(void);
void console_terminal_resume(void);

#define CONSOLE_INPUT_BYTES 40 /* no more than a request holds */

/* What has been typed and not yet been taken by the UART. */
struct console_input {
	uint8_t byte[CONSOLE_INPUT_BYTES];
	uint32_t count;
	bool escape; /* Ctrl-A was the last byte */
	bool ended;  /* end of file, or an error: nothing will come any more */
	bool quit;   /* Ctrl-A X */
};

/* Is there a reason to read standard input now? False for a pipe while the guest takes nothing: its writer
 * waits. */
bool console_input_wanted(const struct console_input *in);

/* Reads what standard input has, when wanted. Does not block when poll() said that it is readable. */
void console_input_read(struct console_input *in);

/* The UART has taken n bytes. */
void console_input_taken(struct console_input *in, uint32_t n);

/* The escape sequence, as a pure function of what was typed; exported for tests. */
void console_input_filter(struct console_input *in, const uint8_t *bytes, uint32_t len, bool terminal);

#endif

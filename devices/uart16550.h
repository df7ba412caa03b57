/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A National PC16550D ("16550A"), the serial port of a PC, on an ideal wire.
 *
 * Follows the PC16550D data sheet (National Semiconductor, June 1995); the numbers of its sections are cited
 * in the code. What differs, because a model has neither a wire nor a timer:
 *
 * - A byte written to THR has left at once: it is in the console ring, and THRE and TEMT are always set.
 * - All eight bits pass whatever the word length, parity, stop bits and divisor say; these are only stored.
 *   There are no parity, framing or break errors. An overrun can happen in loopback only.
 * - The character timeout (data sheet: four character times without traffic) elapses at once: a receive FIFO
 *   that holds something, but less than its trigger level, indicates it.
 * - Whoever is at the other end keeps CTS, DSR and DCD asserted, and obeys our RTS: bytes are taken by
 *   input() only while the guest asserts RTS (MCR bit 1). So what the user types, or pipes in, while the
 *   guest still boots waits in dvmm instead of vanishing in the FIFO resets of the driver's probe; Linux
 *   raises RTS when the port is opened.
 *
 * Interrupts: the chip's INTR is a level, gated by OUT2 as on a PC; the platform's line is edge-triggered.
 * The level is part of the state, and each of its rises makes one pulse (outbox.irq), also a rise that
 * follows a fall within one access.
 *
 * Window: 8 ports. Bulk: the console ring. outbox.console_head: bytes ever written, after each operation that
 * wrote.
 */
#ifndef DVMM_DEVICES_UART16550_H
#define DVMM_DEVICES_UART16550_H

#include "devices/device.h"

#define UART_PORTS      8u     /* size of the window */
#define UART_FIFO_BYTES 16u    /* a power of two */
#define UART_RING_BYTES 65536u /* a power of two */

/* The console ring: byte number n (counted from 0 for ever) is at ring[n % UART_RING_BYTES]. */
struct uart_bulk {
	uint8_t ring[UART_RING_BYTES];
};

struct uart_state {
	uint64_t head; /* bytes ever written to the ring; byte `head` is the next to be written */
	uint8_t rx[UART_FIFO_BYTES]; /* receive FIFO (a ring); without FIFOs, rx[rx_first] is RBR */
	uint8_t rx_first;            /* index of the oldest byte */
	uint8_t rx_count;            /* bytes held: 0..16, without FIFOs 0..1 */
	uint8_t rx_timeout;          /* the character timeout has elapsed */
	uint8_t overrun;             /* LSR bit 1; cleared by reading LSR */
	uint8_t thre; /* the "THR empty" interrupt is pending (if IER does not enable it: not shown) */
	uint8_t line; /* level of the interrupt line after the last access */
	uint8_t ier;  /* bits 0-3 */
	uint8_t fcr;  /* bits 0, 3, 6, 7 as last written; 0 while bit 0 is clear */
	uint8_t lcr;
	uint8_t mcr; /* bits 0-4 */
	uint8_t msr; /* bits 0-3 changes since the last read, 4-7 the lines */
	uint8_t scr;
	uint8_t dll, dlm; /* divisor latch */
	uint8_t unused[2];
};

extern const struct device_ops uart16550_ops;

#endif

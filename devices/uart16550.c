/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Registers are plain bytes in the state. Two things have rules of their own:
 *
 * - The receiver: a ring of 16 bytes (one without FIFOs), filled by the user's typing or, in loopback, THR.
 * - The interrupt line. cause() says what IIR shows; update_line() compares that level with the one before
 *   and pulses on a rise. A driver for an edge-triggered line relies on every cause that it serves making the
 *   line fall, so that the next one makes it rise. On the chip time passes between serving (THR written, RBR
 *   read) and the next cause (THR empty again, timeout elapsed again). Here none does, so these two accesses
 *   call update_line() in between: the line falls and rises again, one more edge.
 */
#include "devices/uart16550.h"

#include <linux/serial_reg.h>

#define IIR_FIFOS_ENABLED 0xc0u

static bool fifos_enabled(const struct uart_state *s)
{
	return s->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned rx_capacity(const struct uart_state *s)
{
	return fifos_enabled(s) ? UART_FIFO_BYTES : 1;
}

/* 8.5: FCR bits 6-7. */
static unsigned rx_trigger(const struct uart_state *s)
{
	static const uint8_t level[4] = {1, 4, 8, 14};

	return fifos_enabled(s) ? level[s->fcr >> 6] : 1;
}

/* The state, with what indexes and counts made good (device.h: a state may hold any bytes). */
static struct uart_state *uart_state_of(const struct operation *op)
{
	struct uart_state *s = op->state;

	s->rx_first %= UART_FIFO_BYTES;
	if (s->rx_count > rx_capacity(s))
		s->rx_count = (uint8_t)rx_capacity(s);
	return s;
}

/* The interrupt of highest priority that is enabled and pending, as in IIR bits 0-3 (8.6, Table IV). */
static uint8_t cause(const struct uart_state *s)
{
	if ((s->ier & UART_IER_RLSI) && s->overrun)
		return UART_IIR_RLSI;
	if ((s->ier & UART_IER_RDI) && s->rx_count >= rx_trigger(s))
		return UART_IIR_RDI;
	if ((s->ier & UART_IER_RDI) && s->rx_timeout)
		return UART_IIR_RX_TIMEOUT;
	if ((s->ier & UART_IER_THRI) && s->thre)
		return UART_IIR_THRI;
	if ((s->ier & UART_IER_MSI) && (s->msr & UART_MSR_ANY_DELTA))
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

/* On a PC, OUT2 enables the driver of the interrupt line; in loopback the pin OUT2 is inactive (8.8). */
static void update_line(struct uart_state *s, struct outbox *out)
{
	bool connected = (s->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;
	bool level = connected && cause(s) != UART_IIR_NO_INT;

	if (level && !s->line)
		out->irq = 1;
	s->line = level;
}

/* The end of every operation: a timeout that can elapse has done so. */
static void settle(struct uart_state *s, struct outbox *out)
{
	s->rx_timeout = fifos_enabled(s) && s->rx_count > 0;
	update_line(s, out);
}

/* Nothing received is waiting, and typed bytes may come: then the next input() takes at least one. */
static bool has_room(const struct uart_state *s)
{
	return (s->mcr & (UART_MCR_RTS | UART_MCR_LOOP)) == UART_MCR_RTS && s->rx_count == 0;
}

/* 8.4, bit 1: on overrun a FIFO keeps what it holds, RBR alone is overwritten. */
static void receive(struct uart_state *s, uint8_t byte)
{
	if (s->rx_count == rx_capacity(s)) {
		s->overrun = 1;
		if (fifos_enabled(s))
			return;
		s->rx_count = 0;
	}
	s->rx[(s->rx_first + s->rx_count) % UART_FIFO_BYTES] = byte;
	s->rx_count++;
}

static uint8_t read_rbr(struct uart_state *s, struct outbox *out)
{
	uint8_t byte;

	if (s->rx_count == 0)
		return 0;
	byte = s->rx[s->rx_first];
	s->rx_first = (s->rx_first + 1) % UART_FIFO_BYTES;
	s->rx_count--;
	s->rx_timeout = 0; /* starts anew with each byte read (8.11) */
	update_line(s, out);
	return byte;
}

static void write_thr(struct uart_state *s, struct uart_bulk *bulk, struct outbox *out, uint8_t byte)
{
	s->thre = 0;
	update_line(s, out);
	if (s->mcr & UART_MCR_LOOP) {
		receive(s, byte);
	} else {
		bulk->ring[s->head % UART_RING_BYTES] = byte;
		out->console_head = ++s->head;
	}
	s->thre = 1;
}

/* Enabling the interrupt while THR is empty, as it always is, raises it. */
static void write_ier(struct uart_state *s, uint8_t value)
{
	if ((value & UART_IER_THRI) && !(s->ier & UART_IER_THRI))
		s->thre = 1;
	s->ier = value & 0x0f;
}

/* 8.6, Table IV: reading IIR resets the THRE interrupt if that is what it shows. */
static uint8_t read_iir(struct uart_state *s)
{
	uint8_t id = cause(s);

	if (id == UART_IIR_THRI)
		s->thre = 0;
	return fifos_enabled(s) ? id | IIR_FIFOS_ENABLED : id;
}

/* 8.5: without bit 0 the other bits are not programmed; a change of bit 0 empties the FIFOs. */
static void write_fcr(struct uart_state *s, uint8_t value)
{
	if (!(value & UART_FCR_ENABLE_FIFO))
		value = 0;
	if (((value ^ s->fcr) & UART_FCR_ENABLE_FIFO) || (value & UART_FCR_CLEAR_RCVR))
		s->rx_count = 0;
	s->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK);
}

/* 8.8, bit 4: in loopback the modem lines are MCR's own bits. */
static uint8_t modem_lines(const struct uart_state *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
	return ((s->mcr & UART_MCR_DTR) ? UART_MSR_DSR : 0) | ((s->mcr & UART_MCR_RTS) ? UART_MSR_CTS : 0) |
	       ((s->mcr & UART_MCR_OUT1) ? UART_MSR_RI : 0) | ((s->mcr & UART_MCR_OUT2) ? UART_MSR_DCD : 0);
}

/* 8.9: a change of a line is noted in the bit four below it; of RI only the trailing edge. */
static void write_mcr(struct uart_state *s, uint8_t value)
{
	uint8_t lines, changed;

	s->mcr = value & 0x1f;
	lines = modem_lines(s);
	changed = ((s->msr ^ lines) >> 4) & UART_MSR_ANY_DELTA;
	if (lines & UART_MSR_RI)
		changed &= ~UART_MSR_TERI;
	s->msr = lines | (s->msr & UART_MSR_ANY_DELTA) | changed;
}

static uint8_t read_ier(const struct uart_state *s)
{
	return s->lcr & UART_LCR_DLAB ? s->dlm : s->ier;
}

static uint8_t line_status(const struct uart_state *s)
{
	return UART_LSR_THRE | UART_LSR_TEMT | (s->rx_count ? UART_LSR_DR : 0) |
	       (s->overrun ? UART_LSR_OE : 0);
}

static uint8_t read_lsr(struct uart_state *s)
{
	uint8_t lsr = line_status(s);

	s->overrun = 0;
	return lsr;
}

static uint8_t read_msr(struct uart_state *s)
{
	uint8_t msr = s->msr;

	s->msr &= ~UART_MSR_ANY_DELTA;
	return msr;
}

static uint8_t uart_read(struct uart_state *s, struct outbox *out, unsigned reg)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RX:
		return dlab ? s->dll : read_rbr(s, out);
	case UART_IER:
		return read_ier(s);
	case UART_IIR:
		return read_iir(s);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		return read_lsr(s);
	case UART_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void uart_write(struct uart_state *s, struct uart_bulk *bulk, struct outbox *out, unsigned reg,
		       uint8_t value)
{
	bool dlab = s->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_TX:
		if (dlab)
			s->dll = value;
		else
			write_thr(s, bulk, out, value);
		break;
	case UART_IER:
		if (dlab)
			s->dlm = value;
		else
			write_ier(s, value);
		break;
	case UART_FCR:
		write_fcr(s, value);
		break;
	case UART_LCR:
		s->lcr = value;
		break;
	case UART_MCR:
		write_mcr(s, value);
		break;
	case UART_SCR:
		s->scr = value;
		break;
	default: /* LSR and MSR: writing is for factory tests (8.4), and does nothing here */
		break;
	}
}

static void uart_access(struct operation *op, struct access *a)
{
	struct uart_state *s = uart_state_of(op);
	unsigned reg = a->offset % UART_PORTS;
	bool had_room = has_room(s);

	if (a->write)
		uart_write(s, op->bulk, op->out, reg, (uint8_t)a->value);
	else
		a->value = uart_read(s, op->out, reg);
	settle(s, op->out);
	if (has_room(s) && !had_room)
		op->out->console_room = 1;
}

/* Takes what fits, so nothing that was typed is ever overrun. What it refuses it asks for later, by
 * console_room: after a refusal has_room() is false, and whatever makes it true is an access. */
static uint32_t uart_input(struct operation *op, const uint8_t *bytes, uint32_t len)
{
	struct uart_state *s = uart_state_of(op);
	uint32_t taken = 0;

	if ((s->mcr & (UART_MCR_RTS | UART_MCR_LOOP)) == UART_MCR_RTS)
		while (taken < len && s->rx_count < rx_capacity(s))
			receive(s, bytes[taken++]);
	settle(s, op->out);
	return taken;
}

/*
 * What drivers use for each byte, each line, and each interrupt. In loopback THR is received, and shows in
 * LSR; else it goes to the ring, or with DLAB to the divisor, and nothing that is published here depends on
 * these.
 */
static const struct device_register registers[] = {
	{UART_LSR, 1, REGISTER_PUBLISHED},
	{UART_IER, 1, REGISTER_PUBLISHED},
	{UART_MSR, 1, REGISTER_PUBLISHED},
	{UART_TX, 1, REGISTER_POSTED},
};

static bool uart_publish(const void *state, unsigned n, uint32_t *value)
{
	const struct uart_state *s = state;

	switch (registers[n].offset) {
	case UART_LSR:
		*value = line_status(s);
		return !s->overrun /* reading resets it */ && !(s->mcr & UART_MCR_LOOP);
	case UART_IER:
		*value = read_ier(s);
		return true;
	case UART_MSR:
		*value = s->msr;
		return !(s->msr & UART_MSR_ANY_DELTA); /* reading resets them */
	case UART_TX:
		*value = s->ier & UART_IER_THRI ? POST_URGENT : 0;
		return !(s->mcr & UART_MCR_LOOP);
	}
	return false;
}

/* Table I: all zero, but the modem lines. The divisor is undefined there; a defined one (115200 baud) spares
 * guests that divide by it. */
static void uart_init(void *state, const struct device_config *cfg)
{
	struct uart_state *s = state;

	s->dll = 1;
	s->msr = modem_lines(s);
}

const struct device_ops uart16550_ops = {
	.name = "uart16550",
	.state_size = sizeof(struct uart_state),
	.bulk_size = sizeof(struct uart_bulk),
	.max_access = 1,
	.init = uart_init,
	.access = uart_access,
	.input = uart_input,
	.registers = registers,
	.register_count = sizeof(registers) / sizeof(registers[0]),
	.publish = uart_publish,
};

_Static_assert(sizeof(struct uart_state) == 40, "layout of the UART's state");

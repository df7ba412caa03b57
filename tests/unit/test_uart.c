/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16550A: scripts of accesses with the expected value and interrupt pulse of each, then drivers, then
 * noise. */
#include <linux/serial_reg.h>

#include "devices/uart16550.h"
#include "tests/unit/device_harness.h"

#define ANY (-1)

struct step {
	enum { END, READ, WRITE, INPUT } kind;
	int reg;   /* INPUT: bytes offered, at most 32 */
	int value; /* READ: expected, WRITE: to write, INPUT: how many are taken */
	int irq;   /* pulses expected: 0, 1 or ANY */
	int room;  /* console_room expected */
};

/* clang-format off */
#define R(reg, expected) {READ, UART_##reg, expected, 0, 0}
#define W(reg, value) {WRITE, UART_##reg, value, 0, 0}
#define R_IRQ(reg, expected) {READ, UART_##reg, expected, 1, 0}
#define W_IRQ(reg, value) {WRITE, UART_##reg, value, 1, 0}
#define R_ROOM(reg, expected) {READ, UART_##reg, expected, 0, 1}
#define W_ROOM(reg, value) {WRITE, UART_##reg, value, 0, 1}
#define IN(offered, taken) {INPUT, offered, taken, 0, 0}
#define IN_IRQ(offered, taken) {INPUT, offered, taken, 1, 0}
/* clang-format on */

static const uint8_t typed[] = "abcdefghijklmnopqrstuvwxyz012345";

static void run_script(const char *name, const struct step *steps)
{
	struct harness h;

	harness_open(&h, &uart16550_ops);
	for (int i = 0; steps[i].kind != END; i++) {
		const struct step *s = &steps[i];
		int got = s->value;

		if (s->kind == READ)
			got = harness_read(&h, s->reg);
		else if (s->kind == WRITE)
			harness_write(&h, s->reg, s->value);
		else
			got = harness_input(&h, typed, s->reg);
		ck_assert_msg(s->value == ANY || got == s->value, "%s, step %d: %#x, expected %#x", name, i,
			      got, s->value);
		ck_assert_msg(s->irq == ANY || h.out.irq == (uint32_t)s->irq,
			      "%s, step %d: irq %u, expected %d", name, i, h.out.irq, s->irq);
		ck_assert_msg(h.out.console_room == (uint32_t)s->room, "%s, step %d: room %u, expected %d",
			      name, i, h.out.console_room, s->room);
	}
	harness_close(&h);
}

static const struct script {
	const char *name;
	struct step steps[40];
} scripts[] = {
	{"power-on",
	 {R(RX, 0), R(IER, 0), R(IIR, 0x01), R(LCR, 0), R(MCR, 0), R(LSR, 0x60), R(MSR, 0xb0), R(SCR, 0)}},
	{"registers keep their bits",
	 {W(IER, 0xf0), R(IER, 0), W(LCR, 0x7f), R(LCR, 0x7f), W(MCR, 0xe0), R(MCR, 0), W(SCR, 0xa5),
	  R(SCR, 0xa5), W(LSR, 0xff), R(LSR, 0x60), W(MSR, 0), R(MSR, 0xb0)}},
	{"divisor latch",
	 {W(LCR, 0x80), W(DLL, 0x34), W(DLM, 0x12), R(DLL, 0x34), R(DLM, 0x12), R(SCR, 0), W(LCR, 0x03),
	  R(IER, 0), R(RX, 0), W(LCR, 0x83), R(DLL, 0x34), R(DLM, 0x12)}},
	{"FIFO bits in IIR",
	 {W(FCR, 0x01), R(IIR, 0xc1), W(FCR, 0xc1), R(IIR, 0xc1), W(FCR, 0xfe), R(IIR, 0x01), W(LCR, 0x80),
	  W(FCR, 0x01), R(IIR, 0xc1)}},
	{"THRE: enable, identify, write",
	 {W(MCR, 0x08), W_IRQ(IER, 0x02), R(IIR, 0x02), R(IIR, 0x01), W_IRQ(TX, 'x'), R(IIR, 0x02),
	  R(IIR, 0x01), W_IRQ(TX, 'y'), W_IRQ(TX, 'z'), W(IER, 0x02), W(IER, 0), R(IIR, 0x01),
	  W_IRQ(IER, 0x02), R(IIR, 0x02), W(IER, 0x02), R(IIR, 0x01)}},
	{"THRE: a read of IIR that shows another source keeps it",
	 {W_ROOM(MCR, 0x0a), W_IRQ(IER, 0x03), IN(1, 1), R(IIR, 0x04), R(IIR, 0x04), R_ROOM(RX, 'a'),
	  R(IIR, 0x02), R(IIR, 0x01)}},
	{"OUT2 gates the line",
	 {W(IER, 0x02), R(IIR, 0x02), W(IER, 0), W(IER, 0x02), W_IRQ(MCR, 0x08), W(MCR, 0), W_IRQ(MCR, 0x08),
	  W(MCR, 0x18), W_IRQ(MCR, 0x08)}},
	{"receive without FIFO: one byte",
	 {W_ROOM(MCR, 0x0a), W(IER, 0x01), IN_IRQ(3, 1), IN(2, 0), R(LSR, 0x61), R(IIR, 0x04),
	  R_ROOM(RX, 'a'), R(LSR, 0x60), R(IIR, 0x01), IN_IRQ(1, 1), R_ROOM(RX, 'a'), R(RX, 0)}},
	{"receive with FIFO: trigger 8, below it the timeout",
	 {W_ROOM(MCR, 0x0a), W(FCR, 0x81),   W(IER, 0x01),    IN_IRQ(2, 2),   R(IIR, 0xcc),
	  IN(5, 5),          R(IIR, 0xcc),   IN(1, 1),        R(IIR, 0xc4),   R_IRQ(RX, 'a'),
	  R(IIR, 0xcc),      R_IRQ(RX, 'b'), R_IRQ(RX, 'a'),  R_IRQ(RX, 'b'), R_IRQ(RX, 'c'),
	  R_IRQ(RX, 'd'),    R_IRQ(RX, 'e'), R_ROOM(RX, 'a'), R(IIR, 0xc1),   R(LSR, 0x60)}},
	{"receive with FIFO: takes 16 and never overruns",
	 {W_ROOM(MCR, 0x02), W(FCR, 0x01), IN(32, 16), IN(1, 0), R(LSR, 0x61), R(RX, 'a'), IN(32, 1),
	  IN(1, 0), R(LSR, 0x61)}},
	{"triggers",
	 {W_ROOM(MCR, 0x02), W(IER, 0x01), W(FCR, 0x01), IN(1, 1), R(IIR, 0xc4), W(FCR, 0x41), R(IIR, 0xcc),
	  IN(3, 3), R(IIR, 0xc4), W(FCR, 0x81), R(IIR, 0xcc), IN(4, 4), R(IIR, 0xc4), W(FCR, 0xc1),
	  R(IIR, 0xcc), IN(5, 5), R(IIR, 0xcc), IN(1, 1), R(IIR, 0xc4)}},
	{"FIFO reset",
	 {W_ROOM(MCR, 0x02), W(FCR, 0x01), IN(5, 5), W(FCR, 0x05), R(LSR, 0x61), W_ROOM(FCR, 0x03),
	  R(LSR, 0x60), IN(5, 5), W_ROOM(FCR, 0x00), R(LSR, 0x60), IN(5, 1), W(FCR, 0x02), R(LSR, 0x61),
	  W_ROOM(FCR, 0x01), R(LSR, 0x60)}},
	{"typing waits for RTS, and for the end of loopback",
	 {IN(3, 0), W_ROOM(MCR, 0x02), IN(3, 1), W(MCR, 0x12), IN(3, 0), R(RX, 'a'), IN(3, 0),
	  W_ROOM(MCR, 0x02), IN(3, 1), W(MCR, 0), R(LSR, 0x61), R(RX, 'a'), W_ROOM(MCR, 0x03)}},
	{"loopback: lines",
	 {W(MCR, 0x10), R(MSR, 0x0b), R(MSR, 0x00), W(MCR, 0x11), R(MSR, 0x22), W(MCR, 0x12), R(MSR, 0x13),
	  W(MCR, 0x14), R(MSR, 0x41), W(MCR, 0x18), R(MSR, 0x8c), W(MCR, 0x1a), R(MSR, 0x91), W(MCR, 0x0),
	  R(MSR, 0xb2)}},
	{"loopback: modem status interrupt",
	 {W(IER, 0x08),
	  W(MCR, 0x1f),
	  R(IIR, 0x01),
	  W(MCR, 0x1e),
	  R(IIR, 0x00),
	  R(MSR, 0xd2),
	  R(IIR, 0x01),
	  W(MCR, 0x1a),
	  R(IIR, 0x00),
	  {WRITE, UART_MCR, 0x0a, 1, 1},
	  R(MSR, 0xb6),
	  R(IIR, 0x01)}},
	{"loopback: data, overrun without FIFO overwrites",
	 {W(MCR, 0x10), W(IER, 0x05), W(TX, '1'), R(IIR, 0x04), W(TX, '2'), R(IIR, 0x06), R(LSR, 0x63),
	  R(LSR, 0x61), R(IIR, 0x04), R(RX, '2'), R(LSR, 0x60)}},
	{"loopback: overrun with FIFO keeps",
	 {W(FCR, 0x01), W(MCR, 0x10), W(TX, '0'), W(TX, '1'), W(TX, '2'),   W(TX, '3'), W(TX, '4'),
	  W(TX, '5'),   W(TX, '6'),   W(TX, '7'), W(TX, '8'), W(TX, '9'),   W(TX, 'a'), W(TX, 'b'),
	  W(TX, 'c'),   W(TX, 'd'),   W(TX, 'e'), W(TX, 'f'), R(LSR, 0x61), W(TX, 'g'), R(LSR, 0x63),
	  R(LSR, 0x61), R(RX, '0'),   R(RX, '1'), W(TX, 'h'), R(LSR, 0x61)}},
};

START_TEST(test_scripts)
{
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
		run_script(scripts[i].name, scripts[i].steps);
}
END_TEST

START_TEST(test_ring)
{
	struct harness h;
	struct uart_bulk *bulk;

	harness_open(&h, &uart16550_ops);
	bulk = (struct uart_bulk *)h.bulk;
	for (uint64_t n = 0; n < 2 * UART_RING_BYTES + 100; n++) {
		harness_write(&h, UART_TX, (uint8_t)(n * 7));
		harness_expect(h.out.console_head == n + 1);
		harness_expect(bulk->ring[n % UART_RING_BYTES] == (uint8_t)(n * 7));
	}
	harness_read(&h, UART_LSR);
	ck_assert_uint_eq(h.out.console_head, 0);
	harness_write(&h, UART_MCR, UART_MCR_LOOP);
	harness_write(&h, UART_TX, 'x');
	ck_assert_uint_eq(h.out.console_head, 0);
	harness_close(&h);
}
END_TEST

/* What Linux does to find out what the port is: drivers/tty/serial/8250/8250_port.c, autoconfig(),
 * autoconfig_16550a(), size_fifo() and the tests for THRE and TXEN bugs in serial8250_do_startup(). Any
 * other answer makes it take the port for something else, or work around a bug. */
static const struct step linux_probe[] = {
	R(IER, 0),         W(IER, 0),        R(IER, 0),    W(IER, 0x0f),
	R(IER, 0x0f),      W(IER, 0), /* is there a UART? */
	R(MCR, 0),         R(LCR, 0),        W(MCR, 0x1a), R(MSR, 0x92),
	W(MCR, 0), /* loopback: (MSR & 0xf0) == 0x90 */
	W(LCR, 0xbf),      W(FCR, 0),        W(LCR, 0),    W(FCR, 0x01),
	R(IIR, 0xc1),                                                    /* 16550A or better */
	W(LCR, 0x80),      R(IIR, 0xc1),     W(LCR, 0xbf), R(IIR, 0xc1), /* no EFR: not a 16650 */
	W(LCR, 0),         R(MCR, 0),        W(LCR, 0xe0), R(IIR, 0xc1),
	W(LCR, 0),         W(MCR, 0x10),     W(LCR, 0xe0), R(IIR, 0xc1),
	W(LCR, 0),         W(MCR, 0), /* no EXCR1: not a National SuperIO */
	W(FCR, 0x21),      R(IIR, 0xc1),     W(FCR, 0x01), W(LCR, 0x80),
	W(FCR, 0x21),      R(IIR, 0xc1),     W(FCR, 0x01), W(LCR, 0),
	R(IER, 0),         W(IER, 0),        R(IER, 0),    W(IER, 0x40),
	R(IER, 0),         W(IER, 0), /* no UUE: not an XScale */
	W(FCR, 0x01),      W(FCR, 0x07),     W(FCR, 0),    R(RX, 0),
	W(IER, 0), /* serial8250_clear_fifos() */
	R(LSR, 0x60),      R(RX, 0),         R(IIR, 0x01), R(MSR, ANY),
	W(LCR, 0x03),      R(LSR, 0x60),     W(IER, 0x02), R(IIR, 0x02),
	W(IER, 0),         W(IER, 0x02),     R(IIR, 0x02), W(IER, 0), /* THRE comes again */
	W(MCR, 0x08),      W_IRQ(IER, 0x02), R(LSR, 0x60), R(IIR, 0x02),
	W(IER, 0), /* no UART_BUG_TXEN */
	{END, 0, 0, 0, 0},
};

START_TEST(test_linux_autoconfig)
{
	struct harness h;
	int count;

	run_script("Linux's autoconfig", linux_probe);

	/* size_fifo(): 256 bytes into the loop, 16 must come back. */
	harness_open(&h, &uart16550_ops);
	harness_write(&h, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	harness_write(&h, UART_MCR, UART_MCR_LOOP);
	for (count = 0; count < 256; count++)
		harness_write(&h, UART_TX, (uint8_t)count);
	for (count = 0; (harness_read(&h, UART_LSR) & UART_LSR_DR) && count < 256; count++)
		ck_assert_uint_eq(harness_read(&h, UART_RX), count);
	ck_assert_int_eq(count, 16);
	ck_assert_uint_eq(((struct uart_state *)harness_state(&h))->head, 0);
	harness_close(&h);
}
END_TEST

/*
 * Drivers on an edge-triggered line. A pulse latches one interrupt; the handler runs, and pulses during it
 * latch one more. Whatever the mix of typing and printing, everything typed must be read and everything
 * printed written.
 */
struct driver {
	struct harness h;
	void (*handler)(struct driver *);
	bool latched; /* an interrupt is waiting */
	bool room;    /* the UART asked for more typing */
	unsigned trigger;
	unsigned read, written, to_write;
	uint64_t seed;
};

static uint8_t in(struct driver *d, unsigned reg)
{
	uint8_t value = harness_read(&d->h, reg);

	d->latched |= d->h.out.irq;
	d->room |= d->h.out.console_room;
	return value;
}

static void out(struct driver *d, unsigned reg, uint8_t value)
{
	harness_write(&d->h, reg, value);
	d->latched |= d->h.out.irq;
	d->room |= d->h.out.console_room;
}

static void read_byte(struct driver *d)
{
	harness_expect(in(d, UART_RX) == (uint8_t)d->read);
	d->read++;
}

/* Linux: everything, until IIR says that there is nothing left. */
static void handler_linux(struct driver *d)
{
	while (!(in(d, UART_IIR) & UART_IIR_NO_INT)) {
		uint8_t lsr = in(d, UART_LSR);

		while (lsr & UART_LSR_DR) {
			read_byte(d);
			lsr = in(d, UART_LSR);
		}
		in(d, UART_MSR);
		for (int i = 0; i < 16 && d->written < d->to_write; i++, d->written++)
			out(d, UART_TX, (uint8_t)d->written);
		if (d->written == d->to_write)
			out(d, UART_IER, in(d, UART_IER) & ~UART_IER_THRI);
	}
}

/* One interrupt, one service: of a timeout, one byte; at the trigger, what it promises. */
static void handler_receive_once(struct driver *d)
{
	unsigned id = in(d, UART_IIR) & 0x0f;
	unsigned n = id == UART_IIR_RX_TIMEOUT ? 1 : id == UART_IIR_RDI ? d->trigger : 0;

	while (n--)
		read_byte(d);
}

/* Never looks at IIR: an interrupt means that the last byte is out. */
static void handler_transmit_blind(struct driver *d)
{
	if (d->written < d->to_write)
		out(d, UART_TX, (uint8_t)d->written++);
	else
		out(d, UART_IER, 0);
}

static void drive(struct driver *d, uint8_t fcr, uint8_t ier, unsigned typed_bytes, unsigned printed_bytes)
{
	unsigned offered = 0, idle = 0;

	harness_open(&d->h, &uart16550_ops);
	d->trigger = fcr == 0xc1 ? 14 : 1;
	out(d, UART_FCR, fcr);
	out(d, UART_MCR, UART_MCR_OUT2 | UART_MCR_RTS | UART_MCR_DTR);
	out(d, UART_IER, ier & ~UART_IER_THRI);
	d->room = true;
	while (idle < 100) {
		unsigned choice = harness_random(&d->seed) % 4;

		idle++;
		if (choice == 0 && d->room && offered < typed_bytes) {
			uint8_t bytes[24];
			uint32_t len = 1 + harness_random(&d->seed) % sizeof(bytes), taken;

			for (uint32_t i = 0; i < len; i++)
				bytes[i] = (uint8_t)(offered + i);
			taken = harness_input(&d->h, bytes, len);
			d->latched |= d->h.out.irq;
			d->room = taken == len;
			offered += taken;
			idle = 0;
		} else if (choice == 1 && d->to_write < printed_bytes) {
			d->to_write += 1 + harness_random(&d->seed) % 40;
			out(d, UART_IER, ier);
			idle = 0;
		} else if (choice >= 2 && d->latched) {
			d->latched = false;
			d->handler(d);
			idle = 0;
		}
	}
	ck_assert_uint_ge(offered, typed_bytes);
	ck_assert_uint_eq(d->read, offered);
	ck_assert_uint_eq(d->written, d->to_write);
	ck_assert_uint_eq(((struct uart_state *)harness_state(&d->h))->head, d->written);
	harness_close(&d->h);
}

START_TEST(test_edge_drivers)
{
	static const struct {
		void (*handler)(struct driver *);
		uint8_t fcr, ier;
		unsigned typed, printed;
	} cases[] = {
		{handler_linux, 0xc1, UART_IER_RDI | UART_IER_RLSI | UART_IER_THRI, 5000, 5000},
		{handler_linux, 0x81, UART_IER_RDI | UART_IER_MSI | UART_IER_THRI, 5000, 5000},
		{handler_linux, 0x00, UART_IER_RDI | UART_IER_THRI, 5000, 5000},
		{handler_receive_once, 0xc1, UART_IER_RDI, 5000, 0},
		{handler_receive_once, 0x00, UART_IER_RDI, 5000, 0},
		{handler_transmit_blind, 0x01, UART_IER_THRI, 0, 5000},
		{handler_transmit_blind, 0x00, UART_IER_THRI, 0, 5000},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (uint64_t seed = 1; seed <= 5; seed++) {
			struct driver d = {.handler = cases[i].handler, .seed = seed};

			drive(&d, cases[i].fcr, cases[i].ier, cases[i].typed, cases[i].printed);
		}
}
END_TEST

/* After any access to any state: bytes are bytes, the head only grows and is told, the receiver is in
 * bounds. */
static void check_uart(struct harness *h)
{
	const struct uart_state *s = harness_state(h), *before = (void *)h->copy[h->current ^ 1];

	harness_expect(s->head == before->head || s->head == before->head + 1);
	harness_expect(h->out.console_head == (s->head == before->head ? 0 : s->head));
	harness_expect(s->rx_first < UART_FIFO_BYTES);
	harness_expect(s->rx_count <= (s->fcr & 1 ? UART_FIFO_BYTES : 1));
	harness_expect(h->out.event == MACHINE_RUN);
	if (h->out.irq)
		harness_expect(s->line);
}

static void check_uart_and_type(struct harness *h)
{
	static uint64_t seed = 3;
	uint32_t len = harness_random(&seed) % 32, taken;
	const struct uart_state *s;

	check_uart(h);
	taken = harness_input(h, typed, len);
	s = harness_state(h);
	harness_expect(s->rx_count <= (s->fcr & 1 ? UART_FIFO_BYTES : 1));
	/* Whoever is refused can rely on console_room: something waits to be read, or RTS or loopback to
	 * change. */
	if (taken < len)
		harness_expect(s->rx_count || (s->mcr & (UART_MCR_RTS | UART_MCR_LOOP)) != UART_MCR_RTS);
}

START_TEST(test_fuzz)
{
	struct harness h;

	harness_open(&h, &uart16550_ops);
	harness_fuzz(&h, UART_PORTS, 500000, 1, check_uart);
	harness_fuzz(&h, UART_PORTS, 500000, 2, check_uart_and_type);
	harness_close(&h);
}
END_TEST

HARNESS_MAIN("uart16550", test_scripts, test_ring, test_linux_autoconfig, test_edge_drivers, test_fuzz)

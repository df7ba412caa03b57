/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A byte written to 0x64 is a command; some await one data byte, written to 0x60 next.
 * Answers appear in the output buffer, one byte deep: a newer answer replaces an unread one.
 */
#include "devices/i8042.h"

#define PORT_DATA   0u
#define PORT_STATUS 4u

#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_INPUT_FULL  0x02u
#define STATUS_SYSTEM      0x04u /* copy of the command byte's bit 2: self test passed */
#define STATUS_COMMAND     0x08u /* the last byte written was a command */
#define STATUS_UNLOCKED    0x10u /* the key lock is open */
#define STATUS_TIMEOUT     0x40u /* the output buffer holds 0xfe because a device did not answer */

#define CONTROL_SYSTEM       0x04u
#define CONTROL_KEYBOARD_OFF 0x10u
#define CONTROL_AUX_OFF      0x20u /* always set: there is no auxiliary port */

#define COMMAND_READ_RAM      0x20u /* ... 0x3f */
#define COMMAND_WRITE_RAM     0x60u /* ... 0x7f, one data byte */
#define COMMAND_TEST_AUX      0xa9u
#define COMMAND_SELF_TEST     0xaau
#define COMMAND_TEST_KEYBOARD 0xabu
#define COMMAND_KEYBOARD_OFF  0xadu
#define COMMAND_KEYBOARD_ON   0xaeu
#define COMMAND_READ_INPUT    0xc0u
#define COMMAND_READ_OUTPUT   0xd0u
#define COMMAND_WRITE_OUTPUT  0xd1u /* this and the next three: one data byte */
#define COMMAND_ECHO_KEYBOARD 0xd2u
#define COMMAND_ECHO_AUX      0xd3u
#define COMMAND_WRITE_AUX     0xd4u
#define COMMAND_READ_TEST     0xe0u
#define COMMAND_PULSE         0xf0u /* ... 0xff: pulses those output bits low whose command bit is 0 */

#define SELF_TEST_PASSED 0x55u
#define CLOCK_STUCK_LOW  0x01u /* test of the auxiliary port: nothing there */
#define NO_ANSWER        0xfeu
#define INPUT_PORT       0x80u /* keyboard not inhibited */
#define OUTPUT_PORT      0x03u /* not in reset, A20 open */
#define OUTPUT_NOT_RESET 0x01u

static void answer(struct i8042_state *s, uint8_t byte)
{
	s->output = byte;
	s->status = (s->status & ~STATUS_TIMEOUT) | STATUS_OUTPUT_FULL;
}

/* A byte was sent to a device that is not there. */
static void answer_timeout(struct i8042_state *s)
{
	answer(s, NO_ANSWER);
	s->status |= STATUS_TIMEOUT;
}

static void write_ram(struct i8042_state *s, unsigned at, uint8_t value)
{
	s->ram[at % I8042_RAM_BYTES] = value;
	s->ram[0] |= CONTROL_AUX_OFF;
	s->status = (s->status & ~STATUS_SYSTEM) | (s->ram[0] & CONTROL_SYSTEM ? STATUS_SYSTEM : 0);
}

static void run_command(struct i8042_state *s, struct outbox *out, uint8_t command)
{
	s->command = 0;
	switch (command) {
	case COMMAND_READ_RAM ... COMMAND_READ_RAM + I8042_RAM_BYTES - 1:
		answer(s, s->ram[command % I8042_RAM_BYTES]);
		break;
	case COMMAND_WRITE_RAM ... COMMAND_WRITE_RAM + I8042_RAM_BYTES - 1:
	case COMMAND_WRITE_OUTPUT ... COMMAND_WRITE_AUX:
		s->command = command;
		break;
	case COMMAND_TEST_AUX:
		answer(s, CLOCK_STUCK_LOW);
		break;
	case COMMAND_SELF_TEST:
		write_ram(s, 0, s->ram[0] | CONTROL_SYSTEM);
		answer(s, SELF_TEST_PASSED);
		break;
	case COMMAND_TEST_KEYBOARD:
	case COMMAND_READ_TEST:
		answer(s, 0);
		break;
	case COMMAND_KEYBOARD_OFF:
		s->ram[0] |= CONTROL_KEYBOARD_OFF;
		break;
	case COMMAND_KEYBOARD_ON:
		s->ram[0] &= ~CONTROL_KEYBOARD_OFF;
		break;
	case COMMAND_READ_INPUT:
		answer(s, INPUT_PORT);
		break;
	case COMMAND_READ_OUTPUT:
		answer(s, OUTPUT_PORT);
		break;
	case COMMAND_PULSE ... 0xff:
		if (!(command & OUTPUT_NOT_RESET))
			out->event = MACHINE_RESET;
		break;
	default: /* unknown, or about an auxiliary port (0xa7, 0xa8) that is not there */
		break;
	}
}

/* A byte for the command that awaits one, or for the keyboard. */
static void write_data(struct i8042_state *s, struct outbox *out, uint8_t value)
{
	uint8_t command = s->command;

	s->command = 0;
	switch (command) {
	case COMMAND_WRITE_RAM ... COMMAND_WRITE_RAM + I8042_RAM_BYTES - 1:
		write_ram(s, command, value);
		break;
	case COMMAND_WRITE_OUTPUT: /* A20 is always open: only the reset bit matters */
		if (!(value & OUTPUT_NOT_RESET))
			out->event = MACHINE_RESET;
		break;
	case COMMAND_ECHO_KEYBOARD:
	case COMMAND_ECHO_AUX: /* without the status bit that would say "auxiliary" */
		answer(s, value);
		break;
	default:
		answer_timeout(s);
		break;
	}
}

static uint8_t read_data(struct i8042_state *s)
{
	s->status &= ~(STATUS_OUTPUT_FULL | STATUS_TIMEOUT);
	return s->output;
}

static void i8042_access(struct operation *op, struct access *a)
{
	struct i8042_state *s = op->state;

	if (a->offset == PORT_DATA) {
		if (a->write) {
			s->status &= ~STATUS_COMMAND;
			write_data(s, op->out, (uint8_t)a->value);
		} else {
			a->value = read_data(s);
		}
	} else if (a->offset == PORT_STATUS) {
		if (a->write) {
			s->status |= STATUS_COMMAND;
			run_command(s, op->out, (uint8_t)a->value);
		} else {
			a->value = (s->status | STATUS_UNLOCKED) & ~STATUS_INPUT_FULL;
		}
	}
}

/* As firmware leaves it: self test passed, the keyboard's clock off. */
static void i8042_init(void *state, const struct device_config *cfg)
{
	struct i8042_state *s = state;

	write_ram(s, 0, CONTROL_SYSTEM | CONTROL_KEYBOARD_OFF);
}

const struct device_ops i8042_ops = {
	.name = "i8042",
	.state_size = sizeof(struct i8042_state),
	.max_access = 1,
	.init = i8042_init,
	.access = i8042_access,
};

_Static_assert(sizeof(struct i8042_state) == 40, "layout of the keyboard controller's state");

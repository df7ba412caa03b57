/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiplication, division, decimal adjustment: SDM 2. */
#include "emulator/x86/handlers.h"
#include "emulator/x86/host.h"

/* The result of MUL and the like in AX, or in rdx:rax of the operand's size. */
static void wide_write(struct context *c, uint64_t low, uint64_t high, uint32_t size)
{
	if (size == 1) {
		gpr_write(c, X86_RAX, low, 2);
		return;
	}
	gpr_write(c, X86_RAX, low, size);
	gpr_write(c, X86_RDX, high, size);
}

static bool multiply(struct context *c, bool is_signed)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, low = c->s->gpr[X86_RAX], high = c->s->gpr[X86_RDX], v;

	if (!operand_read(c, 0, &v))
		return false;
	if (is_signed)
		host_wide_imul(&low, &high, v, size, &flags);
	else
		host_wide_mul(&low, &high, v, size, &flags);
	wide_write(c, low, high, size);
	status_set(c, flags);
	return true;
}

bool do_mul(struct context *c)
{
	return multiply(c, false);
}

bool do_imul(struct context *c)
{
	uint64_t flags = c->s->rflags, a, b;
	unsigned n = c->insn.operand_count_visible;

	if (n == 1)
		return multiply(c, true);
	if (!operand_read(c, n == 3 ? 1 : 0, &a) || !operand_read(c, n == 3 ? 2 : 1, &b))
		return false;
	a = host_imul(a, b, operand_size(c, 0), &flags);
	status_set(c, flags);
	return operand_write(c, 0, a);
}

static unsigned __int128 dividend_of(const struct context *c, uint32_t size)
{
	if (size == 1)
		return gpr_read(c, X86_RAX, 2);
	return (unsigned __int128)gpr_read(c, X86_RDX, size) << (size * 8) | gpr_read(c, X86_RAX, size);
}

/* Does the quotient fit? If not, it is #DE in the guest, and must not be tried here. */
static bool quotient_fits(unsigned __int128 dividend, uint64_t divisor, uint32_t size)
{
	return divisor && (uint64_t)(dividend >> (size * 8)) < divisor;
}

static bool quotient_fits_signed(unsigned __int128 dividend, uint64_t divisor, uint32_t size)
{
	unsigned unused = 128 - size * 16;
	__int128 n = (__int128)(dividend << unused) >> unused;
	int64_t d = (int64_t)sign_extend(divisor, size);
	unsigned __int128 magnitude = n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
	uint64_t by = d < 0 ? -(uint64_t)d : (uint64_t)d, limit = BIT(size * 8 - 1);

	if (!by || magnitude >> 64 >= by)
		return false;
	/* The most negative quotient has one more than the most positive. */
	return magnitude / by < limit + ((n < 0) != (d < 0) ? 1 : 0);
}

static bool divide(struct context *c, bool is_signed)
{
	uint32_t size = operand_size(c, 0);
	uint64_t flags = c->s->rflags, low = c->s->gpr[X86_RAX], high = c->s->gpr[X86_RDX], v;

	if (!operand_read(c, 0, &v))
		return false;
	if (is_signed ? !quotient_fits_signed(dividend_of(c, size), v, size)
		      : !quotient_fits(dividend_of(c, size), v, size))
		return stop_exception(c, VECTOR_DE);
	if (is_signed)
		host_wide_idiv(&low, &high, v, size, &flags);
	else
		host_wide_div(&low, &high, v, size, &flags);
	wide_write(c, low, high, size);
	status_set(c, flags);
	return true;
}

bool do_div(struct context *c)
{
	return divide(c, false);
}

bool do_idiv(struct context *c)
{
	return divide(c, true);
}

bool do_mulx(struct context *c)
{
	uint32_t size = operand_size(c, 0);
	unsigned __int128 product;
	uint64_t v;

	if (!operand_read(c, 2, &v))
		return false;
	product = (unsigned __int128)v * gpr_read(c, X86_RDX, size);
	/* The high half is written last: it stays if both destinations are one register. */
	return operand_write(c, 1, (uint64_t)product) &&
	       operand_write(c, 0, (uint64_t)(product >> (size * 8)));
}

bool do_adx(struct context *c)
{
	/* The argument is a bit number: OF is above what fits a byte. */
	uint64_t carry = BIT(c->opcode->argument), a, b;
	uint32_t size = operand_size(c, 0);
	unsigned __int128 sum;

	if (!operand_read(c, 0, &a) || !operand_read(c, 1, &b))
		return false;
	sum = (unsigned __int128)a + b + (c->s->rflags & carry ? 1 : 0);
	c->s->rflags = (c->s->rflags & ~carry) | (sum >> (size * 8) & 1 ? carry : 0);
	return operand_write(c, 0, (uint64_t)sum);
}

/* --- Decimal adjustment: SF, ZF and PF follow AL; the flags called undefined are cleared, as by logic. */

static void adjust_flags(struct context *c, uint64_t carries)
{
	uint64_t flags = c->s->rflags, al = gpr_read(c, X86_RAX, 1);

	host_and(al, al, 1, &flags);
	status_set(c, flags | carries);
}

bool do_aam(struct context *c)
{
	uint64_t base, al = gpr_read(c, X86_RAX, 1);

	if (!operand_read(c, 0, &base))
		return false;
	base &= 0xff;
	if (!base)
		return stop_exception(c, VECTOR_DE);
	gpr_write(c, X86_RAX, (al / base) << 8 | al % base, 2);
	adjust_flags(c, 0);
	return true;
}

bool do_aad(struct context *c)
{
	uint64_t base, ax = gpr_read(c, X86_RAX, 2);

	if (!operand_read(c, 0, &base))
		return false;
	gpr_write(c, X86_RAX, ((ax & 0xff) + (ax >> 8) * (base & 0xff)) & 0xff, 2);
	adjust_flags(c, 0);
	return true;
}

bool do_aaa(struct context *c)
{
	uint64_t ax = gpr_read(c, X86_RAX, 2);
	uint64_t carries = (ax & 15) > 9 || (c->s->rflags & FLAG_AF) ? FLAG_AF | FLAG_CF : 0;

	if (carries)
		ax = c->opcode->argument ? ax - 0x106 : ax + 0x106;
	gpr_write(c, X86_RAX, ax & 0xff0f, 2);
	adjust_flags(c, carries);
	return true;
}

bool do_daa(struct context *c)
{
	uint64_t al = gpr_read(c, X86_RAX, 1), old = al, carries = 0;
	bool subtract = c->opcode->argument;

	if ((al & 15) > 9 || (c->s->rflags & FLAG_AF)) {
		al = subtract ? al - 6 : al + 6;
		carries = FLAG_AF;
		if (subtract && old < 6)
			carries |= FLAG_CF;
	}
	if (old > 0x99 || (c->s->rflags & FLAG_CF)) {
		al = subtract ? al - 0x60 : al + 0x60;
		carries |= FLAG_CF;
	}
	gpr_write(c, X86_RAX, al, 1);
	adjust_flags(c, carries);
	return true;
}

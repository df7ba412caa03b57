/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic with exact flags: the host's processor executes the operation, with the guest's status flags
 * before it and after it. So flags that the manuals call undefined come out as on this processor, and those
 * that an operation leaves alone (a shift by 0, say) stay. Only operations of the base instruction set are
 * here; a processor without the others must not be made to execute them.
 *
 * The flags travel in rax: SAHF and LAHF carry SF ZF AF PF CF in AH; OF is made by an addition (0x7f + 1
 * overflows) and fetched by SETO. Values are zero-extended from their size of 1, 2, 4 or 8 bytes.
 */
#ifndef DVMM_EMULATOR_X86_HOST_H
#define DVMM_EMULATOR_X86_HOST_H

#include "emulator/x86/internal.h"

/* rflags to rax, and back. */
static inline uint64_t host_flags_in(uint64_t rflags)
{
	return (rflags & 0xff) << 8 | (rflags >> 11 & 1);
}
static inline uint64_t host_flags_out(uint64_t rax)
{
	return (rax >> 8 & 0xff) | (rax & 1) << 11;
}

#define HOST_LOAD "addb $0x7f, %%al\n\tsahf\n\t"
#define HOST_SAVE "\n\tlahf\n\tseto %%al"

/* One operation for each size; b, w, k, q are the operand modifiers of the size. */
#define HOST_SIZES(size, ONE)                                                                                \
	do {                                                                                                 \
		switch (size) {                                                                              \
		case 1:                                                                                      \
			ONE("b");                                                                            \
			break;                                                                               \
		case 2:                                                                                      \
			ONE("w");                                                                            \
			break;                                                                               \
		case 4:                                                                                      \
			ONE("k");                                                                            \
			break;                                                                               \
		default:                                                                                     \
			ONE("q");                                                                            \
			break;                                                                               \
		}                                                                                            \
	} while (0)

/* dst = dst OP src. */
#define HOST_BINARY(name, insn)                                                                              \
	static inline uint64_t host_##name(uint64_t dst, uint64_t src, uint32_t size, uint64_t *rflags)      \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags);                                                         \
		HOST_SIZES(size, HOST_BINARY_##insn);                                                        \
		*rflags = host_flags_out(f);                                                                 \
		return dst & size_mask(size);                                                                \
	}
#define HOST_BINARY_ONE(insn, m)                                                                             \
	__asm__(HOST_LOAD insn " %" m "2, %" m "1" HOST_SAVE : "+a"(f), "+r"(dst) : "r"(src) : "cc")
#define HOST_BINARY_add(m) HOST_BINARY_ONE("add", m)
#define HOST_BINARY_or(m)  HOST_BINARY_ONE("or", m)
#define HOST_BINARY_adc(m) HOST_BINARY_ONE("adc", m)
#define HOST_BINARY_sbb(m) HOST_BINARY_ONE("sbb", m)
#define HOST_BINARY_and(m) HOST_BINARY_ONE("and", m)
#define HOST_BINARY_sub(m) HOST_BINARY_ONE("sub", m)
#define HOST_BINARY_xor(m) HOST_BINARY_ONE("xor", m)
HOST_BINARY(add, add)
HOST_BINARY(or, or)
HOST_BINARY(adc, adc)
HOST_BINARY(sbb, sbb)
HOST_BINARY(and, and)
HOST_BINARY(sub, sub)
HOST_BINARY(xor, xor)

/* dst = OP dst. */
#define HOST_UNARY(name, insn)                                                                               \
	static inline uint64_t host_##name(uint64_t dst, uint32_t size, uint64_t *rflags)                    \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags);                                                         \
		HOST_SIZES(size, HOST_UNARY_##insn);                                                         \
		*rflags = host_flags_out(f);                                                                 \
		return dst & size_mask(size);                                                                \
	}
#define HOST_UNARY_ONE(insn, m) __asm__(HOST_LOAD insn " %" m "1" HOST_SAVE : "+a"(f), "+r"(dst) : : "cc")
#define HOST_UNARY_inc(m)       HOST_UNARY_ONE("inc", m)
#define HOST_UNARY_dec(m)       HOST_UNARY_ONE("dec", m)
#define HOST_UNARY_neg(m)       HOST_UNARY_ONE("neg", m)
HOST_UNARY(inc, inc)
HOST_UNARY(dec, dec)
HOST_UNARY(neg, neg)

/* dst = dst OP count, count in CL. */
#define HOST_SHIFT(name, insn)                                                                               \
	static inline uint64_t host_##name(uint64_t dst, uint64_t count, uint32_t size, uint64_t *rflags)    \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags);                                                         \
		HOST_SIZES(size, HOST_SHIFT_##insn);                                                         \
		*rflags = host_flags_out(f);                                                                 \
		return dst & size_mask(size);                                                                \
	}
#define HOST_SHIFT_ONE(insn, m)                                                                              \
	__asm__(HOST_LOAD insn " %%cl, %" m "1" HOST_SAVE : "+a"(f), "+r"(dst) : "c"(count) : "cc")
#define HOST_SHIFT_shl(m) HOST_SHIFT_ONE("shl", m)
#define HOST_SHIFT_shr(m) HOST_SHIFT_ONE("shr", m)
#define HOST_SHIFT_sar(m) HOST_SHIFT_ONE("sar", m)
#define HOST_SHIFT_rol(m) HOST_SHIFT_ONE("rol", m)
#define HOST_SHIFT_ror(m) HOST_SHIFT_ONE("ror", m)
#define HOST_SHIFT_rcl(m) HOST_SHIFT_ONE("rcl", m)
#define HOST_SHIFT_rcr(m) HOST_SHIFT_ONE("rcr", m)
HOST_SHIFT(shl, shl)
HOST_SHIFT(shr, shr)
HOST_SHIFT(sar, sar)
HOST_SHIFT(rol, rol)
HOST_SHIFT(ror, ror)
HOST_SHIFT(rcl, rcl)
HOST_SHIFT(rcr, rcr)

/* The same for operations that have no form of 1 byte. */
#define HOST_WORDS(size, ONE)                                                                                \
	do {                                                                                                 \
		switch (size) {                                                                              \
		case 2:                                                                                      \
			ONE("w");                                                                            \
			break;                                                                               \
		case 4:                                                                                      \
			ONE("k");                                                                            \
			break;                                                                               \
		default:                                                                                     \
			ONE("q");                                                                            \
			break;                                                                               \
		}                                                                                            \
	} while (0)

#define HOST_DOUBLE(name, insn)                                                                              \
	static inline uint64_t host_##name(uint64_t dst, uint64_t src, uint64_t count, uint32_t size,        \
					   uint64_t *rflags)                                                 \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags);                                                         \
		HOST_WORDS(size, HOST_DOUBLE_##insn);                                                        \
		*rflags = host_flags_out(f);                                                                 \
		return dst & size_mask(size);                                                                \
	}
#define HOST_DOUBLE_ONE(insn, m)                                                                             \
	__asm__(HOST_LOAD insn " %%cl, %" m "2, %" m "1" HOST_SAVE                                           \
		: "+a"(f), "+r"(dst)                                                                         \
		: "r"(src), "c"(count)                                                                       \
		: "cc")
#define HOST_DOUBLE_shld(m) HOST_DOUBLE_ONE("shld", m)
#define HOST_DOUBLE_shrd(m) HOST_DOUBLE_ONE("shrd", m)
HOST_DOUBLE(shld, shld)
HOST_DOUBLE(shrd, shrd)

#define HOST_WORD_BINARY(name, insn)                                                                         \
	static inline uint64_t host_##name(uint64_t dst, uint64_t src, uint32_t size, uint64_t *rflags)      \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags);                                                         \
		HOST_WORDS(size, HOST_BINARY_##insn);                                                        \
		*rflags = host_flags_out(f);                                                                 \
		return dst & size_mask(size);                                                                \
	}
#define HOST_BINARY_bt(m)   HOST_BINARY_ONE("bt", m)
#define HOST_BINARY_bts(m)  HOST_BINARY_ONE("bts", m)
#define HOST_BINARY_btr(m)  HOST_BINARY_ONE("btr", m)
#define HOST_BINARY_btc(m)  HOST_BINARY_ONE("btc", m)
#define HOST_BINARY_imul(m) HOST_BINARY_ONE("imul", m)
HOST_WORD_BINARY(bt, bt)
HOST_WORD_BINARY(bts, bts)
HOST_WORD_BINARY(btr, btr)
HOST_WORD_BINARY(btc, btc)
HOST_WORD_BINARY(imul, imul)

/* BSF and BSR: with a source of 0 the destination stays, so all of the register is given and returned. */
#define HOST_SCAN(name, insn)                                                                                \
	static inline uint64_t host_##name(uint64_t dst, uint64_t src, uint32_t size, uint64_t *rflags)      \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags);                                                         \
		HOST_WORDS(size, HOST_BINARY_##insn);                                                        \
		*rflags = host_flags_out(f);                                                                 \
		return dst;                                                                                  \
	}
#define HOST_BINARY_bsf(m) HOST_BINARY_ONE("bsf", m)
#define HOST_BINARY_bsr(m) HOST_BINARY_ONE("bsr", m)
HOST_SCAN(bsf, bsf)
HOST_SCAN(bsr, bsr)

/*
 * MUL, IMUL, DIV, IDIV: rdx:rax OP src, or ax OP src for bytes. The divisions must have been checked: what
 * would be #DE in the guest would be SIGFPE here.
 */
#define HOST_WIDE(name, insn)                                                                                \
	static inline void host_##name(uint64_t *rax, uint64_t *rdx, uint64_t src, uint32_t size,            \
				       uint64_t *rflags)                                                     \
	{                                                                                                    \
		uint64_t f = host_flags_in(*rflags), lo = *rax, hi = *rdx;                                   \
		HOST_SIZES(size, HOST_WIDE_##insn);                                                          \
		*rflags = host_flags_out(f);                                                                 \
		*rax = lo;                                                                                   \
		*rdx = hi;                                                                                   \
	}
#define HOST_WIDE_ONE(insn, m)                                                                               \
	__asm__(HOST_LOAD "movq %[lo], %%rax\n\t" insn " %" m "[src]\n\t"                                    \
			  "movq %%rax, %[lo]" HOST_SAVE                                                      \
		: "+&a"(f), [lo] "+&r"(lo), "+&d"(hi)                                                        \
		: [src] "r"(src)                                                                             \
		: "cc")
#define HOST_WIDE_mul(m)  HOST_WIDE_ONE("mul", m)
#define HOST_WIDE_imul(m) HOST_WIDE_ONE("imul", m)
#define HOST_WIDE_div(m)  HOST_WIDE_ONE("div", m)
#define HOST_WIDE_idiv(m) HOST_WIDE_ONE("idiv", m)
HOST_WIDE(wide_mul, mul)
HOST_WIDE(wide_imul, imul)
HOST_WIDE(wide_div, div)
HOST_WIDE(wide_idiv, idiv)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handlers that the table of opcodes names: each executes the decoded instruction of its context, with
 * the argument that the table gives for the mnemonic. False: context.stop says why, and the run loop goes
 * back.
 */
#ifndef DVMM_EMULATOR_X86_HANDLERS_H
#define DVMM_EMULATOR_X86_HANDLERS_H

#include "emulator/x86/internal.h"

enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST };
enum unary { UNARY_INC, UNARY_DEC, UNARY_NEG, UNARY_NOT };
enum shift { SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SAR };
enum bit_test { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };
enum string_form { STRING_MOVS, STRING_STOS, STRING_LODS, STRING_SCAS, STRING_CMPS };
enum xsave_form { XSAVE_PLAIN, XSAVE_OPT, XSAVE_COMPACT, XSAVE_SUPERVISOR };
enum base_access { BASE_RDFS, BASE_RDGS, BASE_WRFS, BASE_WRGS };

/* integer.c */
bool do_mov(struct context *c);   /* also MOVZX, MOVNTI */
bool do_movsx(struct context *c); /* also MOVSXD */
bool do_movbe(struct context *c);
bool do_lea(struct context *c);
bool do_bswap(struct context *c);
bool do_convert(struct context *c);      /* CBW, CWDE, CDQE: argument is the size of the result */
bool do_convert_wide(struct context *c); /* CWD, CDQ, CQO: argument is the size of the source */
bool do_alu(struct context *c);          /* enum alu */
bool do_unary(struct context *c);        /* enum unary */
bool do_xchg(struct context *c);
bool do_xadd(struct context *c);
bool do_cmpxchg(struct context *c);
bool do_cmpxchg_wide(struct context *c); /* argument: 8 or 16 */
bool do_xlat(struct context *c);
bool condition(uint64_t rflags, unsigned code); /* code: as encoded in Jcc */
bool do_setcc(struct context *c);               /* condition code */
bool do_cmovcc(struct context *c);              /* condition code */

/* muldiv.c */
bool do_mul(struct context *c);
bool do_imul(struct context *c);
bool do_div(struct context *c);
bool do_idiv(struct context *c);
bool do_mulx(struct context *c);
bool do_adx(struct context *c); /* argument: the carry flag */
bool do_aam(struct context *c);
bool do_aad(struct context *c);
bool do_aaa(struct context *c); /* argument: 1 for AAS */
bool do_daa(struct context *c); /* argument: 1 for DAS */

/* bits.c */
bool do_shift(struct context *c);        /* enum shift */
bool do_shift_double(struct context *c); /* argument: 1 for SHRD */
bool do_shiftx(struct context *c);       /* enum shift: SHLX, SHRX, SARX */
bool do_rorx(struct context *c);
bool do_bit_test(struct context *c); /* enum bit_test */
bool do_scan(struct context *c);     /* argument: 1 for BSR */
bool do_popcnt(struct context *c);
bool do_count_zeros(struct context *c); /* argument: 1 for LZCNT */
bool do_andn(struct context *c);
bool do_bextr(struct context *c);
bool do_bls(struct context *c); /* argument: 0 BLSI, 1 BLSMSK, 2 BLSR */
bool do_bzhi(struct context *c);
bool do_pdep(struct context *c);
bool do_pext(struct context *c);
bool do_crc32(struct context *c);

/* flow.c */
bool do_jcc(struct context *c); /* condition code */
bool do_jcxz(struct context *c);
bool do_loop(struct context *c); /* argument: 0 LOOP, 1 LOOPE, 2 LOOPNE */
bool do_jmp(struct context *c);
bool do_call(struct context *c);
bool do_ret(struct context *c);
bool do_int3(struct context *c);
bool do_int1(struct context *c);
bool do_into(struct context *c);
bool do_bound(struct context *c);
bool do_ud(struct context *c);
bool do_nop(struct context *c);
bool do_pause(struct context *c);

/* stack.c */
bool do_push(struct context *c);
bool do_pop(struct context *c);
bool do_pusha(struct context *c); /* argument: size */
bool do_popa(struct context *c);  /* argument: size */
bool do_pushf(struct context *c); /* argument: size */
bool do_popf(struct context *c);  /* argument: size */
bool do_enter(struct context *c);
bool do_leave(struct context *c);

/* string.c */
bool do_string(struct context *c);           /* enum string_form << 4 | size of an element */
bool do_string_or_vector(struct context *c); /* MOVSD is two instructions, and so is CMPSD */
enum x86_segment_register segment_override(const struct context *c);

/* system.c */
bool do_flag(struct context *c); /* argument: index in a table of CLC, STC, CMC, CLD, STD */
bool do_lahf(struct context *c);
bool do_sahf(struct context *c);
bool do_salc(struct context *c);
bool do_cli(struct context *c);
bool do_sti(struct context *c);
bool do_clac(struct context *c); /* argument: 1 for STAC */
bool do_clflush(struct context *c);
bool do_wbinvd(struct context *c);
bool do_invpcid(struct context *c);
bool do_invlpg(struct context *c);
bool do_swapgs(struct context *c);
bool do_fsgsbase(struct context *c); /* enum base_access */
bool do_rdpid(struct context *c);
bool do_rdrand(struct context *c); /* argument: 1 for RDSEED */
bool do_xgetbv(struct context *c);
bool do_xsetbv(struct context *c);
bool do_fence(struct context *c);

/* xsave.c */
bool do_xsave(struct context *c);  /* enum xsave_form << 1 | 64-bit form */
bool do_xrstor(struct context *c); /* supervisor << 1 | 64-bit form */

/* xstate.c */
bool do_fxsave(struct context *c); /* argument: 64-bit form */
bool do_fxrstor(struct context *c);
bool do_ldmxcsr(struct context *c);
bool do_stmxcsr(struct context *c);
bool do_fninit(struct context *c);
bool do_emms(struct context *c);
bool do_fwait(struct context *c);

/* vector.c */
bool do_vector_move(struct context *c);   /* 1 if memory must be aligned; element size << 1 for masks */
bool do_scalar_move(struct context *c);   /* MOVSS 4, VMOVSD 8; also MOVSD */
bool do_movd(struct context *c);          /* MOVD, MOVQ */
bool do_half_move(struct context *c);     /* MOVLPS, MOVHPS and their like: 1 for the high half */
bool do_half_exchange(struct context *c); /* MOVHLPS 0, MOVLHPS 1 */
bool do_broadcast(struct context *c);     /* argument: bytes of the element */
bool do_vzero(struct context *c);         /* argument: 1 for VZEROALL */

#endif

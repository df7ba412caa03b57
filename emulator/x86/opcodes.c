/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is covered: the handler of each mnemonic, its argument, and what the mnemonic means for a batch.
 * A mnemonic that is not here is unknown. Forms of a covered mnemonic may be so as well (MOV to a control
 * register, far calls): their handlers say.
 */
#include "emulator/x86/handlers.h"

#define OP(mnemonic, handler, ...) [ZYDIS_MNEMONIC_##mnemonic] = {handler, __VA_ARGS__}

/* The sixteen conditions, in the order of their codes. */
#define CONDITIONS(prefix, handler)                                                                          \
	OP(prefix##O, handler, 0), OP(prefix##NO, handler, 1), OP(prefix##B, handler, 2),                    \
		OP(prefix##NB, handler, 3), OP(prefix##Z, handler, 4), OP(prefix##NZ, handler, 5),           \
		OP(prefix##BE, handler, 6), OP(prefix##NBE, handler, 7), OP(prefix##S, handler, 8),          \
		OP(prefix##NS, handler, 9), OP(prefix##P, handler, 10), OP(prefix##NP, handler, 11),         \
		OP(prefix##L, handler, 12), OP(prefix##NL, handler, 13), OP(prefix##LE, handler, 14),        \
		OP(prefix##NLE, handler, 15)

#define STRINGS(name, form, handler_d)                                                                       \
	OP(name##B, do_string, form << 4 | 1), OP(name##W, do_string, form << 4 | 2),                        \
		OP(name##D, handler_d, form << 4 | 4), OP(name##Q, do_string, form << 4 | 8)

/* Legacy and VEX form of a vector instruction. */
#define BOTH(mnemonic, ...) OP(mnemonic, __VA_ARGS__), OP(V##mnemonic, __VA_ARGS__)

/* do_vector_move(): aligned or not, bytes of an element for a mask. */
#define ALIGNED(element)   (1 | (element) << 1)
#define UNALIGNED(element) ((element) << 1)

const struct opcode x86_opcode[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	/* integer.c */
	OP(MOV, do_mov), OP(MOVZX, do_mov), OP(MOVNTI, do_mov), OP(MOVSX, do_movsx), OP(MOVSXD, do_movsx),
	OP(MOVBE, do_movbe), OP(LEA, do_lea), OP(BSWAP, do_bswap), OP(CBW, do_convert, 2), OP(CWDE, do_convert, 4),
	OP(CDQE, do_convert, 8), OP(CWD, do_convert_wide, 2), OP(CDQ, do_convert_wide, 4),
	OP(CQO, do_convert_wide, 8), OP(ADD, do_alu, ALU_ADD), OP(OR, do_alu, ALU_OR), OP(ADC, do_alu, ALU_ADC),
	OP(SBB, do_alu, ALU_SBB), OP(AND, do_alu, ALU_AND), OP(SUB, do_alu, ALU_SUB), OP(XOR, do_alu, ALU_XOR),
	OP(CMP, do_alu, ALU_CMP), OP(TEST, do_alu, ALU_TEST), OP(INC, do_unary, UNARY_INC),
	OP(DEC, do_unary, UNARY_DEC), OP(NEG, do_unary, UNARY_NEG), OP(NOT, do_unary, UNARY_NOT),
	OP(XCHG, do_xchg), OP(XADD, do_xadd), OP(CMPXCHG, do_cmpxchg), OP(CMPXCHG8B, do_cmpxchg_wide, 8),
	OP(CMPXCHG16B, do_cmpxchg_wide, 16), OP(XLAT, do_xlat), CONDITIONS(SET, do_setcc),
	CONDITIONS(CMOV, do_cmovcc),

	/* muldiv.c */
	OP(MUL, do_mul), OP(IMUL, do_imul), OP(DIV, do_div), OP(IDIV, do_idiv), OP(MULX, do_mulx),
	OP(ADCX, do_adx, 0), OP(ADOX, do_adx, 11), OP(AAM, do_aam), OP(AAD, do_aad), OP(AAA, do_aaa, 0),
	OP(AAS, do_aaa, 1), OP(DAA, do_daa, 0), OP(DAS, do_daa, 1),

	/* bits.c */
	OP(ROL, do_shift, SHIFT_ROL), OP(ROR, do_shift, SHIFT_ROR), OP(RCL, do_shift, SHIFT_RCL),
	OP(RCR, do_shift, SHIFT_RCR), OP(SHL, do_shift, SHIFT_SHL), OP(SHR, do_shift, SHIFT_SHR),
	OP(SAR, do_shift, SHIFT_SAR), OP(SHLD, do_shift_double, 0), OP(SHRD, do_shift_double, 1),
	OP(SHLX, do_shiftx, SHIFT_SHL), OP(SHRX, do_shiftx, SHIFT_SHR), OP(SARX, do_shiftx, SHIFT_SAR),
	OP(RORX, do_rorx), OP(BT, do_bit_test, BIT_TEST), OP(BTS, do_bit_test, BIT_SET),
	OP(BTR, do_bit_test, BIT_RESET), OP(BTC, do_bit_test, BIT_COMPLEMENT), OP(BSF, do_scan, 0),
	OP(BSR, do_scan, 1), OP(POPCNT, do_popcnt), OP(TZCNT, do_count_zeros, 0), OP(LZCNT, do_count_zeros, 1),
	OP(ANDN, do_andn), OP(BEXTR, do_bextr), OP(BLSI, do_bls, 0), OP(BLSMSK, do_bls, 1), OP(BLSR, do_bls, 2),
	OP(BZHI, do_bzhi), OP(PDEP, do_pdep), OP(PEXT, do_pext), OP(CRC32, do_crc32),

	/* flow.c */
	CONDITIONS(J, do_jcc), OP(JCXZ, do_jcxz), OP(JECXZ, do_jcxz), OP(JRCXZ, do_jcxz), OP(LOOP, do_loop, 0),
	OP(LOOPE, do_loop, 1), OP(LOOPNE, do_loop, 2), OP(JMP, do_jmp), OP(CALL, do_call), OP(RET, do_ret),
	OP(INT3, do_int3, 0, RULE_LAST), OP(INT1, do_int1, 0, RULE_LAST), OP(INTO, do_into), OP(BOUND, do_bound),
	OP(UD0, do_ud), OP(UD1, do_ud), OP(UD2, do_ud), OP(NOP, do_nop), OP(PAUSE, do_pause), OP(ENDBR32, do_nop),
	OP(ENDBR64, do_nop), OP(CLDEMOTE, do_nop), OP(PREFETCH, do_nop), OP(PREFETCHNTA, do_nop),
	OP(PREFETCHT0, do_nop), OP(PREFETCHT1, do_nop), OP(PREFETCHT2, do_nop), OP(PREFETCHW, do_nop),
	OP(PREFETCHWT1, do_nop),

	/* stack.c */
	OP(PUSH, do_push), OP(POP, do_pop), OP(PUSHA, do_pusha, 2), OP(PUSHAD, do_pusha, 4), OP(POPA, do_popa, 2),
	OP(POPAD, do_popa, 4), OP(PUSHF, do_pushf, 2), OP(PUSHFD, do_pushf, 4), OP(PUSHFQ, do_pushf, 8),
	OP(POPF, do_popf, 2), OP(POPFD, do_popf, 4), OP(POPFQ, do_popf, 8), OP(ENTER, do_enter),
	OP(LEAVE, do_leave),

	/* string.c */
	STRINGS(MOVS, STRING_MOVS, do_string_or_vector), STRINGS(STOS, STRING_STOS, do_string),
	STRINGS(LODS, STRING_LODS, do_string), STRINGS(SCAS, STRING_SCAS, do_string),
	STRINGS(CMPS, STRING_CMPS, do_string_or_vector),

	/* system.c */
	OP(CLC, do_flag, 0), OP(STC, do_flag, 1), OP(CMC, do_flag, 2), OP(CLD, do_flag, 3), OP(STD, do_flag, 4),
	OP(LAHF, do_lahf), OP(SAHF, do_sahf), OP(SALC, do_salc), OP(CLI, do_cli), OP(STI, do_sti, 0, RULE_LAST),
	OP(CLAC, do_clac, 0), OP(STAC, do_clac, 1), OP(CLFLUSH, do_clflush), OP(CLFLUSHOPT, do_clflush),
	OP(CLWB, do_clflush), OP(WBINVD, do_wbinvd, 0, RULE_FIRST | RULE_LAST),
	OP(INVD, do_wbinvd, 0, RULE_FIRST | RULE_LAST),
	OP(INVPCID, do_invpcid, 0, RULE_FIRST | RULE_LAST), OP(INVLPG, do_invlpg, 0, RULE_FIRST | RULE_LAST),
	OP(SWAPGS, do_swapgs, 0, RULE_FIRST), OP(RDFSBASE, do_fsgsbase, BASE_RDFS),
	OP(RDGSBASE, do_fsgsbase, BASE_RDGS), OP(WRFSBASE, do_fsgsbase, BASE_WRFS, RULE_FIRST),
	OP(WRGSBASE, do_fsgsbase, BASE_WRGS, RULE_FIRST), OP(RDPID, do_rdpid), OP(RDRAND, do_rdrand, 0),
	OP(RDSEED, do_rdrand, 1), OP(XGETBV, do_xgetbv, 0, RULE_FIRST),
	OP(XSETBV, do_xsetbv, 0, RULE_FIRST | RULE_LAST), OP(LFENCE, do_nop), OP(SFENCE, do_nop),
	OP(MFENCE, do_fence), OP(SERIALIZE, do_fence),

	/* xstate.c */
	OP(XSAVE, do_xsave, XSAVE_PLAIN << 1, RULE_FIRST), OP(XSAVE64, do_xsave, XSAVE_PLAIN << 1 | 1, RULE_FIRST),
	OP(XSAVEOPT, do_xsave, XSAVE_OPT << 1, RULE_FIRST),
	OP(XSAVEOPT64, do_xsave, XSAVE_OPT << 1 | 1, RULE_FIRST),
	OP(XSAVEC, do_xsave, XSAVE_COMPACT << 1, RULE_FIRST),
	OP(XSAVEC64, do_xsave, XSAVE_COMPACT << 1 | 1, RULE_FIRST),
	OP(XSAVES, do_xsave, XSAVE_SUPERVISOR << 1, RULE_FIRST),
	OP(XSAVES64, do_xsave, XSAVE_SUPERVISOR << 1 | 1, RULE_FIRST), OP(XRSTOR, do_xrstor, 0, RULE_FIRST),
	OP(XRSTOR64, do_xrstor, 1, RULE_FIRST), OP(XRSTORS, do_xrstor, 2, RULE_FIRST),
	OP(XRSTORS64, do_xrstor, 3, RULE_FIRST), OP(FXSAVE, do_fxsave, 0, RULE_FIRST),
	OP(FXSAVE64, do_fxsave, 1, RULE_FIRST), OP(FXRSTOR, do_fxrstor, 0, RULE_FIRST),
	OP(FXRSTOR64, do_fxrstor, 1, RULE_FIRST), BOTH(LDMXCSR, do_ldmxcsr), BOTH(STMXCSR, do_stmxcsr),
	OP(FNINIT, do_fninit), OP(EMMS, do_emms), OP(FWAIT, do_fwait),

	/* vector.c */
	BOTH(MOVAPS, do_vector_move, ALIGNED(4)), BOTH(MOVAPD, do_vector_move, ALIGNED(8)),
	BOTH(MOVUPS, do_vector_move, UNALIGNED(4)), BOTH(MOVUPD, do_vector_move, UNALIGNED(8)),
	BOTH(MOVDQA, do_vector_move, ALIGNED(0)), BOTH(MOVDQU, do_vector_move, UNALIGNED(0)),
	BOTH(LDDQU, do_vector_move, UNALIGNED(0)), BOTH(MOVNTPS, do_vector_move, ALIGNED(0)),
	BOTH(MOVNTPD, do_vector_move, ALIGNED(0)), BOTH(MOVNTDQ, do_vector_move, ALIGNED(0)),
	BOTH(MOVNTDQA, do_vector_move, ALIGNED(0)), OP(VMOVDQA32, do_vector_move, ALIGNED(4)),
	OP(VMOVDQA64, do_vector_move, ALIGNED(8)), OP(VMOVDQU8, do_vector_move, UNALIGNED(1)),
	OP(VMOVDQU16, do_vector_move, UNALIGNED(2)), OP(VMOVDQU32, do_vector_move, UNALIGNED(4)),
	OP(VMOVDQU64, do_vector_move, UNALIGNED(8)), BOTH(MOVSS, do_scalar_move, 4),
	OP(VMOVSD, do_scalar_move, 8), BOTH(MOVD, do_movd), BOTH(MOVQ, do_movd), BOTH(MOVLPS, do_half_move, 0),
	BOTH(MOVLPD, do_half_move, 0), BOTH(MOVHPS, do_half_move, 1), BOTH(MOVHPD, do_half_move, 1),
	BOTH(MOVHLPS, do_half_exchange, 0), BOTH(MOVLHPS, do_half_exchange, 1),
	OP(VBROADCASTSS, do_broadcast, 4), OP(VBROADCASTSD, do_broadcast, 8),
	OP(VBROADCASTF128, do_broadcast, 16), OP(VBROADCASTI128, do_broadcast, 16),
	OP(VPBROADCASTB, do_broadcast, 1), OP(VPBROADCASTW, do_broadcast, 2),
	OP(VPBROADCASTD, do_broadcast, 4), OP(VPBROADCASTQ, do_broadcast, 8), OP(VZEROUPPER, do_vzero, 0),
	OP(VZEROALL, do_vzero, 1),
};

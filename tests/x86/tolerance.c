/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What two correct processors may do differently: flags that the manual leaves undefined, faults that may
 * leave memory half written, and instructions that cannot be compared here. Each entry names its source, the
 * entry of the instruction in the Intel SDM, volume 2 ("Flags Affected"), unless said otherwise.
 */
#include "tests/x86/differential.h"

#include <cpuid.h>

#define CF          0x001u
#define PF          0x004u
#define AF          0x010u
#define ZF          0x040u
#define SF          0x080u
#define OF          0x800u
#define M(mnemonic) ZYDIS_MNEMONIC_##mnemonic

static const struct undefined {
	ZydisMnemonic mnemonic;
	uint32_t flags;
} undefined[] = {
	{M(AAA), OF | SF | ZF | PF}, /* "The OF, SF, ZF, and PF flags are undefined" */
	{M(AAS), OF | SF | ZF | PF},
	{M(AAD), OF | AF | CF},
	{M(AAM), OF | AF | CF},
	{M(DAA), OF},
	{M(DAS), OF},
	{M(AND), AF},
	{M(OR), AF},
	{M(XOR), AF},
	{M(TEST), AF},
	{M(MUL), SF | ZF | AF | PF},
	{M(IMUL), SF | ZF | AF | PF},
	{M(DIV), CF | OF | SF | ZF | AF | PF},
	{M(IDIV), CF | OF | SF | ZF | AF | PF},
	{M(BSF), CF | OF | SF | AF | PF},
	{M(BSR), CF | OF | SF | AF | PF},
	{M(BT), OF | SF | AF | PF},
	{M(BTS), OF | SF | AF | PF},
	{M(BTR), OF | SF | AF | PF},
	{M(BTC), OF | SF | AF | PF},
	{M(TZCNT), OF | SF | PF | AF},
	{M(LZCNT), OF | SF | PF | AF},
	{M(ANDN), AF | PF},
	{M(BEXTR), AF | SF | PF},
	{M(BLSI), AF | PF},
	{M(BLSMSK), AF | PF},
	{M(BLSR), AF | PF},
	{M(BZHI), AF | PF},
	/* Counts of more than 1 (OF), counts of the operand's size and more (CF), AF: "SAL/SAR/SHL/SHR". */
	{M(SHL), OF | AF | CF},
	{M(SHR), OF | AF | CF},
	{M(SAR), OF | AF | CF},
	{M(SHLD), OF | AF},
	{M(SHRD), OF | AF},
	{M(ROL), OF},
	{M(ROR), OF},
	{M(RCL), OF},
	{M(RCR), OF},
};

uint64_t flags_undefined(const ZydisDecodedInstruction *insn)
{
	for (unsigned i = 0; i < sizeof(undefined) / sizeof(*undefined); i++)
		if (undefined[i].mnemonic == insn->mnemonic)
			return undefined[i].flags;
	return 0;
}

bool fault_is_loose(const ZydisDecodedInstruction *insn)
{
	switch (insn->mnemonic) {
	case M(PUSHA):
	case M(PUSHAD):
	case M(ENTER): /* stores of the levels before the one that faults may have been made */
	case M(XSAVE):
	case M(XSAVE64):
	case M(XSAVEC):
	case M(XSAVEC64):
	case M(XSAVEOPT):
	case M(XSAVEOPT64): /* SDM 1, 13.7: parts may have been written, in any order */
	case M(XRSTOR):
	case M(XRSTOR64):
	case M(FXSAVE):
	case M(FXSAVE64):
	case M(FXRSTOR):
	case M(FXRSTOR64):
		return true;
	default:
		return false;
	}
}

/* CPUID leaf 7 and 1 bits of what not every processor with AVX has. */
static const struct feature {
	ZydisISAExt extension;
	uint32_t leaf;
	unsigned reg, bit; /* reg: 1 ebx, 2 ecx, 3 edx */
} features[] = {
	{ZYDIS_ISA_EXT_ADOX_ADCX, 7, 1, 19},  {ZYDIS_ISA_EXT_BMI1, 7, 1, 3},
	{ZYDIS_ISA_EXT_BMI2, 7, 1, 8},        {ZYDIS_ISA_EXT_AVX2, 7, 1, 5},
	{ZYDIS_ISA_EXT_AVX512EVEX, 7, 1, 16}, {ZYDIS_ISA_EXT_AVX512VEX, 7, 1, 16},
	{ZYDIS_ISA_EXT_CLFLUSHOPT, 7, 1, 23}, {ZYDIS_ISA_EXT_CLWB, 7, 1, 24},
	{ZYDIS_ISA_EXT_RDPID, 7, 2, 22},      {ZYDIS_ISA_EXT_SERIALIZE, 7, 3, 14},
	{ZYDIS_ISA_EXT_MOVBE, 1, 2, 22},      {ZYDIS_ISA_EXT_LZCNT, 0x80000001, 2, 5},
	{ZYDIS_ISA_EXT_RDRAND, 1, 2, 30},
};

static bool processor_has(ZydisISAExt extension)
{
	for (unsigned i = 0; i < sizeof(features) / sizeof(*features); i++) {
		unsigned r[4] = {0};

		if (features[i].extension != extension)
			continue;
		return __get_cpuid_count(features[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]) &&
		       (r[features[i].reg] >> features[i].bit & 1);
	}
	return true;
}

const char *exclusion(const ZydisDecodedInstruction *insn)
{
	if (!processor_has(insn->meta.isa_ext))
		return "this processor does not have it";
	switch (insn->mnemonic) {
	case M(RDRAND):
	case M(RDSEED):
		return "its result is random";
	case M(INT1):
		return "hypervisors below this system report it as a fault, not as a trap";
	default:
		return NULL;
	}
}

/* PREFETCHW of a register is #UD on some processors and NOP on others. */
bool encoding_varies(const ZydisDecodedInstruction *insn)
{
	return insn->mnemonic == M(NOP) && insn->opcode == 0x0d && insn->opcode_map == ZYDIS_OPCODE_MAP_0F;
}

/* "UD": some processors do not decode a ModRM byte behind the opcode, so they do not fetch it either. */
bool length_varies(const ZydisDecodedInstruction *insn)
{
	return insn->mnemonic == M(UD0) || insn->mnemonic == M(UD1);
}

/* #AC for accesses of more than 8 bytes, and under a mask: SDM 2, table 2-21, leaves it to the processor. */
bool alignment_varies(const struct instruction *in)
{
	if (in->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return true;
	if (in->insn.mnemonic == M(ENTER)) /* which of its faults comes first */
		return true;
	for (unsigned i = 0; i < in->insn.operand_count; i++)
		if (in->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in->op[i].size > 64)
			return true;
	return false;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the forms of instructions that the emulator covers, and makes random instructions of a form.
 *
 * Theory of operation: all opcodes of all maps, with the prefixes, VEX and EVEX fields and ModRM classes that
 * can make a difference, go through the decoder. What decodes to a mnemonic that the emulator's table has is
 * an encoding of a form; the form's name is made of the mnemonic and the operands as the decoder describes
 * them. An instance of an encoding gets random registers, addressing, displacement and immediates, and is
 * accepted if the decoder still gives it the name of its form.
 */
#include "tests/x86/differential.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/x86/internal.h"

#define MAX_FORMS 8192u
#define BUCKETS   16384u

struct form *forms;
unsigned form_count;
static unsigned bucket[BUCKETS]; /* index + 1 */

static ZydisDecoder *decoder_for(unsigned bits)
{
	static ZydisDecoder decoder[2];
	ZydisDecoder *d = &decoder[bits == 64];
	struct x86_machine machine;

	if (d->machine_mode || d->stack_width)
		return d;
	x86_machine_init(&machine, NULL);
	if (bits == 64)
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_AMD_BRANCHES, bits == 64 && machine.amd_branches);
	ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	return d;
}

bool instruction_parse(struct instruction *in, unsigned bits)
{
	return ZYAN_SUCCESS(
		ZydisDecoderDecodeFull(decoder_for(bits), in->bytes, MAX_BYTES, &in->insn, in->op));
}

void instruction_text(const struct instruction *in, char *text, unsigned size)
{
	static ZydisFormatter formatter;

	if (!formatter.style)
		ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&formatter, &in->insn, in->op, in->insn.operand_count_visible, text,
					size, CODE, NULL);
}

/* --- Names. */

static int operand_name(const struct instruction *in, const ZydisDecodedOperand *op, char *to, size_t size)
{
	static const char *const classes[] = {
		[ZYDIS_REGCLASS_GPR8] = "r8",   [ZYDIS_REGCLASS_GPR16] = "r16",
		[ZYDIS_REGCLASS_GPR32] = "r32", [ZYDIS_REGCLASS_GPR64] = "r64",
		[ZYDIS_REGCLASS_MMX] = "mm",    [ZYDIS_REGCLASS_XMM] = "xmm",
		[ZYDIS_REGCLASS_YMM] = "ymm",   [ZYDIS_REGCLASS_ZMM] = "zmm",
		[ZYDIS_REGCLASS_MASK] = "k",    [ZYDIS_REGCLASS_SEGMENT] = "sreg",
	};
	unsigned class;

	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return snprintf(to, size, "m%u", op->size);
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return snprintf(to, size, "%s%u", op->imm.is_relative ? "rel" : "imm",
				op->encoding == ZYDIS_OPERAND_ENCODING_NONE ? 1 : in->insn.raw.imm[0].size);
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (op->encoding == ZYDIS_OPERAND_ENCODING_MASK)
			return snprintf(to, size, "%s",
					op->reg.value == ZYDIS_REGISTER_K0                  ? "k0"
					: in->insn.avx.mask.mode == ZYDIS_MASK_MODE_ZEROING ? "{z}"
											    : "{k}");
		class = ZydisRegisterGetClass(op->reg.value);
		if (op->encoding == ZYDIS_OPERAND_ENCODING_NONE ||
		    class >= sizeof(classes) / sizeof(*classes) || !classes[class])
			return snprintf(to, size, "%s", ZydisRegisterGetString(op->reg.value));
		return snprintf(to, size, "%s", classes[class]);
	default:
		return snprintf(to, size, "far");
	}
}

static const char *prefix_name(const ZydisDecodedInstruction *insn)
{
	if (insn->attributes & ZYDIS_ATTRIB_HAS_LOCK)
		return "lock ";
	if (insn->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
		return "rep ";
	return insn->attributes & ZYDIS_ATTRIB_HAS_REPNE ? "repne " : "";
}

static void form_name(const struct instruction *in, unsigned bits, char *name, size_t size)
{
	const ZydisDecodedInstruction *insn = &in->insn;
	int at = snprintf(name, size, "%s%s%s", prefix_name(insn), ZydisMnemonicGetString(insn->mnemonic),
			  insn->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ? " evex" : "");

	for (unsigned i = 0; i < insn->operand_count_visible && at < (int)size - 8; i++) {
		at += snprintf(name + at, size - (size_t)at, i ? "," : " ");
		at += operand_name(in, &in->op[i], name + at, size - (size_t)at);
	}
	if (at < (int)size)
		at += snprintf(name + at, size - (size_t)at, "%s/%u",
			       insn->address_width == bits ? ""
			       : insn->address_width == 16 ? " a16"
							   : " a32",
			       bits);
}

/* --- Enumeration. */

static unsigned hash(const char *s)
{
	unsigned h = 5381;

	while (*s)
		h = h * 33 + (unsigned char)*s++;
	return h;
}

static struct form *form_find(const char *name, unsigned bits)
{
	unsigned at = hash(name) % BUCKETS;
	struct form *f;

	for (; bucket[at]; at = (at + 1) % BUCKETS)
		if (!strcmp(forms[bucket[at] - 1].name, name))
			return &forms[bucket[at] - 1];
	if (form_count == MAX_FORMS)
		abort();
	bucket[at] = ++form_count;
	f = &forms[form_count - 1];
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->bits = bits;
	return f;
}

/* Prefixes that do nothing would give every form many names. */
static bool prefixes_useful(const ZydisDecodedInstruction *insn)
{
	const uint64_t hints = ZYDIS_ATTRIB_HAS_BND | ZYDIS_ATTRIB_HAS_XACQUIRE | ZYDIS_ATTRIB_HAS_XRELEASE |
			       ZYDIS_ATTRIB_HAS_NOTRACK;

	for (unsigned i = 0; i < insn->raw.prefix_count; i++)
		if (insn->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_IGNORED &&
		    (insn->raw.prefixes[i].value & 0xf0) != 0x40)
			return false;
	return !(insn->attributes & hints);
}

static bool encoding_add(struct instruction *in, unsigned bits)
{
	ZydisDecodedInstruction *insn = &in->insn;
	struct encoding e = {.prefixes = 0};
	struct form *f;
	char name[64];

	if (!x86_opcode[insn->mnemonic].execute || !prefixes_useful(insn) || encoding_varies(insn))
		return false;
	form_name(in, bits, name, sizeof(name));
	f = form_find(name, bits);
	f->excluded = exclusion(insn);
	e.length = insn->length;
	if (insn->raw.modrm.offset)
		e.length = insn->raw.modrm.offset + 1;
	else if (insn->raw.disp.size)
		e.length = insn->raw.disp.offset;
	else if (insn->raw.imm[0].size)
		e.length = insn->raw.imm[0].offset;
	memcpy(e.bytes, in->bytes, e.length);
	e.modrm = insn->raw.modrm.offset;
	if (insn->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		e.rex = insn->attributes & ZYDIS_ATTRIB_HAS_REX ? insn->raw.rex.offset + 1 : 0;
	else
		e.vex = insn->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? 1 : 2;
	if (f->encodings % 8 == 0)
		f->encoding = realloc(f->encoding, (f->encodings + 8) * sizeof(e));
	if (!f->encoding)
		abort();
	f->encoding[f->encodings++] = e;
	return true;
}

/* The ModRM bytes of one opcode, after `length` bytes of prefixes and opcode. */
static void walk_modrm(struct instruction *in, unsigned length, unsigned bits, bool rm_matters)
{
	for (unsigned n = 0; n < 72; n++) {
		uint8_t modrm = n < 8 ? 0x40 | (uint8_t)n << 3 | 3 : 0xc0 | (uint8_t)(n - 8);

		/* Of registers only the first, where others are no other instruction. */
		if (n >= 8 && (modrm & 7) && !rm_matters)
			continue;
		in->bytes[length] = modrm;
		if (!instruction_parse(in, bits))
			continue;
		encoding_add(in, bits);
		if (!in->insn.raw.modrm.offset)
			return;
	}
}

/* Behind other prefixes this is one more prefix, not an opcode. */
static bool is_prefix(unsigned op, unsigned bits)
{
	return op == 0x26 || op == 0x2e || op == 0x36 || op == 0x3e || (op >= 0x64 && op <= 0x67) ||
	       op == 0xf0 || op == 0xf2 || op == 0xf3 || (bits == 64 && op >= 0x40 && op <= 0x4f);
}

static void walk_legacy(unsigned bits)
{
	static const uint8_t prefixes[][3] = {{0},       {1, 0x66},       {1, 0xf2},       {1, 0xf3},
					      {1, 0xf0}, {2, 0x66, 0xf0}, {2, 0x66, 0xf2}, {2, 0x66, 0xf3},
					      {1, 0x67}, {2, 0x67, 0xf3}, {2, 0x67, 0x66}};
	static const uint8_t maps[][3] = {{0}, {1, 0x0f}, {2, 0x0f, 0x38}, {2, 0x0f, 0x3a}};
	struct instruction in;

	for (unsigned p = 0; p < sizeof(prefixes) / sizeof(*prefixes); p++)
		for (unsigned rex = 0; rex < (bits == 64 ? 3u : 1u); rex++)
			for (unsigned op = 0; op < 0x400; op++) {
				unsigned n = prefixes[p][0], map = op >> 8;

				if (is_prefix(op, bits))
					continue;
				memset(in.bytes, 0, sizeof(in.bytes));
				memcpy(in.bytes, prefixes[p] + 1, n);
				if (rex)
					in.bytes[n++] = rex == 1 ? 0x40 : 0x48;
				memcpy(in.bytes + n, maps[map] + 1, maps[map][0]);
				n += maps[map][0];
				in.bytes[n++] = (uint8_t)op;
				/* 0F 01 has an instruction for each ModRM; 0F AE nearly so. */
				walk_modrm(&in, n, bits, op == 0x101);
			}
}

static void walk_vex(unsigned bits)
{
	struct instruction in;

	for (unsigned n = 0; n < 3u << 12; n++) {
		unsigned w = n >> 8 & 1, l = n >> 9 & 1, pp = n >> 10 & 3, map = (n >> 12) + 1;

		memset(in.bytes, 0, sizeof(in.bytes));
		in.bytes[0] = 0xc4;
		in.bytes[1] = 0xe0 | (uint8_t)map;
		in.bytes[2] = (uint8_t)(w << 7 | 0x78 | l << 2 | pp);
		in.bytes[3] = (uint8_t)n;
		walk_modrm(&in, 4, bits, false);
	}
}

static void walk_evex(unsigned bits)
{
	static const uint8_t masks[] = {0, 1, 0x81};
	struct instruction in;

	for (unsigned n = 0; n < 3u * 3 * 2 * 4 << 9; n++) {
		unsigned w = n >> 8 & 1, reg = n >> 9 & 1, pp = n >> 10 & 3;
		unsigned rest = n >> 12, mask = rest % 3, ll = rest / 3 % 3, map = rest / 9 + 1;

		if (map > 3)
			break;
		memset(in.bytes, 0, sizeof(in.bytes));
		in.bytes[0] = 0x62;
		in.bytes[1] = 0xf0 | (uint8_t)map;
		in.bytes[2] = (uint8_t)(w << 7 | 0x7c | pp);
		in.bytes[3] = (uint8_t)(ll << 5 | 8 | masks[mask]);
		in.bytes[4] = (uint8_t)n;
		in.bytes[5] = reg ? 0xc0 : 0x43;
		if (instruction_parse(&in, bits))
			encoding_add(&in, bits);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct form *)a)->name, ((const struct form *)b)->name);
}

void forms_enumerate(void)
{
	forms = calloc(MAX_FORMS, sizeof(*forms));
	if (!forms)
		abort();
	for (unsigned bits = 32; bits <= 64; bits += 32) {
		walk_legacy(bits);
		walk_vex(bits);
		walk_evex(bits);
	}
	qsort(forms, form_count, sizeof(*forms), by_name);
}

/* --- Instances. */

static void vary_fields(uint8_t *b, const struct encoding *e, struct random *r, unsigned bits)
{
	uint64_t x = random_next(r);

	if (e->rex)
		b[e->rex - 1] |= x & 7;
	if (e->vex && bits == 64) /* R, X, B; for EVEX R' too */
		b[1] ^= x & (e->vex == 1 ? 0xe0 : 0xf0);
	if (e->vex && (x >> 8 & 1)) /* vvvv */
		b[2] ^= x >> 16 & (bits == 64 ? 0x78 : 0x38);
	if (e->vex == 2 && (x >> 9 & 1)) /* V' */
		b[3] ^= bits == 64 ? 8 : 0;
	if (e->vex == 2 && (b[3] & 7)) /* the mask */
		b[3] = (b[3] & 0xf8) | (1 + (x >> 24) % 7);
	x >>= 32;
	if (!e->modrm)
		return;
	if (b[e->modrm] < 0xc0) {
		uint8_t mod = "\x00\x40\x40\x80"[x & 3], rm = x >> 2 & 7;

		b[e->modrm] = mod | (b[e->modrm] & 0x38) | rm;
	} else if (!(e->modrm >= 2 && b[e->modrm - 1] == 0x01 && b[e->modrm - 2] == 0x0f)) {
		b[e->modrm] = (b[e->modrm] & 0xf8) | (x & 7);
	}
}

void form_instance(const struct form *form, struct random *r, struct instruction *out)
{
	for (unsigned tries = 0;; tries++) {
		const struct encoding *e = &form->encoding[random_below(r, form->encodings)];
		char name[64];

		memcpy(out->bytes, e->bytes, MAX_BYTES);
		for (unsigned i = e->length; i < MAX_BYTES; i++)
			out->bytes[i] = (uint8_t)(one_in(r, 3) ? random_below(r, 32) : random_next(r));
		if (tries < 500)
			vary_fields(out->bytes, e, r, form->bits);
		if (form->bits == 64 && e->modrm && one_in(r, 16)) { /* gs: */
			memmove(out->bytes + 1, out->bytes, MAX_BYTES - 1);
			out->bytes[0] = 0x65;
		}
		if (!instruction_parse(out, form->bits))
			continue;
		form_name(out, form->bits, name, sizeof(name));
		if (!strcmp(name, form->name) || tries > 1000)
			return;
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XSAVE, XRSTOR and their variants: SDM 1, 13.7 to 13.12.
 *
 * Theory of operation: a save writes pieces of the image to where the format puts them in the guest's area. A
 * restore reads all that it needs into a copy first, then checks, then changes the state: a fault leaves
 * it alone. The guest's header decides nothing but which components are loaded.
 *
 * Not covered: supervisor components, which KVM_GET_XSAVE2 does not contain.
 */
#include "emulator/x86/xstate.h"

#define XCOMP_COMPACTED BIT(63)

/* Bits of a component that code of less than 64 bits saves and restores: it has 8 vector registers. */
static uint32_t component_bytes(const struct context *c, unsigned i, uint32_t size)
{
	if (c->code_bits == 64)
		return size;
	if (i == XCOMPONENT_AVX && size > 128)
		return 128;
	if (i == XCOMPONENT_ZMM && size > 256)
		return 256;
	return i == XCOMPONENT_ZMM_HIGH ? 0 : size;
}

/* RFBM, after the checks that the whole XSAVE family makes. */
static bool xsave_begin(struct context *c, bool supervisor, uint64_t *enabled, uint64_t *rfbm)
{
	if (!(c->s->cr4 & CR4_OSXSAVE))
		return ud(c);
	if (c->s->cr0 & CR0_TS)
		return stop_exception(c, VECTOR_NM);
	if (supervisor && c->cpl)
		return gp0(c);
	if (!state_needed(c, X86_XCR0 | X86_XSTATE | (supervisor ? X86_MSRS : 0)) || !xstate_ready(c))
		return false;
	*enabled = c->s->xcr0 | (supervisor ? c->s->xss : 0);
	*rfbm = (gpr_read(c, X86_RDX, 4) << 32 | gpr_read(c, X86_RAX, 4)) & *enabled;
	for (unsigned i = 2; i < 64; i++)
		if ((*rfbm & BIT(i)) && !xstate_place(c, i))
			return stop_unknown(c, "component without state");
	return true;
}

static bool xsave_area(struct context *c, uint32_t size, enum access access, uint64_t *linear)
{
	if (!operand_linear(c, 0, size, access, linear))
		return false;
	return !(*linear & 63) || gp0(c);
}

/* --- Saving. */

struct xsave {
	uint64_t linear;
	uint64_t rfbm, save; /* asked for; to be written */
	bool compacted, wide;
};

/* Where component i goes in the guest's area; *next is the end of the compacted format so far. */
static uint32_t component_place(const struct x86_xcomponent *x, bool compacted, uint32_t *next)
{
	uint32_t at;

	if (!compacted)
		return x->offset;
	at = x->align ? (*next + 63) & ~63u : *next;
	*next = at + x->size;
	return at;
}

static bool components_save(struct context *c, const struct xsave *x)
{
	uint32_t next = AREA_EXTENDED;

	for (unsigned i = 2; i < X86_XCOMPONENTS; i++) {
		const struct x86_xcomponent *part = xstate_place(c, i);
		uint32_t at;

		if (!(x->rfbm & BIT(i)) || !part)
			continue;
		at = component_place(part, x->compacted, &next);
		if ((x->save & BIT(i)) && !linear_write(c, x->linear + at, xstate_image(c) + part->offset,
							component_bytes(c, i, part->size)))
			return false;
	}
	return true;
}

static uint32_t xsave_bytes(const struct context *c, uint64_t components, bool compacted)
{
	uint32_t next = AREA_EXTENDED, end = AREA_EXTENDED;

	for (unsigned i = 2; i < X86_XCOMPONENTS; i++)
		if (components & BIT(i)) {
			const struct x86_xcomponent *x = &c->machine->xcomponent[i];
			uint32_t at = component_place(x, compacted, &next);

			if (at + x->size > end)
				end = at + x->size;
		}
	return end;
}

static bool header_save(struct context *c, const struct xsave *x, uint64_t in_use)
{
	uint64_t header[2] = {x->save, x->rfbm | XCOMP_COMPACTED};

	if (x->compacted)
		return linear_write(c, x->linear + AREA_HEADER, header, 16);
	if (!linear_read(c, x->linear + AREA_HEADER, header, 8, ACCESS_WRITE))
		return false;
	header[0] = (header[0] & ~x->rfbm) | (in_use & x->rfbm);
	return linear_write(c, x->linear + AREA_HEADER, header, 8);
}

bool do_xsave(struct context *c)
{
	enum xsave_form form = c->opcode->argument >> 1;
	struct xsave x = {.compacted = form == XSAVE_COMPACT || form == XSAVE_SUPERVISOR,
			  .wide = c->opcode->argument & 1};
	uint64_t enabled, in_use;
	uint32_t bytes;
	bool mxcsr;

	if (!xsave_begin(c, form == XSAVE_SUPERVISOR, &enabled, &x.rfbm))
		return false;
	bytes = xsave_bytes(c, x.rfbm, x.compacted);
	/* All of the area must be writable, also what will be left out. */
	if (!xsave_area(c, bytes, ACCESS_WRITE, &x.linear) || !linear_probe_write(c, x.linear, bytes))
		return false;
	in_use = xstate_in_use(c);
	if (x.compacted && !xstate_mxcsr_initial(c))
		in_use |= BIT(XCOMPONENT_SSE); /* SDM 1, 13.10 */
	x.save = form == XSAVE_PLAIN ? x.rfbm : x.rfbm & in_use;
	mxcsr = x.compacted ? x.save & BIT(XCOMPONENT_SSE)
			    : x.rfbm & (BIT(XCOMPONENT_SSE) | BIT(XCOMPONENT_AVX));
	return xstate_legacy_save(c, x.linear, x.save & BIT(XCOMPONENT_X87), mxcsr,
				  x.save & BIT(XCOMPONENT_SSE), x.wide) &&
	       header_save(c, &x, in_use) && components_save(c, &x);
}

/* --- Restoring. */

struct xrstor {
	uint64_t linear;
	uint64_t enabled, rfbm;
	uint64_t present, layout; /* XSTATE_BV and XCOMP_BV of the guest's area */
	bool compacted, supervisor, wide;
	uint8_t copy[X86_XSTATE_BYTES]; /* what is loaded, at its place in the standard format */
};

/* SDM 1, 13.8 and 13.12: what an XSAVE header must be. */
static bool header_valid(const struct xrstor *x, const uint8_t *header)
{
	unsigned zero_from = x->compacted ? 16 : 8, zero_to = x->compacted ? 64 : 24;

	for (unsigned i = zero_from; i < zero_to; i++)
		if (header[i])
			return false;
	if (!x->compacted)
		return !x->supervisor && !(x->present & ~x->enabled);
	return !(x->layout & ~XCOMP_COMPACTED & ~x->enabled) &&
	       !(x->present & ~(x->layout & ~XCOMP_COMPACTED));
}

static bool header_read(struct context *c, struct xrstor *x)
{
	uint8_t header[64];

	if (!linear_read(c, x->linear + AREA_HEADER, header, sizeof(header), ACCESS_READ))
		return false;
	x->present = load64(header);
	x->layout = load64(header + 8);
	x->compacted = x->layout & XCOMP_COMPACTED;
	if (!header_valid(x, header))
		return gp0(c);
	for (unsigned i = 2; x->compacted && i < 63; i++)
		if ((x->layout & BIT(i)) && (i >= X86_XCOMPONENTS || !c->machine->xcomponent[i].size))
			return stop_unknown(c, "component of unknown size");
	return true;
}

static bool components_read(struct context *c, struct xrstor *x)
{
	uint32_t next = AREA_EXTENDED;

	for (unsigned i = 2; i < X86_XCOMPONENTS; i++) {
		const struct x86_xcomponent *part = &c->machine->xcomponent[i];
		uint32_t at;

		if (x->compacted ? !(x->layout & BIT(i)) : !(x->rfbm & BIT(i)))
			continue;
		at = component_place(part, x->compacted, &next);
		if ((x->rfbm & x->present & BIT(i)) &&
		    !linear_read(c, x->linear + at, x->copy + part->offset, component_bytes(c, i, part->size),
				 ACCESS_READ))
			return false;
	}
	return true;
}

/* Is MXCSR loaded from memory? The compacted format treats it as part of SSE. */
static bool mxcsr_loaded(const struct xrstor *x)
{
	if (x->compacted)
		return x->rfbm & x->present & BIT(XCOMPONENT_SSE);
	return x->rfbm & (BIT(XCOMPONENT_SSE) | BIT(XCOMPONENT_AVX));
}

static bool legacy_read(struct context *c, struct xrstor *x)
{
	if (!linear_read(c, x->linear, x->copy, AREA_XMM_END, ACCESS_READ))
		return false;
	return !mxcsr_loaded(x) || xstate_mxcsr_valid(c, load32(x->copy + AREA_MXCSR)) || gp0(c);
}

/* Their registers from 8 on exist in 64-bit mode only: elsewhere XRSTOR leaves them alone (SDM 1, 13.5). */
#define VECTOR_COMPONENTS                                                                                    \
	(BIT(XCOMPONENT_SSE) | BIT(XCOMPONENT_AVX) | BIT(XCOMPONENT_ZMM) | BIT(XCOMPONENT_ZMM_HIGH))

/* Nothing fails from here on. What is not present is zero in the copy, which is the initial configuration of
 * everything but x87. */
static void component_restore(struct context *c, const struct xrstor *x, unsigned i)
{
	const struct x86_xcomponent *part = xstate_place(c, i);

	if (i == XCOMPONENT_X87 && !(x->present & BIT(XCOMPONENT_X87)))
		xstate_initialise(c, XCOMPONENT_X87);
	else if (i == XCOMPONENT_X87)
		xstate_x87_load(c, x->copy, x->wide);
	else if (i == XCOMPONENT_SSE)
		memcpy(xstate_image(c) + AREA_XMM, x->copy + AREA_XMM, xmm_bytes(c));
	else if (part)
		memcpy(xstate_image(c) + part->offset, x->copy + part->offset,
		       component_bytes(c, i, part->size));
}

static void restore(struct context *c, struct xrstor *x)
{
	uint64_t in_use = xstate_in_use(c), kept;
	uint32_t mxcsr = load32(xstate_image(c) + AREA_MXCSR);

	if (mxcsr_loaded(x))
		mxcsr = load32(x->copy + AREA_MXCSR);
	else if (x->compacted && (x->rfbm & BIT(XCOMPONENT_SSE)))
		mxcsr = MXCSR_INITIAL;
	if (!(x->present & BIT(XCOMPONENT_SSE)))
		memset(x->copy + AREA_XMM, 0, AREA_XMM_END - AREA_XMM);
	for (unsigned i = 0; i < X86_XCOMPONENTS; i++)
		if (x->rfbm & BIT(i))
			component_restore(c, x, i);
	store32(xstate_image(c) + AREA_MXCSR, mxcsr);
	kept = c->code_bits == 64 ? 0 : VECTOR_COMPONENTS; /* the registers from 8 on */
	in_use = (in_use & (~x->rfbm | kept)) | (x->present & x->rfbm);
	if (mxcsr != MXCSR_INITIAL)
		in_use |= BIT(XCOMPONENT_SSE); /* otherwise KVM would not take it */
	store64(xstate_image(c) + AREA_HEADER, in_use);
	xstate_written(c, 0);
}

bool do_xrstor(struct context *c)
{
	struct xrstor x = {.supervisor = c->opcode->argument >> 1, .wide = c->opcode->argument & 1};

	if (!xsave_begin(c, x.supervisor, &x.enabled, &x.rfbm) ||
	    !xsave_area(c, AREA_EXTENDED, ACCESS_READ, &x.linear) || !header_read(c, &x))
		return false;
	/* Once more, with the size that the header says. */
	if (!xsave_area(c,
			xsave_bytes(c, x.compacted ? x.layout & ~XCOMP_COMPACTED : x.rfbm & x.present,
				    x.compacted),
			ACCESS_READ, &x.linear))
		return false;
	if (!legacy_read(c, &x) || !components_read(c, &x))
		return false;
	restore(c, &x);
	return true;
}

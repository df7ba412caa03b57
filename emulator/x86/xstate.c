/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saving and restoring the XSAVE state: SDM 1, chapter 13.
 *
 * Theory of operation: the state is an image in the standard format. At first use in a run the components
 * that its XSTATE_BV leaves out are set to their initial configuration, so that all of it can be read as it
 * is; XSTATE_BV stays what the processor calls XINUSE. A save is a list of pieces of that image and where in
 * the guest's area they go. A restore reads all that it needs into a copy first, then checks, then changes
 * the state: a fault leaves it alone. The guest's header decides nothing but which components are loaded;
 * sizes and places are the machine's.
 *
 * Not covered: supervisor components, which KVM_GET_XSAVE2 does not contain.
 */
#include "emulator/x86/handlers.h"

#define AREA_MXCSR    24u
#define AREA_ST       32u
#define AREA_XMM      160u
#define AREA_XMM_END  416u
#define AREA_HEADER   512u
#define AREA_EXTENDED 576u

#define MXCSR_INITIAL   0x1f80u
#define XCOMP_COMPACTED BIT(63)

static uint64_t load64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, 8);
	return v;
}

static uint32_t load32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, 4);
	return v;
}

static void store64(uint8_t *to, uint64_t v)
{
	memcpy(to, &v, 8);
}

static void store32(uint8_t *to, uint32_t v)
{
	memcpy(to, &v, 4);
}

static uint8_t *image(struct context *c)
{
	return c->cpu->xstate.image;
}

static const struct x86_xcomponent *xcomponent(const struct context *c, unsigned i)
{
	const struct x86_xcomponent *x = &c->machine->xcomponent[i];

	if (i < 2 || i >= X86_XCOMPONENTS || !x->size || x->supervisor || x->offset < AREA_EXTENDED ||
	    (uint32_t)x->offset + x->size > c->cpu->xstate.size)
		return NULL;
	return x;
}

uint8_t *xstate_component(struct context *c, unsigned i)
{
	const struct x86_xcomponent *x;

	if (i == XCOMPONENT_SSE)
		return image(c) + AREA_XMM;
	x = xcomponent(c, i);
	return x ? image(c) + x->offset : NULL;
}

uint64_t xstate_in_use(struct context *c)
{
	return load64(image(c) + AREA_HEADER);
}

void xstate_written(struct context *c, uint64_t components)
{
	store64(image(c) + AREA_HEADER, xstate_in_use(c) | components);
	c->cpu->changed |= X86_XSTATE;
}

static void initialise_x87(uint8_t *area)
{
	memset(area, 0, AREA_MXCSR);
	memset(area + AREA_ST, 0, AREA_XMM - AREA_ST);
	area[0] = 0x7f;
	area[1] = 0x03;
}

static void initialise_component(struct context *c, unsigned i)
{
	const struct x86_xcomponent *x = xcomponent(c, i);

	if (i == XCOMPONENT_X87)
		initialise_x87(image(c));
	else if (i == XCOMPONENT_SSE)
		memset(image(c) + AREA_XMM, 0, AREA_XMM_END - AREA_XMM);
	else if (x)
		memset(image(c) + x->offset, 0, x->size);
}

bool xstate_ready(struct context *c)
{
	uint64_t in_use;

	if (!state_needed(c, X86_XSTATE))
		return false;
	if (c->normalised)
		return true;
	c->normalised = true;
	in_use = xstate_in_use(c);
	for (unsigned i = 0; i < X86_XCOMPONENTS; i++)
		if (!(in_use & BIT(i)))
			initialise_component(c, i);
	if (!(in_use & (BIT(XCOMPONENT_SSE) | BIT(XCOMPONENT_AVX))))
		store32(image(c) + AREA_MXCSR, MXCSR_INITIAL);
	return true;
}

static uint32_t mxcsr_mask(struct context *c)
{
	uint32_t mask = load32(image(c) + AREA_MXCSR + 4);

	return mask ? mask : 0xffff; /* every processor with XSAVE has DAZ */
}

/* --- Rules in common. */

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

static uint32_t xmm_bytes(const struct context *c)
{
	return c->code_bits == 64 ? 256 : 128;
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
		if ((*rfbm & BIT(i)) && !xcomponent(c, i))
			return stop_unknown(c, "component without state");
	return true;
}

static bool xsave_area(struct context *c, uint32_t size, enum access access, uint64_t *linear)
{
	if (!operand_linear(c, 0, size, access, linear))
		return false;
	return !(*linear & 63) || gp0(c);
}

/* --- The legacy region. */

/* x87 state as the guest's form of the instruction lays it out: FIP and FDP of 64 bits, or of 32 and
 * selectors, which processors of today save as 0. */
static void x87_to_guest(struct context *c, uint8_t *area, bool wide)
{
	memcpy(area, image(c), AREA_MXCSR);
	memcpy(area + AREA_ST, image(c) + AREA_ST, AREA_XMM - AREA_ST);
	if (!wide) {
		memset(area + 12, 0, 4);
		memset(area + 20, 0, 4);
	}
}

static void x87_from_guest(struct context *c, const uint8_t *area, bool wide)
{
	memcpy(image(c), area, AREA_MXCSR);
	memcpy(image(c) + AREA_ST, area + AREA_ST, AREA_XMM - AREA_ST);
	if (!wide) {
		memset(image(c) + 12, 0, 4);
		memset(image(c) + 20, 0, 4);
	}
}

static void mxcsr_to_guest(struct context *c, uint8_t *area)
{
	store32(area + AREA_MXCSR, load32(image(c) + AREA_MXCSR));
	store32(area + AREA_MXCSR + 4, mxcsr_mask(c));
}

/* Writes what is saved of the legacy region, and nothing between. */
static bool legacy_save(struct context *c, uint64_t linear, bool x87, bool mxcsr, bool xmm, bool wide)
{
	uint8_t area[AREA_XMM];

	x87_to_guest(c, area, wide);
	mxcsr_to_guest(c, area);
	if (x87 && !linear_write(c, linear, area, AREA_MXCSR))
		return false;
	if (mxcsr && !linear_write(c, linear + AREA_MXCSR, area + AREA_MXCSR, 8))
		return false;
	if (x87 && !linear_write(c, linear + AREA_ST, area + AREA_ST, AREA_XMM - AREA_ST))
		return false;
	return !xmm || linear_write(c, linear + AREA_XMM, image(c) + AREA_XMM, xmm_bytes(c));
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
		const struct x86_xcomponent *part = xcomponent(c, i);
		uint32_t at;

		if (!(x->rfbm & BIT(i)) || !part)
			continue;
		at = component_place(part, x->compacted, &next);
		if ((x->save & BIT(i)) && !linear_write(c, x->linear + at, image(c) + part->offset,
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
	if (load32(image(c) + AREA_MXCSR) != MXCSR_INITIAL)
		in_use |= BIT(XCOMPONENT_SSE); /* SDM 1, 13.6 */
	x.save = form == XSAVE_PLAIN ? x.rfbm : x.rfbm & in_use;
	mxcsr = x.compacted ? x.save & BIT(XCOMPONENT_SSE)
			    : x.rfbm & (BIT(XCOMPONENT_SSE) | BIT(XCOMPONENT_AVX));
	return legacy_save(c, x.linear, x.save & BIT(XCOMPONENT_X87), mxcsr, x.save & BIT(XCOMPONENT_SSE),
			   x.wide) &&
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
	return !(x->layout & ~XCOMP_COMPACTED & ~x->enabled) && !(x->present & ~x->layout);
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

static bool mxcsr_valid(struct context *c, uint32_t mxcsr)
{
	return !(mxcsr & ~mxcsr_mask(c));
}

static bool legacy_read(struct context *c, struct xrstor *x)
{
	if (!linear_read(c, x->linear, x->copy, AREA_XMM_END, ACCESS_READ))
		return false;
	return !mxcsr_loaded(x) || mxcsr_valid(c, load32(x->copy + AREA_MXCSR)) || gp0(c);
}

/* Nothing fails from here on. */
static void component_restore(struct context *c, const struct xrstor *x, unsigned i)
{
	const struct x86_xcomponent *part = xcomponent(c, i);

	if (!(x->present & BIT(i)) && c->code_bits == 64)
		initialise_component(c, i);
	else if (i == XCOMPONENT_X87 && (x->present & 1))
		x87_from_guest(c, x->copy, x->wide);
	else if (i == XCOMPONENT_X87)
		initialise_component(c, i);
	else if (i == XCOMPONENT_SSE) /* the copy of what is not present is zero */
		memcpy(image(c) + AREA_XMM, x->copy + AREA_XMM, xmm_bytes(c));
	else if (part)
		memcpy(image(c) + part->offset, x->copy + part->offset, component_bytes(c, i, part->size));
}

static void restore(struct context *c, struct xrstor *x)
{
	uint64_t in_use = xstate_in_use(c);
	uint32_t mxcsr = load32(image(c) + AREA_MXCSR);

	if (mxcsr_loaded(x))
		mxcsr = load32(x->copy + AREA_MXCSR);
	else if (x->compacted && (x->rfbm & BIT(XCOMPONENT_SSE)))
		mxcsr = MXCSR_INITIAL;
	if (!(x->present & BIT(XCOMPONENT_SSE)))
		memset(x->copy + AREA_XMM, 0, AREA_XMM_END - AREA_XMM);
	for (unsigned i = 0; i < X86_XCOMPONENTS; i++)
		if (x->rfbm & BIT(i))
			component_restore(c, x, i);
	store32(image(c) + AREA_MXCSR, mxcsr);
	in_use = (in_use & ~x->rfbm) | (x->present & x->rfbm);
	if (mxcsr != MXCSR_INITIAL)
		in_use |= BIT(XCOMPONENT_SSE); /* otherwise KVM would not take it */
	store64(image(c) + AREA_HEADER, in_use);
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

/* --- FXSAVE, FXRSTOR: SDM 1, 10.5. */

static bool fx_begin(struct context *c, enum access access, uint64_t *linear)
{
	if (c->s->cr0 & CR0_EM)
		return ud(c);
	if (c->s->cr0 & CR0_TS)
		return stop_exception(c, VECTOR_NM);
	if (!xstate_ready(c) || !operand_linear(c, 0, 512, access, linear))
		return false;
	return !(*linear & 15) || gp0(c);
}

bool do_fxsave(struct context *c)
{
	uint64_t linear;

	return fx_begin(c, ACCESS_WRITE, &linear) && linear_probe_write(c, linear, 512) &&
	       legacy_save(c, linear, true, true, c->s->cr4 & CR4_OSFXSR, c->opcode->argument);
}

bool do_fxrstor(struct context *c)
{
	uint8_t area[512];
	uint64_t linear;

	if (!fx_begin(c, ACCESS_READ, &linear) || !linear_read(c, linear, area, sizeof(area), ACCESS_READ))
		return false;
	if (!mxcsr_valid(c, load32(area + AREA_MXCSR)))
		return gp0(c);
	x87_from_guest(c, area, c->opcode->argument);
	store32(image(c) + AREA_MXCSR, load32(area + AREA_MXCSR));
	if (c->s->cr4 & CR4_OSFXSR)
		memcpy(image(c) + AREA_XMM, area + AREA_XMM, xmm_bytes(c));
	xstate_written(c, BIT(XCOMPONENT_X87) | BIT(XCOMPONENT_SSE));
	return true;
}

/* --- MXCSR and x87's control. */

/* What VLDMXCSR and VSTMXCSR need, and what the forms without V. */
static bool mxcsr_begin(struct context *c)
{
	if (c->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		if (!(c->s->cr4 & CR4_OSXSAVE) || !c->protected_mode)
			return ud(c);
		if (!state_needed(c, X86_XCR0 | X86_XSTATE))
			return false;
		if ((c->s->xcr0 & 6) != 6)
			return ud(c);
	} else if ((c->s->cr0 & CR0_EM) || !(c->s->cr4 & CR4_OSFXSR)) {
		return ud(c);
	}
	if (c->s->cr0 & CR0_TS)
		return stop_exception(c, VECTOR_NM);
	return xstate_ready(c);
}

bool do_ldmxcsr(struct context *c)
{
	uint64_t v;

	if (!mxcsr_begin(c) || !operand_read(c, 0, &v))
		return false;
	if (!mxcsr_valid(c, (uint32_t)v))
		return gp0(c);
	store32(image(c) + AREA_MXCSR, (uint32_t)v);
	xstate_written(c, BIT(XCOMPONENT_SSE));
	return true;
}

bool do_stmxcsr(struct context *c)
{
	return mxcsr_begin(c) && operand_write(c, 0, load32(image(c) + AREA_MXCSR));
}

static bool x87_begin(struct context *c)
{
	if (c->s->cr0 & (CR0_EM | CR0_TS))
		return stop_exception(c, VECTOR_NM);
	return xstate_ready(c);
}

bool do_fninit(struct context *c)
{
	if (!x87_begin(c))
		return false;
	/* The data registers stay: SDM 2, FINIT. */
	memset(image(c), 0, AREA_MXCSR);
	image(c)[0] = 0x7f;
	image(c)[1] = 0x03;
	xstate_written(c, BIT(XCOMPONENT_X87));
	return true;
}

/* An unmasked x87 exception is pending: the summary bit of the status word. */
static bool x87_pending(struct context *c)
{
	return image(c)[2] & 0x80;
}

bool do_emms(struct context *c)
{
	if (c->s->cr0 & CR0_EM)
		return ud(c);
	if (!x87_begin(c))
		return false;
	if (x87_pending(c))
		return stop_exception(c, VECTOR_MF);
	image(c)[4] = 0; /* all tags empty, in the abridged form */
	xstate_written(c, BIT(XCOMPONENT_X87));
	return true;
}

bool do_fwait(struct context *c)
{
	if ((c->s->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		return stop_exception(c, VECTOR_NM);
	return xstate_ready(c) && (!x87_pending(c) || stop_exception(c, VECTOR_MF));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image of the XSAVE state; FXSAVE, MXCSR, and what of x87 is not arithmetic. XSAVE itself is in xsave.c.
 *
 * Theory of operation: the state is an image in the standard format. At first use in a run the components
 * that its XSTATE_BV leaves out are set to their initial configuration, so that all of it can be read as it
 * is; XSTATE_BV stays what the processor calls XINUSE. Sizes and places of components are the machine's, and
 * are checked against the size of the image that the caller has supplied.
 */
#include "emulator/x86/xstate.h"

const struct x86_xcomponent *xstate_place(const struct context *c, unsigned i)
{
	const struct x86_xcomponent *x;

	if (i < 2 || i >= X86_XCOMPONENTS)
		return NULL;
	x = &c->machine->xcomponent[i];
	if (!x->size || x->supervisor || x->offset < AREA_EXTENDED ||
	    (uint32_t)x->offset + x->size > c->cpu->xstate.size)
		return NULL;
	return x;
}

uint8_t *xstate_component(struct context *c, unsigned i)
{
	const struct x86_xcomponent *x;

	if (i == XCOMPONENT_SSE)
		return xstate_image(c) + AREA_XMM;
	x = xstate_place(c, i);
	return x ? xstate_image(c) + x->offset : NULL;
}

uint64_t xstate_in_use(struct context *c)
{
	return load64(xstate_image(c) + AREA_HEADER);
}

bool xstate_mxcsr_initial(struct context *c)
{
	return load32(xstate_image(c) + AREA_MXCSR) == MXCSR_INITIAL;
}

void xstate_written(struct context *c, uint64_t components)
{
	store64(xstate_image(c) + AREA_HEADER, xstate_in_use(c) | components);
	c->cpu->changed |= X86_XSTATE;
}

static void initialise_x87(uint8_t *area)
{
	memset(area, 0, AREA_MXCSR);
	memset(area + AREA_ST, 0, AREA_XMM - AREA_ST);
	area[0] = 0x7f;
	area[1] = 0x03;
}

void xstate_initialise(struct context *c, unsigned i)
{
	const struct x86_xcomponent *x = xstate_place(c, i);

	if (i == XCOMPONENT_X87)
		initialise_x87(xstate_image(c));
	else if (i == XCOMPONENT_SSE)
		memset(xstate_image(c) + AREA_XMM, 0, AREA_XMM_END - AREA_XMM);
	else if (x)
		memset(xstate_image(c) + x->offset, 0, x->size);
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
			xstate_initialise(c, i);
	if (!(in_use & (BIT(XCOMPONENT_SSE) | BIT(XCOMPONENT_AVX))))
		store32(xstate_image(c) + AREA_MXCSR, MXCSR_INITIAL);
	return true;
}

static uint32_t mxcsr_mask(struct context *c)
{
	uint32_t mask = load32(xstate_image(c) + AREA_MXCSR + 4);

	return mask ? mask : 0xffff; /* every processor with XSAVE has DAZ */
}

bool xstate_mxcsr_valid(struct context *c, uint32_t mxcsr)
{
	return !(mxcsr & ~mxcsr_mask(c));
}

/* --- The legacy region. */

/* x87 state as the guest's form of the instruction lays it out: FIP and FDP of 64 bits, or of 32 and
 * selectors, which processors of today save as 0. */
static void x87_to_guest(struct context *c, uint8_t *area, bool wide)
{
	memcpy(area, xstate_image(c), AREA_MXCSR);
	memcpy(area + AREA_ST, xstate_image(c) + AREA_ST, AREA_XMM - AREA_ST);
	if (!wide) {
		memset(area + 12, 0, 4);
		memset(area + 20, 0, 4);
	}
}

void xstate_x87_load(struct context *c, const uint8_t *area, bool wide)
{
	memcpy(xstate_image(c), area, AREA_MXCSR);
	memcpy(xstate_image(c) + AREA_ST, area + AREA_ST, AREA_XMM - AREA_ST);
	if (!wide) {
		memset(xstate_image(c) + 12, 0, 4);
		memset(xstate_image(c) + 20, 0, 4);
	}
}

static void mxcsr_to_guest(struct context *c, uint8_t *area)
{
	store32(area + AREA_MXCSR, load32(xstate_image(c) + AREA_MXCSR));
	store32(area + AREA_MXCSR + 4, mxcsr_mask(c));
}

bool xstate_legacy_save(struct context *c, uint64_t linear, bool x87, bool mxcsr, bool xmm, bool wide)
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
	return !xmm || linear_write(c, linear + AREA_XMM, xstate_image(c) + AREA_XMM, xmm_bytes(c));
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
	       xstate_legacy_save(c, linear, true, true, c->s->cr4 & CR4_OSFXSR, c->opcode->argument);
}

bool do_fxrstor(struct context *c)
{
	uint8_t area[512];
	uint64_t linear;

	if (!fx_begin(c, ACCESS_READ, &linear) || !linear_read(c, linear, area, sizeof(area), ACCESS_READ))
		return false;
	if (!xstate_mxcsr_valid(c, load32(area + AREA_MXCSR)))
		return gp0(c);
	xstate_x87_load(c, area, c->opcode->argument);
	store32(xstate_image(c) + AREA_MXCSR, load32(area + AREA_MXCSR));
	if (c->s->cr4 & CR4_OSFXSR)
		memcpy(xstate_image(c) + AREA_XMM, area + AREA_XMM, xmm_bytes(c));
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
	if (!xstate_mxcsr_valid(c, (uint32_t)v))
		return gp0(c);
	store32(xstate_image(c) + AREA_MXCSR, (uint32_t)v);
	xstate_written(c, BIT(XCOMPONENT_SSE));
	return true;
}

bool do_stmxcsr(struct context *c)
{
	return mxcsr_begin(c) && operand_write(c, 0, load32(xstate_image(c) + AREA_MXCSR));
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
	memset(xstate_image(c), 0, AREA_MXCSR);
	xstate_image(c)[0] = 0x7f;
	xstate_image(c)[1] = 0x03;
	xstate_written(c, BIT(XCOMPONENT_X87));
	return true;
}

/* An unmasked x87 exception is pending: the summary bit of the status word. */
static bool x87_pending(struct context *c)
{
	return xstate_image(c)[2] & 0x80;
}

/* TOP becomes 0 (SDM 3B, table 12-3). The image has the registers in the order of the stack: they turn. */
static void x87_top_clear(uint8_t *image)
{
	unsigned top = image[3] >> 3 & 7;
	uint8_t old[8 * 16];

	memcpy(old, image + AREA_ST, sizeof(old));
	for (unsigned i = 0; i < 8; i++)
		memcpy(image + AREA_ST + 16 * ((i + top) & 7), old + 16 * i, 16);
	image[3] &= 0xc7;
}

bool do_emms(struct context *c)
{
	if (c->s->cr0 & CR0_EM)
		return ud(c);
	if (!x87_begin(c))
		return false;
	if (x87_pending(c))
		return stop_exception(c, VECTOR_MF);
	xstate_image(c)[4] = 0; /* all tags empty, in the abridged form */
	x87_top_clear(xstate_image(c));
	xstate_written(c, BIT(XCOMPONENT_X87));
	return true;
}

bool do_fwait(struct context *c)
{
	if ((c->s->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		return stop_exception(c, VECTOR_NM);
	return xstate_ready(c) && (!x87_pending(c) || stop_exception(c, VECTOR_MF));
}

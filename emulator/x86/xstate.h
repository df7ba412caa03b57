/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image of the XSAVE state, as xstate.c and xsave.c share it: SDM 1, 13.4. */
#ifndef DVMM_EMULATOR_X86_XSTATE_H
#define DVMM_EMULATOR_X86_XSTATE_H

#include "emulator/x86/handlers.h"

/* Offsets in an XSAVE or FXSAVE area. */
#define AREA_MXCSR    24u
#define AREA_ST       32u
#define AREA_XMM      160u
#define AREA_XMM_END  416u
#define AREA_HEADER   512u
#define AREA_EXTENDED 576u

#define MXCSR_INITIAL 0x1f80u

static inline uint64_t load64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, 8);
	return v;
}

static inline uint32_t load32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, 4);
	return v;
}

static inline void store64(uint8_t *to, uint64_t v)
{
	memcpy(to, &v, 8);
}

static inline void store32(uint8_t *to, uint32_t v)
{
	memcpy(to, &v, 4);
}

static inline uint8_t *xstate_image(struct context *c)
{
	return c->cpu->xstate.image;
}

/* Code of less than 64 bits saves and restores 8 vector registers. */
static inline uint32_t xmm_bytes(const struct context *c)
{
	return c->code_bits == 64 ? 256 : 128;
}

/* A component from 2 on, or NULL if it is not in the image. */
const struct x86_xcomponent *xstate_place(const struct context *c, unsigned component);
/* Sets a component to its initial configuration. */
void xstate_initialise(struct context *c, unsigned component);
bool xstate_mxcsr_valid(struct context *c, uint32_t mxcsr);

/* Writes to the guest what is saved of the legacy region, and nothing between. wide: FIP and FDP have 64
 * bits. */
bool xstate_legacy_save(struct context *c, uint64_t linear, bool x87, bool mxcsr, bool xmm, bool wide);
/* Takes x87 state over from a copy of the guest's area. */
void xstate_x87_load(struct context *c, const uint8_t *area, bool wide);

#endif

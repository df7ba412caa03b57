/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flags, caches, bases, processor identification, random numbers: what is of the system but no control
 * register. */
#include "emulator/x86/handlers.h"

#include <immintrin.h>

bool do_flag(struct context *c)
{
	static const struct {
		uint16_t clear, set, flip;
	} forms[] = {
		{FLAG_CF, 0, 0}, {0, FLAG_CF, 0}, {0, 0, FLAG_CF}, {FLAG_DF, 0, 0}, {0, FLAG_DF, 0},
	};
	unsigned i = c->opcode->argument;

	c->s->rflags = ((c->s->rflags & ~(uint64_t)forms[i].clear) | forms[i].set) ^ forms[i].flip;
	return true;
}

bool do_lahf(struct context *c)
{
	uint64_t ah = (c->s->rflags & 0xd5) | 2;

	c->s->gpr[X86_RAX] = (c->s->gpr[X86_RAX] & ~0xff00ull) | ah << 8;
	return true;
}

bool do_sahf(struct context *c)
{
	c->s->rflags = (c->s->rflags & ~0xd5ull) | (c->s->gpr[X86_RAX] >> 8 & 0xd5);
	return true;
}

bool do_salc(struct context *c)
{
	gpr_write(c, X86_RAX, c->s->rflags & FLAG_CF ? 0xff : 0, 1);
	return true;
}

/* May this code change IF? Not covered: the virtual interrupt flag. */
static bool interrupt_flag_admitted(struct context *c)
{
	if (c->cpl <= (c->s->rflags >> 12 & 3))
		return true;
	if (c->s->cr4 & (CR4_VME | CR4_PVI))
		return stop_unknown(c, NULL);
	return gp0(c);
}

bool do_cli(struct context *c)
{
	if (!interrupt_flag_admitted(c))
		return false;
	c->s->rflags &= ~(uint64_t)FLAG_IF;
	return true;
}

bool do_sti(struct context *c)
{
	if (!interrupt_flag_admitted(c))
		return false;
	if (!(c->s->rflags & FLAG_IF))
		c->cpu->effects |= X86_INTERRUPT_SHADOW;
	c->s->rflags |= FLAG_IF;
	return true;
}

/* CLAC and STAC: allowed by CPUID.SMAP, which is the host's; CR4.SMAP need not be set. */
bool do_clac(struct context *c)
{
	if (c->cpl || ((c->s->cr0 & CR0_PE) && (c->s->rflags & FLAG_VM)))
		return ud(c);
	if (c->opcode->argument)
		c->s->rflags |= FLAG_AC;
	else
		c->s->rflags &= ~(uint64_t)FLAG_AC;
	return true;
}

/* Flushing a line of a coherent cache changes nothing, but faults as a load of a byte. */
bool do_clflush(struct context *c)
{
	uint64_t linear;

	return operand_linear(c, 0, 1, ACCESS_READ, &linear) && translate(c, linear, ACCESS_READ);
}

bool do_wbinvd(struct context *c)
{
	if (c->cpl)
		return gp0(c);
	c->cpu->effects |= X86_WRITE_BACK;
	return true;
}

bool do_invlpg(struct context *c)
{
	if (c->cpl)
		return gp0(c);
	c->cpu->effects |= X86_FLUSH_TLB;
	return true;
}

/* SDM 2A, INVPCID: the descriptor is checked, and then everything is flushed. */
bool do_invpcid(struct context *c)
{
	uint64_t type, descriptor[2];

	if (c->cpl)
		return gp0(c);
	if (!operand_read(c, 0, &type) || !operand_read_bytes(c, 1, descriptor, 16))
		return false;
	if (type > 3 || descriptor[0] >> 12 || (type == 0 && !address_canonical(c, descriptor[1])))
		return gp0(c);
	if (type < 2 && descriptor[0] && !(c->s->cr4 & CR4_PCIDE))
		return gp0(c);
	c->cpu->effects |= X86_FLUSH_TLB;
	return true;
}

bool do_swapgs(struct context *c)
{
	uint64_t base = c->s->segment[X86_GS].base;

	if (c->code_bits != 64)
		return ud(c);
	if (c->cpl)
		return gp0(c);
	if (!state_needed(c, X86_MSRS))
		return false;
	c->s->segment[X86_GS].base = c->s->kernel_gs_base;
	c->s->kernel_gs_base = base;
	c->cpu->changed |= X86_SREGS | X86_MSRS;
	return true;
}

bool do_fsgsbase(struct context *c)
{
	unsigned form = c->opcode->argument;
	struct x86_segment *s = &c->s->segment[form == BASE_RDFS || form == BASE_WRFS ? X86_FS : X86_GS];
	uint64_t v;

	if (c->code_bits != 64 || !(c->s->cr4 & CR4_FSGSBASE))
		return ud(c);
	if (form == BASE_RDFS || form == BASE_RDGS)
		return operand_write(c, 0, s->base);
	if (!operand_read(c, 0, &v))
		return false;
	if (!address_canonical(c, v))
		return gp0(c);
	s->base = v;
	c->cpu->changed |= X86_SREGS;
	return true;
}

bool do_rdpid(struct context *c)
{
	if (!state_needed(c, X86_MSRS))
		return false;
	return operand_write(c, 0, c->s->tsc_aux & 0xffffffff);
}

__attribute__((target("rdrnd"))) static bool host_rdrand(uint64_t *v)
{
	unsigned long long r;
	bool good = _rdrand64_step(&r);

	*v = r;
	return good;
}

__attribute__((target("rdseed"))) static bool host_rdseed(uint64_t *v)
{
	unsigned long long r;
	bool good = _rdseed64_step(&r);

	*v = r;
	return good;
}

bool do_rdrand(struct context *c)
{
	bool seed = c->opcode->argument, good;
	uint64_t v;

	if (seed ? !c->machine->rdseed : !c->machine->rdrand)
		return ud(c);
	good = seed ? host_rdseed(&v) : host_rdrand(&v);
	status_set(c, good ? FLAG_CF : 0);
	return operand_write(c, 0, good ? v : 0);
}

bool do_xgetbv(struct context *c)
{
	uint64_t v;

	if (!(c->s->cr4 & CR4_OSXSAVE))
		return ud(c);
	if (!state_needed(c, X86_XCR0))
		return false;
	v = c->s->xcr0;
	if (gpr_read(c, X86_RCX, 4) == 1) { /* XINUSE */
		if (!xstate_ready(c))
			return false;
		v &= xstate_in_use(c) | (xstate_mxcsr_initial(c) ? 0 : BIT(XCOMPONENT_SSE));
	} else if (gpr_read(c, X86_RCX, 4)) {
		return gp0(c);
	}
	gpr_write(c, X86_RAX, v, 4);
	gpr_write(c, X86_RDX, v >> 32, 4);
	return true;
}

/* SDM 3A, 2.6: which combinations XCR0 can hold. */
static bool xcr0_valid(const struct context *c, uint64_t v)
{
	uint64_t supported = 3;

	for (unsigned i = 2; i < X86_XCOMPONENTS; i++)
		if (c->machine->xcomponent[i].size && !c->machine->xcomponent[i].supervisor)
			supported |= BIT(i);
	if (!(v & 1) || (v & ~supported))
		return false;
	if ((v & 6) == 4)
		return false; /* AVX needs SSE */
	if ((v & 0xe0) && (v & 0xe6) != 0xe6)
		return false; /* AVX-512: all three, and AVX */
	if ((v >> 3 & 1) != (v >> 4 & 1))
		return false; /* MPX: both */
	return (v >> 17 & 1) == (v >> 18 & 1);
}

bool do_xsetbv(struct context *c)
{
	uint64_t v = gpr_read(c, X86_RDX, 4) << 32 | gpr_read(c, X86_RAX, 4);

	if (!(c->s->cr4 & CR4_OSXSAVE))
		return ud(c);
	if (c->cpl || gpr_read(c, X86_RCX, 4) || !xcr0_valid(c, v))
		return gp0(c);
	if (!state_needed(c, X86_XCR0))
		return false;
	c->s->xcr0 = v;
	c->cpu->changed |= X86_XCR0;
	return true;
}

/* MFENCE, SERIALIZE: no later load before an earlier store is made. The log is a store buffer, so it must be
 * empty; loads and stores among themselves are in order anyway, which is all of LFENCE and SFENCE. */
bool do_fence(struct context *c)
{
	if (c->cpu->stores.count)
		return stop_batch(c);
	_mm_mfence();
	return true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program of the build: translates the rules (filter_rules.c) with libseccomp and prints the filters as C, so that
 * dvmm and dvmm-emulator need neither time nor memory for that when they start.
 *
 * A range of descriptors becomes a few (mask, value) pairs, aligned blocks of powers of two, because libseccomp
 * compares an argument once in a rule.
 *
 * Calls are told apart by a binary tree of their numbers. A filter that is installed is first run by the kernel for every
 * number there is, to learn which calls always pass; for a list of 30 numbers that takes longer than all the rest.
 */
#include "config.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "seccomp/filters.h"

#define U32              0xffffffffull
#define MAX_INSTRUCTIONS 1024

static const char *const names[FILTER_KINDS] = {
	[FILTER_EMULATOR] = "emulator", [FILTER_VCPU] = "vcpu", [FILTER_MAIN] = "main"};

/* Adds a rule whose argument 0, if first_mask is not 0, must be `first` under that mask. */
static int add_rule(scmp_filter_ctx ctx, const struct filter_rule *rule, uint64_t first_mask, uint64_t first)
{
	struct scmp_arg_cmp compare[FILTER_ARGUMENTS + 1];
	unsigned n = 0;

	if (first_mask)
		compare[n++] = (struct scmp_arg_cmp){0, SCMP_CMP_MASKED_EQ, first_mask, first};
	for (unsigned i = 0; i < FILTER_ARGUMENTS; i++) {
		const struct filter_argument *a = &rule->argument[i];

		if (a->mask)
			compare[n++] = (struct scmp_arg_cmp){a->index, SCMP_CMP_MASKED_EQ, a->mask, a->value};
	}
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rule->syscall, n, compare);
}

/* Cuts [first, last] into blocks whose size is a power of two and that start at a multiple of it. */
static int add_rule_range(scmp_filter_ctx ctx, const struct filter_rule *rule, int first, int last)
{
	int err = 0;

	while (!err && first >= 0 && first <= last) {
		int size = 1;

		while (!(first & size) && size <= (last - first + 1) / 2)
			size *= 2;
		err = add_rule(ctx, rule, U32 & ~(uint64_t)(size - 1), (uint64_t)first);
		first += size;
	}
	return err;
}

static int add_rules(scmp_filter_ctx ctx, enum filter_kind kind)
{
	unsigned count;
	const struct filter_rule *rule = filter_rules(kind, &count);
	int err = 0;

	for (unsigned i = 0; !err && i < count; i++, rule++) {
		if (rule->first == FILTER_EVENT_FD)
			err = add_rule_range(ctx, rule, FILTER_FIRST_EVENT, FILTER_LAST_EVENT);
		else if (rule->first == FILTER_RING_FD)
			err = add_rule_range(ctx, rule, FILTER_RING, FILTER_RING);
		else if (rule->first == FILTER_VCPU_FD)
			err = add_rule_range(ctx, rule, FILTER_SOME_VCPU, FILTER_SOME_VCPU);
		else if (rule->first == FILTER_SELF)
			err = add_rule(ctx, rule, U32, FILTER_SOME_PROCESS);
		else
			err = add_rule(ctx, rule, 0, 0);
	}
	return err;
}

/* libseccomp hands out its program through a file only (before 2.6). */
static int print_code(scmp_filter_ctx ctx, enum filter_kind kind)
{
	static struct sock_filter code[MAX_INSTRUCTIONS];
	int fd = memfd_create("seccomp filter", MFD_CLOEXEC);
	int err = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
	ssize_t n = err ? err : pread(fd, code, sizeof(code), 0);

	if (err || n <= 0 || n == sizeof(code))
		return err ? err : -E2BIG;
	printf("static const struct sock_filter %s_code[] = {\n", names[kind]);
	for (size_t i = 0; i < (size_t)n / sizeof(code[0]); i++)
		printf("\t{0x%02x, %u, %u, 0x%08x},\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
	printf("};\n\n");
	return 0;
}

static int generate(enum filter_kind kind)
{
	scmp_filter_ctx ctx = seccomp_init(kind == FILTER_EMULATOR ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_TRAP);
	int err;

	if (!ctx)
		return -ENOMEM;
	/* Calls of another architecture (int 0x80, x32) are nobody's mistake. */
	err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = add_rules(ctx, kind);
	if (!err)
		err = print_code(ctx, kind);
	seccomp_release(ctx);
	return err;
}

int main(void)
{
	int err = 0;

	printf("/* Made from seccomp/filter_rules.c by seccomp/filter_generate.c. */\n\n");
	for (unsigned kind = 0; !err && kind < FILTER_KINDS; kind++)
		err = generate((enum filter_kind)kind);
	if (err)
		fprintf(stderr, "filter_generate: %s\n", strerror(-err));
	return err || fflush(stdout) ? 1 : 0;
}

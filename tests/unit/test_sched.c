/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU lists, topology below a made-up sysfs, --pin, and placement: every small machine with every number of
 * vCPUs. */
#include "config.h"

#include "sched/placement.h"
#include "sched/topology.h"

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_SYSFS "/nonexistent"

static const int all_cpus[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* A directory with cpuN/topology/thread_siblings_list as in sysfs. */
static char sysfs[64];

static void sysfs_setup(void)
{
	strncpy(sysfs, "test_sched.XXXXXX", sizeof(sysfs));
	ck_assert_ptr_nonnull(mkdtemp(sysfs));
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void sysfs_teardown(void)
{
	nftw(sysfs, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void sysfs_put(const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	/* Each level of the folder, then the file. */
	for (const char *end = folder; end; end = strchr(end + 1, '/')) {
		const char *next = strchr(end + 1, '/');

		snprintf(path, sizeof(path), "%s/%.*s", sysfs,
			 (int)(next ? next - folder : (long)strlen(folder)), folder);
		mkdir(path, 0755);
		if (!next)
			break;
	}
	snprintf(path, sizeof(path), "%s/%s/%s", sysfs, folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void siblings_put(int cpu, const char *list)
{
	char folder[64];

	snprintf(folder, sizeof(folder), "cpu%d/topology", cpu);
	sysfs_put(folder, "thread_siblings_list", list);
}

START_TEST(list_good)
{
	int cpu[8];

	ck_assert_int_eq(cpu_list_parse("0", cpu, 8), 1);
	ck_assert_int_eq(cpu[0], 0);
	ck_assert_int_eq(cpu_list_parse("0-3,8\n", cpu, 8), 5);
	ck_assert_int_eq(cpu[3], 3);
	ck_assert_int_eq(cpu[4], 8);
	ck_assert_int_eq(cpu_list_parse("0-1023", cpu, 2), 1024);
	ck_assert_int_eq(cpu[1], 1);
	ck_assert_int_eq(cpu_list_parse("5-5,65535", cpu, 8), 2);
	ck_assert_int_eq(cpu[1], 65535);
}
END_TEST

START_TEST(list_bad)
{
	static const char *const bad[] = {"",     "\n", ",",   "-",   "-1",   "0-",   "3-1", "0,", ",0",
					  "0,,1", "a",  "0x1", "0 1", "1\n2", "0--1", " 0",  "+1", "0-3/2"};
	int cpu[4];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(cpu_list_parse(bad[i], cpu, 4) == -EINVAL, "'%s'", bad[i]);
	ck_assert_int_eq(cpu_list_parse("65536", cpu, 4), -ERANGE);
	ck_assert_int_eq(cpu_list_parse("0-99999999999999999999", cpu, 4), -ERANGE);
	ck_assert_int_eq(cpu_list_parse("0-65535,0-65535", cpu, 4), -ERANGE);
}
END_TEST

START_TEST(topology_without_sysfs_has_no_siblings)
{
	struct topology t;

	ck_assert_int_eq(topology_make(&t, all_cpus, 4, NO_SYSFS), 0);
	ck_assert_uint_eq(t.cores, 4);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(t.cpu[i].core, i);
		ck_assert_uint_eq(t.cpu[i].thread, 0);
		ck_assert_uint_eq(t.cpu[i].threads, 1);
	}
	topology_free(&t);
}
END_TEST

START_TEST(topology_finds_siblings_among_allowed)
{
	/* Cores {0,4} {1,5} {2,6} {3,7}; CPU 2 is not allowed, CPU 7's file is nonsense. */
	static const int allowed[] = {0, 1, 3, 4, 5, 6, 7};
	struct topology t;

	siblings_put(0, "0,4\n");
	siblings_put(1, "1,5\n");
	siblings_put(3, "x\n");
	siblings_put(6, "2,6\n");
	siblings_put(7, "");
	ck_assert_int_eq(topology_make(&t, allowed, 7, sysfs), 0);
	ck_assert_uint_eq(t.cores, 5);
	ck_assert_uint_eq(t.cpu[0].core, t.cpu[3].core);
	ck_assert_uint_eq(t.cpu[1].core, t.cpu[4].core);
	ck_assert_uint_ne(t.cpu[0].core, t.cpu[1].core);
	ck_assert_uint_ne(t.cpu[2].core, t.cpu[6].core);
	ck_assert_uint_eq(t.cpu[5].threads, 1);
	ck_assert_uint_eq(t.cpu[0].thread, 0);
	ck_assert_uint_eq(t.cpu[3].thread, 1);
	ck_assert_uint_eq(t.cpu[3].threads, 2);
	topology_free(&t);
}
END_TEST

START_TEST(topology_trusts_smt_active)
{
	struct topology t;

	siblings_put(0, "0-1\n");
	sysfs_put("smt", "active", "1\n");
	ck_assert_int_eq(topology_make(&t, all_cpus, 2, sysfs), 0);
	ck_assert_uint_eq(t.cores, 1);
	topology_free(&t);
	sysfs_put("smt", "active", "0\n");
	ck_assert_int_eq(topology_make(&t, all_cpus, 2, sysfs), 0);
	ck_assert_uint_eq(t.cores, 2);
	topology_free(&t);
}
END_TEST

START_TEST(topology_rejects_bad_lists)
{
	static const int twice[] = {1, 1}, down[] = {2, 1}, negative[] = {-1};
	struct topology t;

	ck_assert_int_eq(topology_make(&t, all_cpus, 0, NO_SYSFS), -EINVAL);
	ck_assert_int_eq(topology_make(&t, twice, 2, NO_SYSFS), -EINVAL);
	ck_assert_int_eq(topology_make(&t, down, 2, NO_SYSFS), -EINVAL);
	ck_assert_int_eq(topology_make(&t, negative, 1, NO_SYSFS), -EINVAL);
	topology_free(&t);
}
END_TEST

START_TEST(topology_formats_lists)
{
	static const int cpus[] = {0, 1, 2, 3, 8, 10, 11, 2000};
	struct topology t;
	char text[64];

	ck_assert_int_eq(topology_make(&t, cpus, 8, NO_SYSFS), 0);
	topology_format(&t, text, sizeof(text));
	ck_assert_str_eq(text, "0-3,8,10-11,2000");
	topology_format(&t, text, sizeof("0-3,8,10-11,2000"));
	ck_assert_str_eq(text, "0-3,8,10-11,2000");
	topology_format(&t, text, sizeof("0-3,8,10-11,2000") - 1);
	ck_assert_str_eq(text, "0-3,8,10-11,...");
	topology_format(&t, text, sizeof("0-3,8,10-11,...") - 1);
	ck_assert_str_eq(text, "0-3,8,...");
	for (size_t size = 1; size < 20; size++) {
		memset(text, '#', sizeof(text));
		topology_format(&t, text, size);
		ck_assert_uint_lt(strnlen(text, size), size);
		ck_assert_int_eq(text[size], '#');
	}
	topology_free(&t);
}
END_TEST

START_TEST(topology_of_this_machine_follows_affinity)
{
	struct topology before, t;

	ck_assert_int_eq(topology_read(&before, TOPOLOGY_SYSFS), 0);
	ck_assert_uint_ge(before.count, 1);
	ck_assert_int_eq(sched_pin_thread(0, before.cpu[before.count - 1].cpu), 0);
	ck_assert_int_eq(topology_read(&t, TOPOLOGY_SYSFS), 0);
	ck_assert_uint_eq(t.count, 1);
	ck_assert_int_eq(t.cpu[0].cpu, before.cpu[before.count - 1].cpu);
	ck_assert_int_eq(sched_getcpu(), t.cpu[0].cpu);
	ck_assert_int_eq(sched_pin_thread(0, -1), 0); /* stays */
	ck_assert_int_eq(sched_getcpu(), t.cpu[0].cpu);
	ck_assert_int_eq(sched_pin_thread(0, TOPOLOGY_CPU_LIMIT - 1), -EINVAL);
	ck_assert_int_eq(sched_pin_thread(0, INT_MAX), -EINVAL);
	topology_free(&t);
	topology_free(&before);
}
END_TEST

START_TEST(pin_good)
{
	struct placement_pin pin;
	struct topology t;
	char error[256];

	ck_assert_int_eq(topology_make(&t, all_cpus, 8, NO_SYSFS), 0);
	ck_assert_int_eq(placement_pin_parse("auto", &t, 4, &pin, error, sizeof(error)), 0);
	ck_assert_int_eq(pin.policy, PLACEMENT_PIN_AUTO);
	ck_assert_int_eq(placement_pin_parse("none", &t, 4, &pin, error, sizeof(error)), 0);
	ck_assert_int_eq(pin.policy, PLACEMENT_PIN_NONE);
	ck_assert_int_eq(placement_pin_parse("3:0,0:7", &t, 4, &pin, error, sizeof(error)), 0);
	ck_assert_int_eq(pin.policy, PLACEMENT_PIN_MAP);
	ck_assert_int_eq(pin.cpu[0], 7);
	ck_assert_int_eq(pin.cpu[1], -1);
	ck_assert_int_eq(pin.cpu[3], 0);
	topology_free(&t);
}
END_TEST

START_TEST(pin_bad)
{
	static const struct {
		const char *text, *cause;
	} bad[] = {
		{"", "VCPU:CPU"},
		{"Auto", "VCPU:CPU"},
		{"0", "VCPU:CPU"},
		{"0:", "VCPU:CPU"},
		{":0", "VCPU:CPU"},
		{"0:1,", "VCPU:CPU"},
		{"0:1;1:2", "VCPU:CPU"},
		{"-1:0", "VCPU:CPU"},
		{"0:-1", "VCPU:CPU"},
		{"0:1 ,1:2", "VCPU:CPU"},
		{"0:1:2", "VCPU:CPU"},
		{"none,0:1", "VCPU:CPU"},
		{"4:0", "--pin 4:0: no such vCPU"},
		{"99999999999:0", "no such vCPU; name those from 0 to 3"},
		{"0:1,0:1", "vCPU 0 is named twice"},
		{"0:2", "--pin 0:2: dvmm may not run on that CPU; choose from 0-1,3"},
		{"1:4294967296", "1:4294967296: dvmm may not run"},
	};
	static const int allowed[] = {0, 1, 3};
	struct placement_pin pin;
	struct topology t;
	char error[256];

	ck_assert_int_eq(topology_make(&t, allowed, 3, NO_SYSFS), 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		error[0] = '\0';
		ck_assert_int_eq(placement_pin_parse(bad[i].text, &t, 4, &pin, error, sizeof(error)),
				 -EINVAL);
		ck_assert_msg(strstr(error, "--pin") == error, "'%s': %s", bad[i].text, error);
		ck_assert_msg(strstr(error, bad[i].cause), "'%s': %s", bad[i].text, error);
		ck_assert_ptr_null(strchr(error, '\n'));
	}
	topology_free(&t);
}
END_TEST

/* Machines of the exhaustive test: how CPUs pair up to cores. */
enum smt { SMT_NONE, SMT_NEIGHBOURS, SMT_HALVES, SMT_KINDS };

static struct topology machine_make(unsigned cpus, enum smt smt)
{
	char list[32];
	struct topology t;

	for (unsigned i = 0; i < cpus; i++) {
		unsigned half = (cpus + 1) / 2, sibling = i;

		if (smt == SMT_NEIGHBOURS)
			sibling = i ^ 1;
		else if (smt == SMT_HALVES)
			sibling = i < half ? i + half : i - half;
		if (sibling >= cpus)
			sibling = i;
		snprintf(list, sizeof(list), "%u,%u\n", i < sibling ? i : sibling, i < sibling ? sibling : i);
		siblings_put((int)i, i == sibling ? "" : list);
	}
	ck_assert_int_eq(topology_make(&t, all_cpus, cpus, sysfs), 0);
	return t;
}

static unsigned placed_on(const struct placement *p, unsigned vcpus, int cpu, bool workers)
{
	unsigned n = 0;

	for (unsigned v = 0; v < vcpus; v++)
		n += (p->vcpu_cpu[v] == cpu) + (workers && p->worker_cpu[v] == cpu);
	return n;
}

static void bounds_check(const struct placement_request *r, const struct placement *p)
{
	for (unsigned v = 0; v < PLACEMENT_MAX_VCPUS; v++) {
		bool bound = v < r->vcpus && r->pin.policy != PLACEMENT_PIN_NONE;

		ck_assert_int_eq(topology_index(r->topology, p->vcpu_cpu[v]) >= 0, bound);
		ck_assert_int_eq(topology_index(r->topology, p->worker_cpu[v]) >= 0, bound);
		if (!bound)
			ck_assert(p->vcpu_cpu[v] == -1 && p->worker_cpu[v] == -1);
	}
	ck_assert_int_eq(p->worker_cpu[r->vcpus], -1);
}

static void handoff_check(const struct placement_request *r, const struct placement *p)
{
	bool room = r->topology->count >= 2 * r->vcpus;

	if (r->wish == PLACEMENT_WISH_AUTO)
		ck_assert_int_eq(p->handoff, room ? PLACEMENT_SPIN : PLACEMENT_SAME_CPU);
	else
		ck_assert_int_eq(p->handoff,
				 r->wish == PLACEMENT_WISH_SPIN ? PLACEMENT_SPIN : PLACEMENT_SAME_CPU);
	ck_assert_int_eq(p->warning != NULL, r->wish == PLACEMENT_WISH_SPIN && !room);
	if (r->pin.policy == PLACEMENT_PIN_NONE)
		return;
	for (unsigned v = 0; v < r->vcpus; v++) {
		if (p->handoff == PLACEMENT_SAME_CPU)
			ck_assert_int_eq(p->worker_cpu[v], p->vcpu_cpu[v]);
		else if (r->topology->count > 1)
			ck_assert_int_ne(p->worker_cpu[v], p->vcpu_cpu[v]);
	}
}

/* No CPU has two more than another; with room nobody shares; different cores come first. */
static void spread_check(const struct placement_request *r, const struct placement *p)
{
	const struct topology *t = r->topology;
	bool room = p->handoff == PLACEMENT_SPIN && t->count >= 2 * r->vcpus;
	unsigned least = UINT_MAX, most = 0;

	if (r->pin.policy == PLACEMENT_PIN_NONE)
		return;
	for (unsigned i = 0; i < t->count; i++) {
		unsigned n = placed_on(p, r->vcpus, t->cpu[i].cpu, false);

		least = n < least ? n : least;
		most = n > most ? n : most;
		if (room)
			ck_assert_uint_le(placed_on(p, r->vcpus, t->cpu[i].cpu, true), 1);
	}
	ck_assert_uint_le(most - least, 1);
	if (r->vcpus > t->cores)
		return;
	for (unsigned v = 0; v < r->vcpus; v++)
		for (unsigned w = 0; w < v; w++)
			ck_assert_uint_ne(t->cpu[topology_index(t, p->vcpu_cpu[v])].core,
					  t->cpu[topology_index(t, p->vcpu_cpu[w])].core);
}

static void offsets_check(struct placement_request *r)
{
	static const unsigned offsets[] = {0, 1, 2, 3, 5, 7, 11, 4093, UINT_MAX};
	struct placement p;

	for (unsigned o = 0; o < sizeof(offsets) / sizeof(*offsets); o++) {
		r->offset = offsets[o];
		ck_assert_int_eq(placement_choose(r, &p), 0);
		bounds_check(r, &p);
		handoff_check(r, &p);
		spread_check(r, &p);
	}
}

static const enum placement_wish wishes[] = {PLACEMENT_WISH_AUTO, PLACEMENT_WISH_SAME_CPU,
					     PLACEMENT_WISH_SPIN};
static const enum placement_policy policies[] = {PLACEMENT_PIN_AUTO, PLACEMENT_PIN_NONE};

START_TEST(placement_exhaustive)
{
	for (unsigned cpus = 1; cpus <= 8; cpus++) {
		struct topology t = machine_make(cpus, (enum smt)_i);
		struct placement_request r = {.topology = &t};

		for (r.vcpus = 1; r.vcpus <= PLACEMENT_MAX_VCPUS; r.vcpus++)
			for (unsigned w = 0; w < 3; w++)
				for (unsigned policy = 0; policy < 2; policy++) {
					r.wish = wishes[w];
					r.pin.policy = policies[policy];
					offsets_check(&r);
				}
		topology_free(&t);
	}
}
END_TEST

START_TEST(spinning_worker_sits_on_the_sibling)
{
	struct topology t = machine_make(8, SMT_HALVES);
	struct placement_request r = {.topology = &t, .vcpus = 4};
	struct placement p;

	for (r.vcpus = 1; r.vcpus <= 4; r.vcpus++)
		for (r.offset = 0; r.offset < 8; r.offset++) {
			ck_assert_int_eq(placement_choose(&r, &p), 0);
			ck_assert_int_eq(p.handoff, PLACEMENT_SPIN);
			for (unsigned v = 0; v < r.vcpus; v++)
				ck_assert_int_eq(p.worker_cpu[v], (p.vcpu_cpu[v] + 4) % 8);
		}
	topology_free(&t);
}
END_TEST

START_TEST(offsets_use_every_cpu_first)
{
	for (int smt = 0; smt < SMT_KINDS; smt++) {
		struct topology t = machine_make(8, (enum smt)smt);
		struct placement_request r = {.topology = &t, .vcpus = 1};
		struct placement p;
		unsigned seen = 0;

		for (r.offset = 0; r.offset < 8; r.offset++) {
			ck_assert_int_eq(placement_choose(&r, &p), 0);
			seen |= 1u << p.vcpu_cpu[0];
		}
		ck_assert_uint_eq(seen, 0xff);
		topology_free(&t);
	}
}
END_TEST

START_TEST(offset_of_pids_has_no_stride)
{
	/* VMs that each consume the same number of process ids must not all start on the same of 8 CPUs. */
	for (int stride = 1; stride <= 64; stride++) {
		unsigned seen = 0;

		for (int vm = 0; vm < 64; vm++)
			seen |= 1u << placement_offset(1000 + vm * stride) % 8;
		ck_assert_msg(__builtin_popcount(seen) >= 4, "stride %d: %#x", stride, seen);
	}
}
END_TEST

START_TEST(map_is_obeyed_and_filled_around)
{
	struct topology t = machine_make(4, SMT_NONE);
	struct placement_request r = {.topology = &t, .vcpus = 3, .pin.policy = PLACEMENT_PIN_MAP};
	struct placement p;

	memset(r.pin.cpu, 0xff, sizeof(r.pin.cpu));
	r.pin.cpu[1] = 0;
	ck_assert_int_eq(placement_choose(&r, &p), 0);
	ck_assert_int_eq(p.vcpu_cpu[1], 0);
	ck_assert_int_eq(p.vcpu_cpu[0], 1);
	ck_assert_int_eq(p.vcpu_cpu[2], 2);

	/* Two vCPUs on one CPU leave neither a CPU of its own: auto must not spin, spin must warn. */
	r.vcpus = 2;
	r.pin.cpu[0] = 0;
	ck_assert_int_eq(placement_choose(&r, &p), 0);
	ck_assert_int_eq(p.handoff, PLACEMENT_SAME_CPU);
	r.wish = PLACEMENT_WISH_SPIN;
	ck_assert_int_eq(placement_choose(&r, &p), 0);
	ck_assert_ptr_nonnull(p.warning);
	ck_assert_int_ne(p.worker_cpu[0], 0);
	ck_assert_int_ne(p.worker_cpu[1], 0);

	r.pin.cpu[0] = 4;
	ck_assert_int_eq(placement_choose(&r, &p), -EINVAL);
	topology_free(&t);
}
END_TEST

START_TEST(placement_rejects_bad_counts)
{
	struct topology t = machine_make(2, SMT_NONE), none = {0};
	struct placement_request r = {.topology = &t};
	struct placement p;

	ck_assert_int_eq(placement_choose(&r, &p), -EINVAL);
	r.vcpus = PLACEMENT_MAX_VCPUS + 1;
	ck_assert_int_eq(placement_choose(&r, &p), -EINVAL);
	r.vcpus = 1;
	r.topology = &none;
	ck_assert_int_eq(placement_choose(&r, &p), -EINVAL);
	topology_free(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sched");
	TCase *topology = tcase_create("topology"), *placement = tcase_create("placement");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(topology, sysfs_setup, sysfs_teardown);
	tcase_add_test(topology, list_good);
	tcase_add_test(topology, list_bad);
	tcase_add_test(topology, topology_without_sysfs_has_no_siblings);
	tcase_add_test(topology, topology_finds_siblings_among_allowed);
	tcase_add_test(topology, topology_trusts_smt_active);
	tcase_add_test(topology, topology_rejects_bad_lists);
	tcase_add_test(topology, topology_formats_lists);
	tcase_add_test(topology, topology_of_this_machine_follows_affinity);
	suite_add_tcase(suite, topology);

	tcase_add_checked_fixture(placement, sysfs_setup, sysfs_teardown);
	tcase_set_timeout(placement, 60);
	tcase_add_test(placement, pin_good);
	tcase_add_test(placement, pin_bad);
	tcase_add_loop_test(placement, placement_exhaustive, 0, SMT_KINDS);
	tcase_add_test(placement, spinning_worker_sits_on_the_sibling);
	tcase_add_test(placement, offsets_use_every_cpu_first);
	tcase_add_test(placement, offset_of_pids_has_no_stride);
	tcase_add_test(placement, map_is_obeyed_and_filled_around);
	tcase_add_test(placement, placement_rejects_bad_counts);
	suite_add_tcase(suite, placement);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

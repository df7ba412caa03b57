/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The latency histogram, and what --stats writes. */
#include "config.h"

#include "emulator/x86/x86.h"
#include "vmm/stats.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char path[128];

static void setup(void)
{
	strncpy(folder, "test_stats.XXXXXX", sizeof(folder));
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/stats.json", folder);
}

static void teardown(void)
{
	unlink(path);
	rmdir(folder);
}

START_TEST(bucket_is_monotonic_and_exact_enough)
{
	struct histogram *h = calloc(1, sizeof(*h));
	unsigned before = 0;

	/* Every value up to 64 Ki, and around every power of two and bucket edge above. */
	for (uint64_t ns = 0; ns < 1ull << 38; ns = ns < 65536 ? ns + 1 : ns + (ns >> 9)) {
		unsigned b = histogram_bucket(ns);
		uint64_t p50;

		ck_assert_uint_ge(b, before);
		ck_assert_uint_lt(b, HISTOGRAM_BUCKETS);
		before = b;

		/* Alone but for a far larger value, the median is the upper end of the bucket, not clamped by
		 * max. */
		memset(h, 0, sizeof(*h));
		histogram_record(h, ns);
		histogram_record(h, UINT64_MAX / 4);
		p50 = histogram_percentile(h, 500);
		ck_assert_uint_ge(p50, ns);
		if (ns <= 100000000000ull)
			ck_assert_uint_le(p50 - ns, ns / 32);
	}
	ck_assert_uint_eq(before, HISTOGRAM_BUCKETS - 1);
	ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	free(h);
}
END_TEST

START_TEST(percentiles_of_small_values_are_exact)
{
	struct histogram h = {0};

	ck_assert_uint_eq(histogram_percentile(&h, 500), 0);
	ck_assert_uint_eq(histogram_mean(&h), 0);
	for (uint64_t ns = 50; ns >= 1; ns--)
		histogram_record(&h, ns);
	ck_assert_uint_eq(h.count, 50);
	ck_assert_uint_eq(h.min_ns, 1);
	ck_assert_uint_eq(h.max_ns, 50);
	ck_assert_uint_eq(histogram_mean(&h), 25);
	ck_assert_uint_eq(histogram_percentile(&h, 1), 1);
	ck_assert_uint_eq(histogram_percentile(&h, 500), 25);
	ck_assert_uint_eq(histogram_percentile(&h, 900), 45);
	ck_assert_uint_eq(histogram_percentile(&h, 990), 50);
	ck_assert_uint_eq(histogram_percentile(&h, 1000), 50);
}
END_TEST

START_TEST(percentiles_stay_within_min_and_max)
{
	struct histogram h = {0};

	histogram_record(&h, 1000001);
	ck_assert_uint_eq(histogram_percentile(&h, 1), 1000001);
	ck_assert_uint_eq(histogram_percentile(&h, 999), 1000001);
	histogram_record(&h, 400000000000ull); /* past the last bucket */
	ck_assert_uint_eq(histogram_percentile(&h, 999), 400000000000ull);
}
END_TEST

START_TEST(one_outlier_in_a_thousand_shows_in_p999_only)
{
	struct histogram h = {0};

	for (int n = 0; n < 998; n++)
		histogram_record(&h, 10);
	histogram_record(&h, 5000000);
	histogram_record(&h, 5000000);
	ck_assert_uint_eq(histogram_percentile(&h, 990), 10);
	ck_assert_uint_eq(histogram_percentile(&h, 999), 5000000);
}
END_TEST

START_TEST(merge_equals_recording_into_one)
{
	struct histogram a = {0}, b = {0}, none = {0}, all = {0};

	for (uint64_t ns = 1; ns < 1ull << 36; ns = ns * 3 + 1) {
		histogram_record(ns % 2 ? &a : &b, ns);
		histogram_record(&all, ns);
	}
	histogram_merge(&a, &b);
	histogram_merge(&a, &none);
	ck_assert_mem_eq(&a, &all, sizeof(a));
	histogram_merge(&none, &all);
	ck_assert_mem_eq(&none, &all, sizeof(all));
}
END_TEST

static const char *const names[] = {"uart", "disk \xff.img"};

static json_int_t integer_at(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

START_TEST(file_holds_what_was_counted)
{
	/* The last one's name is not ended, and has characters that no mnemonic has. */
	const struct x86_count counts[3] = {{7, "mov"}, {0, "popcnt"}, {2, "clac\"\n\377-------0123456789"}};
	struct stats_run run = {"sandboxed", "spin", "guest powered off", 0, 5, 4, counts, 3, 3};
	struct stats *s;
	json_error_t error;
	json_t *json, *vcpu, *device, *counted;

	ck_assert_int_eq(stats_open(&s, path, 2, names, 2), 0);
	stats_vcpu_start(s, 0, 7);
	stats_vcpu_end(s, 0);
	stats_exit(s, 0, KVM_EXIT_IO);
	stats_exit(s, 0, KVM_EXIT_IO);
	stats_exit(s, 0, KVM_EXIT_HLT);
	stats_exit(s, 0, 63);          /* unnamed */
	stats_exit(s, 0, UINT32_MAX);  /* out of the table */
	stats_exit(s, 2, KVM_EXIT_IO); /* no such vCPU: dvmm's main thread has a slot, but no statistics */
	stats_operation(s, 0, 0, 40);
	stats_operation(s, 1, 0, 60);
	stats_operation(s, 1, 1, 20);
	stats_operation(s, 1, 2, 5); /* the emulator names a device that does not exist */
	stats_operation(s, 1, STATS_NO_DEVICE, 6);
	stats_operation(s, 2, 0, 1);
	stats_published(s, 0, 1);
	stats_published(s, 1, 1);
	stats_published(s, 1, 0);
	stats_published(s, 2, 0);
	stats_posted(s, 1, 1);
	stats_posted(s, 2, 1);
	ck_assert_int_eq(stats_write(s, &run), 0);
	stats_close(s);

	json = json_load_file(path, 0, &error);
	ck_assert_msg(json, "%s", error.text);
	ck_assert_str_eq(json_string_value(json_object_get(json, "emulation")), "sandboxed");
	ck_assert_str_eq(json_string_value(json_object_get(json, "handoff")), "spin");
	ck_assert_str_eq(json_string_value(json_object_get(json, "reason")), "guest powered off");
	ck_assert(json_is_string(json_object_get(json, "dvmm")));
	ck_assert(json_is_real(json_object_get(json, "duration_s")));
	ck_assert_int_eq(integer_at(json, "exit_status"), 0);
	ck_assert_int_eq(integer_at(json, "forced"), 5);
	ck_assert_int_eq(integer_at(json, "repins"), 4);
	ck_assert_int_eq(integer_at(json, "restarts"), 3);
	ck_assert_int_eq(integer_at(json_object_get(json, "instructions"), "emulated"), 9);
	counted = json_object_get(json_object_get(json, "instructions"), "by_mnemonic");
	ck_assert_int_eq(json_object_size(counted), 2);
	ck_assert_int_eq(integer_at(counted, "mov"), 7);
	ck_assert_int_eq(integer_at(counted, "clac"), 2);

	ck_assert_uint_eq(json_array_size(json_object_get(json, "vcpus")), 2);
	vcpu = json_array_get(json_object_get(json, "vcpus"), 0);
	ck_assert_int_eq(integer_at(json_object_get(vcpu, "host_cpu"), "pinned"), 7);
	ck_assert(json_is_integer(json_object_get(json_object_get(vcpu, "host_cpu"), "last")));
	ck_assert_int_eq(integer_at(json_object_get(vcpu, "exits"), "io"), 2);
	ck_assert_int_eq(integer_at(json_object_get(vcpu, "exits"), "hlt"), 1);
	ck_assert_int_eq(integer_at(json_object_get(vcpu, "exits"), "other"), 2);
	ck_assert_ptr_null(json_object_get(json_object_get(vcpu, "exits"), "mmio"));
	ck_assert_int_eq(integer_at(vcpu, "operations"), 1);
	vcpu = json_array_get(json_object_get(json, "vcpus"), 1);
	ck_assert(json_is_null(json_object_get(json_object_get(vcpu, "host_cpu"), "pinned")));
	ck_assert(json_is_null(json_object_get(json_object_get(vcpu, "host_cpu"), "first")));
	ck_assert_int_eq(integer_at(vcpu, "operations"), 4);
	ck_assert_int_eq(integer_at(vcpu, "published"), 2);
	ck_assert_int_eq(integer_at(vcpu, "posted"), 1);
	ck_assert_int_eq(integer_at(json_object_get(vcpu, "latency_ns"), "min"), 5);

	ck_assert_uint_eq(json_array_size(json_object_get(json, "devices")), 3);
	device = json_array_get(json_object_get(json, "devices"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(device, "name")), "uart");
	ck_assert_int_eq(integer_at(device, "operations"), 2);
	ck_assert_int_eq(integer_at(json_object_get(device, "latency_ns"), "p50"), 40);
	ck_assert_int_eq(integer_at(json_object_get(device, "latency_ns"), "max"), 60);
	ck_assert_int_eq(integer_at(json_object_get(device, "latency_ns"), "mean"), 50);
	device = json_array_get(json_object_get(json, "devices"), 1);
	ck_assert_str_eq(json_string_value(json_object_get(device, "name")), "disk ?.img");
	ck_assert_int_eq(integer_at(device, "published"), 2);
	ck_assert_int_eq(integer_at(device, "posted"), 1);
	device = json_array_get(json_object_get(json, "devices"), 2);
	ck_assert_str_eq(json_string_value(json_object_get(device, "name")), "none");
	ck_assert_int_eq(integer_at(device, "operations"), 2);
	json_decref(json);
}
END_TEST

START_TEST(unused_device_has_null_latency)
{
	struct stats_run run = {"in-process", "same-cpu", NULL, 3, 0, 0, NULL, 0, 0};
	struct stats *s;
	json_t *json, *device;

	ck_assert_int_eq(stats_open(&s, path, 1, names, 1), 0);
	ck_assert_int_eq(stats_write(s, &run), 0);
	stats_close(s);
	json = json_load_file(path, 0, NULL);
	ck_assert_ptr_nonnull(json);
	ck_assert_int_eq(integer_at(json, "exit_status"), 3);
	device = json_array_get(json_object_get(json, "devices"), 0);
	ck_assert_int_eq(integer_at(device, "operations"), 0);
	ck_assert(json_is_null(json_object_get(device, "latency_ns")));
	json_decref(json);
}
END_TEST

static void file_put(const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fputs(text, f) < 0, 0);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(existing_file_is_untouched_until_written)
{
	struct stats_run run = {"in-process", "same-cpu", "reset", 0, 0, 0, NULL, 0, 0};
	char longer[8192], text[16] = {0};
	struct stats *s;
	json_t *json;
	FILE *f;

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	file_put("precious");
	ck_assert_int_eq(stats_open(&s, path, 1, names, 1), 0);
	stats_close(s);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fread(text, 1, sizeof(text) - 1, f), 8);
	fclose(f);
	ck_assert_str_eq(text, "precious");

	/* A longer old file leaves no tail behind. */
	file_put(longer);
	ck_assert_int_eq(stats_open(&s, path, 1, names, 1), 0);
	ck_assert_int_eq(stats_write(s, &run), 0);
	stats_close(s);
	json = json_load_file(path, 0, NULL);
	ck_assert_ptr_nonnull(json);
	json_decref(json);
}
END_TEST

START_TEST(created_file_goes_away_if_not_written)
{
	struct stats *s;

	ck_assert_int_eq(stats_open(&s, path, 1, names, 1), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	stats_close(s);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(bad_paths_are_found_at_open)
{
	char missing[160];
	struct stats *s = (struct stats *)folder;

	snprintf(missing, sizeof(missing), "%s/no/such/file", folder);
	ck_assert_int_eq(stats_open(&s, missing, 1, names, 1), -ENOENT);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(stats_open(&s, folder, 1, names, 1), -EISDIR);
	ck_assert_int_eq(stats_open(&s, "", 1, names, 1), -ENOENT);
}
END_TEST

START_TEST(a_full_file_system_is_reported)
{
	struct stats_run run = {"in-process", "same-cpu", "reset", 0, 0, 0, NULL, 0, 0};
	struct stats *s;

	ck_assert_int_eq(stats_open(&s, "/dev/full", 1, names, 1), 0);
	ck_assert_int_eq(stats_write(s, &run), -ENOSPC);
	stats_close(s);
}
END_TEST

START_TEST(no_stats_is_a_no_op)
{
	struct stats_run run = {"in-process", "same-cpu", "reset", 0, 0, 0, NULL, 0, 0};

	stats_vcpu_start(NULL, 0, 0);
	stats_exit(NULL, 0, KVM_EXIT_IO);
	stats_operation(NULL, 0, 0, 1);
	stats_vcpu_end(NULL, 0);
	ck_assert_int_eq(stats_write(NULL, &run), 0);
	stats_close(NULL);
}
END_TEST

START_TEST(exit_names)
{
	ck_assert_str_eq(stats_exit_name(KVM_EXIT_IO), "io");
	ck_assert_str_eq(stats_exit_name(KVM_EXIT_INTERNAL_ERROR), "internal_error");
	ck_assert_ptr_null(stats_exit_name(KVM_EXIT_S390_RESET));
	ck_assert_ptr_null(stats_exit_name(UINT32_MAX));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *histogram = tcase_create("histogram"), *stats = tcase_create("stats");
	SRunner *runner;
	int failed;

	tcase_add_test(histogram, bucket_is_monotonic_and_exact_enough);
	tcase_add_test(histogram, percentiles_of_small_values_are_exact);
	tcase_add_test(histogram, percentiles_stay_within_min_and_max);
	tcase_add_test(histogram, one_outlier_in_a_thousand_shows_in_p999_only);
	tcase_add_test(histogram, merge_equals_recording_into_one);
	tcase_set_timeout(histogram, 60);
	suite_add_tcase(suite, histogram);

	tcase_add_checked_fixture(stats, setup, teardown);
	tcase_add_test(stats, file_holds_what_was_counted);
	tcase_add_test(stats, unused_device_has_null_latency);
	tcase_add_test(stats, existing_file_is_untouched_until_written);
	tcase_add_test(stats, created_file_goes_away_if_not_written);
	tcase_add_test(stats, bad_paths_are_found_at_open);
	tcase_add_test(stats, a_full_file_system_is_reported);
	tcase_add_test(stats, no_stats_is_a_no_op);
	tcase_add_test(stats, exit_names);
	suite_add_tcase(suite, stats);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stats_json FILE EMULATION VCPUS: is this what the manual page says of --stats, with figures that can be true after a
 * run of exits.elf? Says what is wrong; exit status 1 then.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong;

static void require(bool ok, const char *what)
{
	if (!ok) {
		printf("--stats: %s\n", what);
		wrong = 1;
	}
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *n = json_object_get(object, key);

	if (!json_is_integer(n)) {
		printf("--stats: '%s' is missing or no number\n", key);
		wrong = 1;
		return -1;
	}
	return json_integer_value(n);
}

static void check_text(const json_t *run, const char *key, const char *expected)
{
	const char *text = json_string_value(json_object_get(run, key));

	if (!text || (expected && strcmp(text, expected))) {
		printf("--stats: '%s' is '%s', expected '%s'\n", key, text ? text : "(none)", expected ? expected : "a word");
		wrong = 1;
	}
}

/* Percentiles in ascending order, between the least and the most; null exactly if there were no operations. */
static void check_latency(const json_t *of)
{
	static const char *const order[] = {"min", "p50", "p90", "p99", "p99.9", "max"};
	const json_t *latency = json_object_get(of, "latency_ns");
	json_int_t last = 0;

	require(latency != NULL, "there is no latency_ns");
	require(json_is_null(latency) == (number(of, "operations") == 0), "latency without operations, or none with");
	if (!json_is_object(latency))
		return;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		json_int_t ns = number(latency, order[i]);

		require(ns >= last, "percentiles do not ascend");
		last = ns;
	}
	require(number(latency, "min") > 0, "an operation took no time");
	require(number(latency, "mean") <= number(latency, "max"), "the mean is above the most");
}

static json_int_t check_vcpus(const json_t *run, size_t expected)
{
	const json_t *vcpus = json_object_get(run, "vcpus"), *vcpu;
	json_int_t operations = 0;
	size_t i;

	require(json_array_size(vcpus) == expected, "the number of vCPUs is wrong");
	json_array_foreach(vcpus, i, vcpu) {
		const json_t *cpu = json_object_get(vcpu, "host_cpu");

		require(number(vcpu, "vcpu") == (json_int_t)i, "vCPUs are not in order");
		require(number(cpu, "pinned") >= 0, "a vCPU has no host CPU");
		require(number(cpu, "first") == number(cpu, "pinned"), "a vCPU did not start where it is bound");
		require(number(cpu, "last") == number(cpu, "pinned"), "a vCPU did not stay where it is bound");
		require(json_is_object(json_object_get(vcpu, "exits")), "a vCPU has no exits");
		check_latency(vcpu);
		require(number(vcpu, "published") >= 0 && number(vcpu, "posted") >= 0, "a vCPU has done less than nothing");
		operations += number(vcpu, "operations");
	}
	vcpu = json_array_get(vcpus, 0);
	require(number(json_object_get(vcpu, "exits"), "io") > 0, "vCPU 0 has made no port access");
	require(number(json_object_get(vcpu, "exits"), "mmio") > 0, "vCPU 0 has made no memory access");
	require(number(vcpu, "operations") > 0, "vCPU 0 has performed nothing");
	return operations;
}

static json_int_t check_devices(const json_t *run)
{
	static const char *const used[] = {"uart16550", "virtio-blk", "none"};
	const json_t *devices = json_object_get(run, "devices"), *device;
	bool seen[sizeof(used) / sizeof(used[0])] = {false};
	json_int_t operations = 0;
	size_t i;

	json_array_foreach(devices, i, device) {
		const char *name = json_string_value(json_object_get(device, "name"));

		require(name != NULL, "a device has no name");
		check_latency(device);
		operations += number(device, "operations");
		for (size_t k = 0; name && k < sizeof(used) / sizeof(used[0]); k++)
			seen[k] |= !strcmp(name, used[k]) && number(device, "operations") > 0;
	}
	for (size_t k = 0; k < sizeof(used) / sizeof(used[0]); k++) {
		if (!seen[k])
			printf("--stats: nothing was asked of '%s'\n", used[k]);
		wrong |= !seen[k];
	}
	return operations;
}

int main(int argc, char **argv)
{
	json_error_t error;
	json_t *run;

	if (argc != 4)
		return 2;
	run = json_load_file(argv[1], JSON_REJECT_DUPLICATES, &error);
	if (!run) {
		printf("%s: line %d: %s\n", argv[1], error.line, error.text);
		return 1;
	}
	check_text(run, "dvmm", NULL);
	check_text(run, "emulation", argv[2]);
	check_text(run, "handoff", NULL);
	check_text(run, "reason", NULL);
	require(number(run, "exit_status") == 0, "the exit status is not 0");
	require(json_real_value(json_object_get(run, "duration_s")) > 0, "it took no time");
	require(check_vcpus(run, strtoul(argv[3], NULL, 10)) == check_devices(run),
		"operations by vCPU and by device have different sums");
	json_decref(run);
	return wrong;
}

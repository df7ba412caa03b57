/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: dvmm copies the kernel file behind guest memory, where the loader finds it, without
 * looking at it. What comes back is a few numbers from a process that has parsed a file nobody trusts: they
 * are checked to point into memory of the guest, and then they can do no more harm than the guest itself.
 */
#include "vmm/boot.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "emulator/machine.h"
#include "vmm/boot_internal.h"

int boot_examine(struct boot_files *files, char error[BOOT_ERROR_BYTES])
{
	int r;

	error[0] = '\0';
	files->initrd.bytes = 0;
	r = boot_file_examine(&files->kernel, error);
	if (r == 0 && files->initrd.fd >= 0)
		r = boot_file_examine(&files->initrd, error);
	return r;
}

/* "NAME CMDLINE": Linux gets the second word on, others all of it. */
static int put_cmdline(const struct guest_memory *mem, const struct boot_files *files,
		       struct loader_options *o, char error[BOOT_ERROR_BYTES])
{
	const char *cmdline = files->cmdline ? files->cmdline : "", *slash = strrchr(files->kernel.name, '/');
	const char *name = slash ? slash + 1 : files->kernel.name;
	uint64_t name_bytes = strnlen(name, 255), bytes = strlen(cmdline);
	int r;

	if (bytes > BOOT_CMDLINE_MAX - 1 - 255)
		return boot_fail(error, E2BIG, "--cmdline",
				 "%llu characters, but no kernel takes more than %llu: shorten it",
				 (unsigned long long)bytes, BOOT_CMDLINE_MAX - 1 - 255);
	o->name_bytes = (uint32_t)name_bytes;
	o->cmdline_bytes = (uint32_t)bytes;
	r = boot_put(mem, BOOT_CMDLINE_GPA, name, name_bytes, error);
	if (r == 0)
		r = boot_put(mem, BOOT_CMDLINE_GPA + name_bytes, " ", 1, error);
	if (r == 0)
		r = boot_put(mem, BOOT_CMDLINE_GPA + name_bytes + 1, cmdline, bytes + 1, error);
	return r;
}

/* What Linux's own extractor looks for: the word "nokaslr". */
static bool says_nokaslr(const char *cmdline)
{
	static const char word[] = "nokaslr";
	const char *at = cmdline;

	while (at && (at = strstr(at, word))) {
		const char *end = at + strlen(word);

		if ((at == cmdline || at[-1] == ' ') && (*end == '\0' || *end == ' '))
			return true;
		at = end;
	}
	return false;
}

int boot_stage(const struct guest_memory *mem, uint64_t ram_bytes, const struct boot_files *files,
	       uint64_t rsdp_gpa, void *staging, struct loader_request *request, char error[BOOT_ERROR_BYTES])
{
	struct loader_options *o = &request->options;
	int r;

	error[0] = '\0';
	request->image_size = files->kernel.bytes;
	request->image_have = files->kernel.bytes < LOADER_IMAGE_MAX ? files->kernel.bytes : LOADER_IMAGE_MAX;
	*o = (struct loader_options){
		.ram_bytes = ram_bytes,
		.rsdp_gpa = rsdp_gpa,
		.initrd_bytes = files->initrd.bytes,
		.kaslr = files->kaslr && !says_nokaslr(files->cmdline),
	};
	if (o->kaslr && getrandom(o->entropy, sizeof(o->entropy), 0) != sizeof(o->entropy))
		return boot_fail(error, errno, "--kaslr", "no random numbers: %s", strerror(errno));
	r = put_cmdline(mem, files, o, error);
	if (r == 0)
		r = boot_file_read(&files->kernel, staging, request->image_have, error);
	return r;
}

/* An error of the loader's, under the name of what it is about. */
static int pass_on(const struct boot_files *files, const struct loader_result *result,
		   char error[BOOT_ERROR_BYTES])
{
	const char *const names[LOADER_SUBJECTS] = {files->kernel.name,
						    files->initrd.name ? files->initrd.name : "--initrd",
						    "--cmdline", "--mem"};
	int err = result->error < 0 && result->error > -4096 ? -result->error : EPROTO;

	return boot_fail(error, err,
			 names[result->subject < LOADER_SUBJECTS ? result->subject : LOADER_KERNEL], "%.*s",
			 LOADER_TEXT_BYTES - 1, result->text);
}

static bool plausible(const struct guest_memory *mem, const struct boot_files *files,
		      const struct loader_result *r)
{
	return r->kind > LOADER_NOTHING && r->kind < LOADER_KINDS && r->entry >= BOOT_KERNEL_MIN &&
	       r->entry < MMIO_HOLE_START && guest_memory_range(mem, r->entry, 1) &&
	       r->params_gpa < MMIO_HOLE_START && guest_memory_range(mem, r->params_gpa, 4096) &&
	       r->initrd_gpa % 4096 == 0 &&
	       (files->initrd.bytes == 0 || (r->initrd_gpa >= BOOT_KERNEL_MIN &&
					     guest_memory_range(mem, r->initrd_gpa, files->initrd.bytes)));
}

int boot_finish(const struct guest_memory *mem, uint64_t ram_bytes, const struct boot_files *files,
		const struct loader_result *result, struct boot_entry *entry, char error[BOOT_ERROR_BYTES])
{
	int r = 0;

	error[0] = '\0';
	if (result->kind == LOADER_NOTHING && result->error)
		return pass_on(files, result, error);
	if (result->text[0])
		boot_fail(error, 0, files->kernel.name, "the guest has to unpack it: %.*s",
			  LOADER_TEXT_BYTES - 1, result->text);
	if (!plausible(mem, files, result))
		return boot_fail(error, EPROTO, "dvmm-emulator", "answered nonsense about the kernel");
	if (files->initrd.bytes)
		r = boot_file_read(&files->initrd,
				   guest_memory_range(mem, result->initrd_gpa, files->initrd.bytes),
				   files->initrd.bytes, error);
	if (r == 0)
		r = boot_put_tables(mem, result->kind, error);
	*entry = (struct boot_entry){
		.kind = result->kind, .rip = result->entry, .params_gpa = result->params_gpa};
	return r;
}

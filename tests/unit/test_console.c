/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console: the escape sequence, the input buffer, and the output ring with positions that cannot be true. */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/console.h"

static struct console_input in;

static void type(const char *s, bool terminal) { console_input_filter(&in, (const uint8_t *)s, (uint32_t)strlen(s), terminal); }

START_TEST(pipe_passes_everything)
{
	type("a\x01x\x01\x01z", false);
	ck_assert_uint_eq(in.count, 6);
	ck_assert_mem_eq(in.byte, "a\x01x\x01\x01z", 6);
	ck_assert(!in.quit);
}
END_TEST

START_TEST(escape_quits)
{
	type("ab\x01", true);
	ck_assert(!in.quit);
	type("x", true);
	ck_assert(in.quit);
	ck_assert_uint_eq(in.count, 2);
}
END_TEST

START_TEST(escape_of_itself)
{
	type("\x01\x01" "\x01" "a" "\x01qx", true);
	ck_assert_uint_eq(in.count, 3);
	ck_assert_mem_eq(in.byte, "\x01\x01x", 3);
	ck_assert(!in.quit);
}
END_TEST

START_TEST(full_buffer_still_quits)
{
	char many[CONSOLE_INPUT_BYTES + 11];

	memset(many, 'm', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	type(many, true);
	ck_assert_uint_eq(in.count, CONSOLE_INPUT_BYTES);
	type("\x01X", true);
	ck_assert(in.quit);
	ck_assert_uint_eq(in.count, CONSOLE_INPUT_BYTES);
}
END_TEST

START_TEST(taken_bytes_go)
{
	type("abcdef", false);
	console_input_taken(&in, 4);
	ck_assert_uint_eq(in.count, 2);
	ck_assert_mem_eq(in.byte, "ef", 2);
	console_input_taken(&in, 99); /* more than there is: a lie, and harmless */
	ck_assert_uint_eq(in.count, 0);
}
END_TEST

START_TEST(ring_wraps_and_refuses_nonsense)
{
	static uint8_t ring[8] = "01234567";
	char got[16];
	int pipe_fd[2], saved = dup(STDOUT_FILENO);

	ck_assert_int_eq(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], STDOUT_FILENO);
	console_init(ring, sizeof(ring));
	ck_assert_int_eq(console_output(6), 0);
	memcpy(ring, "ab", 2);
	ck_assert_int_eq(console_output(10), 0); /* wraps */
	ck_assert_int_eq(console_output(9), 0);  /* an older reply, drained already */
	ck_assert_int_eq(console_output(19), -EPROTO);
	ck_assert_int_eq(console_output(UINT64_MAX / 2), -EPROTO);
	dup2(saved, STDOUT_FILENO);
	ck_assert_int_eq(read(pipe_fd[0], got, sizeof(got)), 10);
	ck_assert_mem_eq(got, "01234567ab", 10);
}
END_TEST

static void setup(void) { memset(&in, 0, sizeof(in)); }

int main(void)
{
	Suite *s = suite_create("console");
	TCase *t = tcase_create("console");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, pipe_passes_everything);
	tcase_add_test(t, escape_quits);
	tcase_add_test(t, escape_of_itself);
	tcase_add_test(t, full_buffer_still_quits);
	tcase_add_test(t, taken_bytes_go);
	tcase_add_test(t, ring_wraps_and_refuses_nonsense);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib.h"

const struct hvm_start_info *start_info;
static unsigned checks;

void lib_start(const struct hvm_start_info *info);
void lib_start(const struct hvm_start_info *info)
{
	start_info = info;
}

void guest_exit(unsigned value)
{
	outb(DEBUG_EXIT, (uint8_t)value);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void putchar(char c)
{
	while (!(inb(COM1_LSR) & LSR_THRE))
		;
	outb(COM1_THR, (uint8_t)c);
}

void puts(const char *s)
{
	while (*s)
		putchar(*s++);
}

void puthex(uint64_t v, unsigned digits)
{
	while (digits--)
		putchar("0123456789abcdef"[v >> (4 * digits) & 15]);
}

void putdec(uint64_t v)
{
	if (v > 9)
		putdec(v / 10);
	putchar((char)('0' + v % 10));
}

static uint64_t number_parse(const char *s)
{
	uint64_t v = 0;
	unsigned base = 10;

	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (;; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (digit > 9)
			digit = (unsigned)((*s | 0x20) - 'a') + 10;
		if (digit >= base)
			return v;
		v = v * base + digit;
	}
}

/* What follows NAME on the command line: '=', ' ' or the end. NULL: it is not there. */
static const char *option_find(const char *name)
{
	const char *s = (const char *)start_info->cmdline_paddr;

	while (s && *s) {
		size_t i = 0;

		while (name[i] && s[i] == name[i])
			i++;
		if (!name[i] && (s[i] == '=' || s[i] == ' ' || !s[i]))
			return s + i;
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
	return NULL;
}

uint64_t option(const char *name, uint64_t otherwise)
{
	const char *s = option_find(name);

	if (!s)
		return otherwise;
	return *s == '=' ? number_parse(s + 1) : 1;
}

bool option_is(const char *name, const char *value)
{
	const char *s = option_find(name);

	if (!s || *s++ != '=')
		return false;
	while (*value && *s == *value) {
		s++;
		value++;
	}
	return !*value && (!*s || *s == ' ');
}

/* One instruction each: REP is a single emulated instruction per element, a C loop would be four. */
void *memset(void *to, int byte, size_t len)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(len) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(len)::"memory");
	return to;
}

bool same(const void *a, const void *b, size_t len)
{
	bool equal;

	__asm__ volatile("repe cmpsb" : "=@ccz"(equal), "+S"(a), "+D"(b), "+c"(len)::"memory");
	return equal;
}

void check_equal(uint64_t got, uint64_t want, const char *what, unsigned line)
{
	checks++;
	if (got == want)
		return;
	puts("\nFAILED check ");
	putdec(checks);
	puts(", line ");
	putdec(line);
	puts(": ");
	puts(what);
	puts(" is 0x");
	puthex(got, 16);
	puts(", not 0x");
	puthex(want, 16);
	puts("\n");
	guest_exit(checks < 255 ? checks : 255);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calls that -fsanitize=thread makes, as LLVM's and gcc's ThreadSanitizer define them (tsan_interface.h,
 * tsan_interface_atomic.h). Reads are told, all else does what it would have done.
 */
#define SHARED_READS_THEMSELVES
#include "tests/fuzz/shared_reads.h"

#include <stdint.h>

/* Prototypes exist nowhere: the compiler knows these by name. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

void __tsan_init(void) {}
void __tsan_func_entry(void *caller) {}
void __tsan_func_exit(void *caller) {}

#define ACCESS(bytes)                                                                                        \
	void __tsan_read##bytes(void *at)                                                                    \
	{                                                                                                    \
		shared_read(at, bytes);                                                                      \
	}                                                                                                    \
	void __tsan_write##bytes(void *at) {}                                                                \
	void __tsan_read_write##bytes(void *at)                                                              \
	{                                                                                                    \
		shared_read(at, bytes);                                                                      \
	}                                                                                                    \
	void __tsan_unaligned_read##bytes(void *at)                                                          \
	{                                                                                                    \
		shared_read(at, bytes);                                                                      \
	}                                                                                                    \
	void __tsan_unaligned_write##bytes(void *at) {}
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_read_range(void *at, long bytes)
{
	shared_read(at, (size_t)bytes);
}
void __tsan_write_range(void *at, long bytes) {}

/* The strongest order serves for all. */
#define ATOMIC(bits, type)                                                                                   \
	type __tsan_atomic##bits##_load(const volatile void *at, int order)                                  \
	{                                                                                                    \
		shared_read((const void *)at, sizeof(type));                                                 \
		return __atomic_load_n((const volatile type *)at, __ATOMIC_SEQ_CST);                         \
	}                                                                                                    \
	void __tsan_atomic##bits##_store(volatile void *at, type value, int order)                           \
	{                                                                                                    \
		__atomic_store_n((volatile type *)at, value, __ATOMIC_SEQ_CST);                              \
	}                                                                                                    \
	type __tsan_atomic##bits##_exchange(volatile void *at, type value, int order)                        \
	{                                                                                                    \
		shared_read((const void *)at, sizeof(type));                                                 \
		return __atomic_exchange_n((volatile type *)at, value, __ATOMIC_SEQ_CST);                    \
	}                                                                                                    \
	_Bool __tsan_atomic##bits##_compare_exchange_strong(volatile void *at, void *was, type value,        \
							    int order, int failed)                           \
	{                                                                                                    \
		shared_read((const void *)at, sizeof(type));                                                 \
		return __atomic_compare_exchange_n((volatile type *)at, (type *)was, value, 0,               \
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                      \
	}
#define ATOMIC_FETCH(bits, type, what)                                                                       \
	type __tsan_atomic##bits##_fetch_##what(volatile void *at, type value, int order)                    \
	{                                                                                                    \
		shared_read((const void *)at, sizeof(type));                                                 \
		return __atomic_fetch_##what((volatile type *)at, value, __ATOMIC_SEQ_CST);                  \
	}
ATOMIC_FETCH(32, uint32_t, add)
ATOMIC_FETCH(32, uint32_t, and)
ATOMIC_FETCH(32, uint32_t, or)
ATOMIC(8, uint8_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void *shared_memcpy(void *to, const void *from, size_t len)
{
	shared_read(from, len);
	return memcpy(to, from, len);
}

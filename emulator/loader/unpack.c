/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a payload is unpacked in one piece, from memory to memory, by the library of its
 * format. None of them may call malloc: there is nothing to be had any more when this runs. lz4 needs no
 * memory, zstd takes a fixed workspace, and zlib and xz get theirs from a heap that only grows, in the
 * workspace.
 *
 * Linux appends the unpacked size to every payload; gzip has it there anyway (scripts/Makefile.lib,
 * size_append).
 */
#include "emulator/loader/internal.h"

#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_initStaticDCtx(): no allocation */
#include <zstd.h>

#define SIZE_BYTES 4u
#define LZ4_MAGIC  0x184c2102u /* the legacy frame, which lz4 -l and the kernel write */
#define LZ4_CHUNK  (8u << 20)  /* unpacked, all but the last */
#define HEAP_ALIGN 16u
#define DAMAGED    "its payload is damaged"

/* A heap without free(). */
struct heap {
	uint8_t *at;
	size_t left;
};

static void *heap_take(struct heap *heap, size_t count, size_t size)
{
	uint8_t *p = heap->at;
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) || heap->left < HEAP_ALIGN ||
	    bytes > heap->left - HEAP_ALIGN)
		return NULL;
	bytes = (bytes + HEAP_ALIGN - 1) & ~(size_t)(HEAP_ALIGN - 1);
	heap->at += bytes;
	heap->left -= bytes;
	return p;
}

static void *xz_alloc(void *heap, size_t count, size_t size)
{
	return heap_take(heap, count, size);
}
static void *gzip_alloc(void *heap, unsigned count, unsigned size)
{
	return heap_take(heap, count, size);
}
static void keep(void *heap, void *p) {}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint64_t unpack_size(const uint8_t *payload, uint64_t payload_bytes)
{
	return payload_bytes < SIZE_BYTES ? 0 : get32(payload + payload_bytes - SIZE_BYTES);
}

static const char *unpack_gzip(const uint8_t *from, uint64_t from_bytes, uint8_t *to, uint64_t bytes,
			       struct heap *heap)
{
	z_stream z = {.zalloc = gzip_alloc,
		      .zfree = keep,
		      .opaque = heap,
		      .next_in = (uint8_t *)from,
		      .avail_in = (uInt)from_bytes,
		      .next_out = to,
		      .avail_out = (uInt)bytes};

	if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK || inflate(&z, Z_FINISH) != Z_STREAM_END || z.avail_out)
		return DAMAGED;
	return NULL;
}

static const char *unpack_lz4(const uint8_t *from, uint64_t from_bytes, uint8_t *to, uint64_t bytes,
			      struct heap *heap)
{
	uint64_t at = 4;

	while (from_bytes - at >= 4) {
		uint32_t chunk = get32(from + at), room = bytes < LZ4_CHUNK ? (uint32_t)bytes : LZ4_CHUNK;
		int n;

		at += 4;
		if (chunk == LZ4_MAGIC) /* another frame follows */
			continue;
		if (chunk > from_bytes - at || chunk > INT32_MAX)
			return DAMAGED;
		n = LZ4_decompress_safe((const char *)from + at, (char *)to, (int)chunk, (int)room);
		if (n < 0)
			return DAMAGED;
		at += chunk;
		to += n;
		bytes -= (uint64_t)n;
	}
	return bytes || at != from_bytes ? DAMAGED : NULL;
}

static const char *unpack_zstd(const uint8_t *from, uint64_t from_bytes, uint8_t *to, uint64_t bytes,
			       struct heap *heap)
{
	size_t need = ZSTD_estimateDCtxSize();
	void *at = heap_take(heap, need, 1);
	ZSTD_DCtx *context = at ? ZSTD_initStaticDCtx(at, need) : NULL;

	if (!context || ZSTD_decompressDCtx(context, to, bytes, from, from_bytes) != bytes)
		return DAMAGED;
	return NULL;
}

static const char *unpack_xz(const uint8_t *from, uint64_t from_bytes, uint8_t *to, uint64_t bytes,
			     struct heap *heap)
{
	const lzma_allocator allocator = {.alloc = xz_alloc, .free = keep, .opaque = heap};
	uint64_t limit = heap->left;
	size_t in = 0, out = 0;

	switch (lzma_stream_buffer_decode(&limit, 0, &allocator, from, &in, from_bytes, to, &out, bytes)) {
	case LZMA_OK:
		return in == from_bytes && out == bytes ? NULL : DAMAGED;
	case LZMA_MEMLIMIT_ERROR:
	case LZMA_MEM_ERROR:
		return "its xz dictionary is too large";
	default:
		return DAMAGED;
	}
}

static const struct {
	uint8_t magic[6];
	uint8_t magic_bytes;
	uint8_t appended; /* bytes of the size behind it that are not the format's own */
	const char *(*unpack)(const uint8_t *from, uint64_t from_bytes, uint8_t *to, uint64_t bytes,
			      struct heap *heap);
} formats[] = {
	{{0x1f, 0x8b}, 2, 0, unpack_gzip},
	{{0x02, 0x21, 0x4c, 0x18}, 4, SIZE_BYTES, unpack_lz4},
	{{0x28, 0xb5, 0x2f, 0xfd}, 4, SIZE_BYTES, unpack_zstd},
	{{0xfd, '7', 'z', 'X', 'Z', 0}, 6, SIZE_BYTES, unpack_xz},
};

const char *unpack(const uint8_t *payload, uint64_t payload_bytes, uint8_t *to, uint64_t bytes,
		   void *workspace)
{
	struct heap heap = {workspace, LOADER_WORKSPACE};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (payload_bytes >= formats[i].magic_bytes + SIZE_BYTES &&
		    memcmp(payload, formats[i].magic, formats[i].magic_bytes) == 0)
			return formats[i].unpack(payload, payload_bytes - formats[i].appended, to, bytes,
						 &heap);
	return "its payload is packed neither by gzip nor lz4, zstd or xz";
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A multiboot 1 guest in an ELF file, which says where it is loaded. */
#define HEADER_FLAGS 3
#define HEADER_ADDRESSES
#include "multiboot.h"

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A multiboot 1 guest whose header says what is loaded where, so that of the ELF file around it nothing but its bytes
 * matters: the code is one run of them.
 */
#define HEADER_FLAGS 0x10003
#define HEADER_ADDRESSES .long header, header, code_end, stack_top, pvh_start
#include "multiboot.h"

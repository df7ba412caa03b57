/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clang-format off */
/*
 * The note that makes an ELF file bootable by the PVH protocol: owner "Xen", type
 * XEN_ELFNOTE_PHYS32_ENTRY, and the 32-bit physical address of the entry point. Included by assembly only.
 */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.pushsection .note.Xen, "a", @note
	.balign 4
	.long 4			/* size of the name */
	.long 4			/* size of the value */
	.long XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long pvh_start
	.popsection

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that a program's own image takes, and its libraries'.
 */
#ifndef DVMM_EMULATOR_IMAGE_H
#define DVMM_EMULATOR_IMAGE_H

/*
 * Lets go of the pages of code and constants that the start has touched. Most of them (the dynamic linker, option
 * parsing, building filters) are never needed again; what is needed comes back from the page cache by itself.
 * Only segments that are not writable are touched, and of the program not the code that runs all the time (text.ld),
 * so nothing is lost, but for breakpoints that a tracer has put into start-up code or libraries before. Any thread, at any
 * time.
 */
void image_release_startup(void);

#endif

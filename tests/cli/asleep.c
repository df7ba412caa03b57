/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that starts and does nothing for ever: an emulator that never gets ready. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}

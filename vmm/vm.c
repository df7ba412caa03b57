/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/vm.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

bool vm_stopping(struct vm *vm) { return atomic_load(&vm->stop.asked); }

bool vm_stop_told(struct vm *vm) { return atomic_load(&vm->stop.told); }

void vm_wake_main(struct vm *vm)
{
	const uint64_t one = 1;

	if (write(vm->wake_fd, &one, sizeof(one)) < 0)
		return; /* full: the main thread has been woken already */
}

void vm_stop(struct vm *vm, int status, const char *format, ...)
{
	va_list args;
	int none = 0;

	if (!atomic_compare_exchange_strong(&vm->stop.asked, &none, 1))
		return;
	vm->stop.status = status;
	va_start(args, format);
	vsnprintf(vm->stop.reason, sizeof(vm->stop.reason), format, args);
	va_end(args);
	atomic_store(&vm->stop.told, true);
	vm_wake_main(vm);
}

void vcpu_kick(struct vcpu *vcpu)
{
	/* The signal may come just before KVM_RUN; then this makes KVM_RUN return at once. In one order with
	 * vm_stop() and what kicked_out() does. */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_load(&vcpu->running))
		pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL);
}

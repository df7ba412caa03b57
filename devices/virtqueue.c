/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. Three areas of guest memory make a queue: the descriptor table and the available ring,
 * which the driver writes, and the used ring, which the device writes. Both rings carry a free-running 16-bit
 * index; what lies between the driver's index and `last_avail` is new.
 *
 * An operation may be abandoned at any instruction, or run again. What it writes into guest memory is
 * therefore only what the driver does not look at yet: the buffers of chains that it has not got back, used
 * elements beyond the used index, and notification hints. The used index itself goes to the outbox and is
 * stored by virtqueue_publish(), after the commit.
 *
 * The addresses were checked when the queue was made ready, but they live in the state, and state may hold
 * any bytes: every access goes through guest_memory_range() again, which costs two comparisons.
 */
#include "devices/virtqueue.h"

#include <errno.h>
#include <linux/virtio_ring.h>

static bool size_acceptable(uint32_t size)
{
	return size && size <= VIRTQUEUE_MAX && !(size & (size - 1));
}

/* A 16-bit word of a ring, or NULL. It is shared with the driver: use __atomic builtins on it. */
static uint16_t *ring_word(const struct guest_memory *mem, uint64_t gpa)
{
	return (gpa % sizeof(uint16_t)) ? NULL : guest_memory_range(mem, gpa, sizeof(uint16_t));
}

static uint64_t used_event_gpa(const struct virtqueue *vq)
{
	return vq->driver_gpa + offsetof(struct vring_avail, ring) + vq->size * sizeof(uint16_t);
}

static uint64_t avail_event_gpa(const struct virtqueue *vq)
{
	return vq->device_gpa + offsetof(struct vring_used, ring) + vq->size * sizeof(struct vring_used_elem);
}

static bool ring_acceptable(const struct guest_memory *mem, uint64_t gpa, uint64_t bytes, uint64_t align)
{
	return !(gpa % align) && guest_memory_range(mem, gpa, bytes);
}

bool virtqueue_start(struct virtqueue *vq, const struct guest_memory *mem)
{
	uint64_t driver_bytes = used_event_gpa(vq) + sizeof(uint16_t) - vq->driver_gpa;
	uint64_t device_bytes = avail_event_gpa(vq) + sizeof(uint16_t) - vq->device_gpa;

	vq->last_avail = 0;
	vq->used = 0;
	vq->ready = size_acceptable(vq->size) &&
		    ring_acceptable(mem, vq->desc_gpa, vq->size * sizeof(struct vring_desc),
				    VRING_DESC_ALIGN_SIZE) &&
		    ring_acceptable(mem, vq->driver_gpa, driver_bytes, VRING_AVAIL_ALIGN_SIZE) &&
		    ring_acceptable(mem, vq->device_gpa, device_bytes, VRING_USED_ALIGN_SIZE);
	return vq->ready;
}

/* Appends what a descriptor describes. An empty buffer is legal and means nothing. */
static bool segments_add(struct segments *s, const struct guest_memory *mem, const struct vring_desc *d)
{
	if (!d->len)
		return true;
	if (s->count == VIRTQUEUE_MAX || s->bytes + d->len > UINT32_MAX ||
	    !guest_memory_range(mem, d->addr, d->len))
		return false;
	s->seg[s->count].gpa = d->addr;
	s->seg[s->count].len = d->len;
	s->count++;
	s->bytes += d->len;
	return true;
}

/* A writable descriptor goes to `in`, a readable one to `out`; none of the latter may follow the former
 * (2.7.4.2). */
static bool chain_add(struct virtqueue_chain *chain, const struct guest_memory *mem,
		      const struct vring_desc *d, bool *writable)
{
	if (d->flags & VRING_DESC_F_WRITE) {
		*writable = true;
		return segments_add(&chain->in, mem, d);
	}
	return !*writable && segments_add(&chain->out, mem, d);
}

/*
 * Follows a chain, bounded by its permitted length: a loop is a chain that is too long. Its last descriptor
 * may refer to an indirect table, which is then followed from its entry 0, and which cannot refer to another
 * one (2.7.5.3).
 */
static int chain_walk(const struct virtqueue *vq, const struct guest_memory *mem,
		      struct virtqueue_chain *chain)
{
	uint64_t table = vq->desc_gpa;
	uint32_t entries = vq->size, i = chain->head;
	bool indirect_allowed = vq->indirect, writable = false;

	for (unsigned steps = 0; steps <= VIRTQUEUE_MAX; steps++) {
		struct vring_desc d;

		if (i >= entries || !guest_memory_read(mem, table + i * sizeof(d), &d, sizeof(d)))
			return -EINVAL;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!indirect_allowed || d.flags & VRING_DESC_F_NEXT || !d.len || d.len % sizeof(d) ||
			    !guest_memory_range(mem, d.addr, d.len))
				return -EINVAL;
			indirect_allowed = false;
			table = d.addr;
			entries = d.len / sizeof(d);
			i = 0;
			continue;
		}
		if (!chain_add(chain, mem, &d, &writable))
			return -EINVAL;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
	return -EINVAL;
}

int virtqueue_pop(struct virtqueue *vq, struct operation *op, struct virtqueue_chain *chain)
{
	uint16_t published = op->out->used_gpa ? op->out->used_old : vq->used;
	uint16_t out = vq->last_avail - published, waiting;
	const uint16_t *index, *entry;

	if (!size_acceptable(vq->size))
		return -EINVAL;
	index = ring_word(op->mem, vq->driver_gpa + offsetof(struct vring_avail, idx));
	entry = ring_word(op->mem, vq->driver_gpa + offsetof(struct vring_avail, ring) +
					   (vq->last_avail & (vq->size - 1u)) * sizeof(uint16_t));
	if (!index || !entry)
		return -EINVAL;

	/* Acquire: entry and descriptors are read after the index that says that they are there. Sequentially
	 * consistent: this load is not done before the store of virtqueue_arm(). */
	waiting = __atomic_load_n(index, __ATOMIC_SEQ_CST) - vq->last_avail;
	if (!waiting)
		return 0;
	if (out + waiting > vq->size)
		return -EINVAL;

	chain->head = __atomic_load_n(entry, __ATOMIC_RELAXED);
	chain->out.bytes = chain->in.bytes = 0;
	chain->out.first = chain->in.first = 0;
	chain->out.count = chain->in.count = 0;
	if (chain_walk(vq, op->mem, chain) < 0)
		return -EINVAL;
	vq->last_avail++;
	return 1;
}

bool virtqueue_push(struct virtqueue *vq, struct operation *op, uint16_t head, uint32_t written)
{
	struct outbox *out = op->out;
	struct vring_used_elem *e;

	/* The alignment also makes sure that used_gpa is not 0. */
	if (!size_acceptable(vq->size) || vq->device_gpa % VRING_USED_ALIGN_SIZE)
		return false;
	e = guest_memory_range(op->mem,
			       vq->device_gpa + offsetof(struct vring_used, ring) +
				       (vq->used & (vq->size - 1u)) * sizeof(*e),
			       sizeof(*e));
	if (!e)
		return false;
	__atomic_store_n(&e->id, head, __ATOMIC_RELAXED);
	__atomic_store_n(&e->len, written, __ATOMIC_RELAXED);

	if (!out->used_gpa) {
		out->used_gpa = vq->device_gpa + offsetof(struct vring_used, idx);
		out->used_old = vq->used;
		out->event_idx = !!vq->event_idx;
		out->event_gpa = vq->event_idx ? used_event_gpa(vq)
					       : vq->driver_gpa + offsetof(struct vring_avail, flags);
	}
	out->used_new = ++vq->used;
	return true;
}

void virtqueue_quiet(const struct virtqueue *vq, const struct guest_memory *mem)
{
	uint16_t *flags = ring_word(mem, vq->device_gpa + offsetof(struct vring_used, flags));

	/* With the event index nothing is to be done: the driver is past avail_event and rings no more. */
	if (!vq->event_idx && flags)
		__atomic_store_n(flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

void virtqueue_arm(const struct virtqueue *vq, const struct guest_memory *mem)
{
	uint16_t *flags = ring_word(mem, vq->device_gpa + offsetof(struct vring_used, flags));
	uint16_t *avail_event = ring_word(mem, avail_event_gpa(vq));

	/* The driver stores its index and then looks here; we store here and then virtqueue_pop() looks at its
	 * index. Without a full barrier in between on both sides each could miss the other. */
	if (vq->event_idx && avail_event)
		__atomic_store_n(avail_event, vq->last_avail, __ATOMIC_SEQ_CST);
	else if (!vq->event_idx && flags)
		__atomic_store_n(flags, 0, __ATOMIC_SEQ_CST);
}

bool virtqueue_publish(const struct outbox *out, const struct guest_memory *mem)
{
	uint16_t *index, *event, wish;

	if (!out->used_gpa)
		return false;
	index = ring_word(mem, out->used_gpa);
	event = ring_word(mem, out->event_gpa);
	if (!index || !event)
		return false;

	/* Release: the used elements, and the data, are there before the index says so. Sequentially
	 * consistent, the mirror image of virtqueue_arm(): the driver stores its wish and then looks at our
	 * index. */
	__atomic_store_n(index, out->used_new, __ATOMIC_SEQ_CST);
	wish = __atomic_load_n(event, __ATOMIC_SEQ_CST);
	if (out->event_idx)
		return vring_need_event(wish, out->used_new, out->used_old);
	return !(wish & VRING_AVAIL_F_NO_INTERRUPT);
}

/* Removes up to len bytes, all from the first segment; returns how many, 0 if the stream is empty. */
static uint32_t segments_advance(struct segments *s, uint32_t len, uint64_t *gpa)
{
	struct io_segment *seg = &s->seg[s->first];
	uint32_t n;

	if (!s->count)
		return 0;
	n = len < seg->len ? len : seg->len;
	*gpa = seg->gpa;
	seg->gpa += n;
	seg->len -= n;
	s->bytes -= n;
	if (!seg->len) {
		s->first++;
		s->count--;
	}
	return n;
}

bool segments_read(struct segments *s, const struct guest_memory *mem, void *to, uint32_t len)
{
	uint64_t gpa;

	for (uint32_t done = 0, n; done < len; done += n) {
		n = segments_advance(s, len - done, &gpa);
		if (!n || !guest_memory_read(mem, gpa, (uint8_t *)to + done, n))
			return false;
	}
	return true;
}

bool segments_write(struct segments *s, const struct guest_memory *mem, const void *from, uint32_t len)
{
	uint64_t gpa;

	for (uint32_t done = 0, n; done < len; done += n) {
		n = segments_advance(s, len - done, &gpa);
		if (!n || !guest_memory_write(mem, gpa, (const uint8_t *)from + done, n))
			return false;
	}
	return true;
}

bool segments_take_last(struct segments *s, uint64_t *gpa)
{
	struct io_segment *last;

	if (!s->count)
		return false;
	last = &s->seg[s->first + s->count - 1];
	last->len--;
	s->bytes--;
	*gpa = last->gpa + last->len;
	if (!last->len)
		s->count--;
	return true;
}

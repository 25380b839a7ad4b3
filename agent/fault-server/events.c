/*
 * What the kernel tells about an address space. The kernel writes events right
 * into shared memory, where they stay until they are applied; a worker that
 * takes over applies what is left. Each can be applied twice without harm.
 *
 * A thread that unmaps, moves or discards memory waits until its event is read,
 * and until all such threads of a process have got on, UFFDIO_COPY says EAGAIN.
 *
 * Events of two threads may come in the other order than that in which they
 * were in the right: one thread unmaps a place, a second one moves memory
 * there, and the second tells first. (One mremap alone does so: it says that it
 * has moved, then that the old place is unmapped.) So memory that was moved is
 * not dropped when its place is said to be unmapped. It is in doubt, until the
 * kernel has been asked whether there is a mapping.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fault-server.h"

/* Others are to get their turn. */
#define BATCHES_IN_A_ROW 8

static bool in_doubt;

static struct segments *new_segments(size_t room, uint64_t event)
{
	struct segments *segments = shared_take(sizeof(*segments) + room * sizeof(struct segment));

	if (!segments)
		give_up("no memory is left for what was moved");
	segments->room = room;
	segments->event = event;
	return segments;
}

static void replace_segments(struct space *space, struct segments *by)
{
	struct segments *old = space->segments;

	space->segments = by;
	shared_give_back(old, sizeof(*old) + old->room * sizeof(struct segment));
}

static void append(struct segments *to, struct segment segment)
{
	to->at[to->count++] = segment;
}

/* The part of a segment that is within these addresses; of no bytes if there is none. */
static struct segment part(const struct segment *of, uint64_t from, uint64_t to)
{
	uint64_t start = of->run > from ? of->run : from;
	uint64_t end = of->run + of->bytes < to ? of->run + of->bytes : to;

	if (start >= end)
		return (struct segment){0};
	return (struct segment){
		.run = start, .image = of->image + (start - of->run), .bytes = end - start, .moved = of->moved,
		.doubtful = of->doubtful};
}

/* All but what is within these addresses. Segments without anything missing are left out. */
static void append_outside(struct segments *to, const struct space *space, const struct segment *of, uint64_t from,
			   uint64_t until)
{
	struct segment parts[] = {part(of, 0, from), part(of, until, UINT64_MAX)};

	for (int i = 0; i < 2; i++)
		if (parts[i].bytes && space_lacks_any(space, parts[i].run, parts[i].run + parts[i].bytes))
			append(to, parts[i]);
}

static int by_run(const void *one, const void *other)
{
	const struct segment *a = one, *b = other;

	return a->run < b->run ? -1 : a->run > b->run;
}

static void moved(struct space *space, uint64_t from, uint64_t to, uint64_t bytes, uint64_t event)
{
	const struct segments *old = space->segments;

	if (old->event >= event)
		return;
	/* What was at the target has been replaced. */
	space_drop(space, to, to + bytes);
	if (!space_lacks_any(space, from, from + bytes))
		return;
	/* Two cuts make two more of a segment each, and what has moved comes to them. */
	struct segments *new = new_segments(old->count * 4 + 4, event);
	for (size_t i = 0; i < old->count; i++) {
		struct segment one = part(&old->at[i], from, from + bytes);
		struct segment outside[] = {part(&old->at[i], 0, from), part(&old->at[i], from + bytes, UINT64_MAX)};

		for (int j = 0; j < 2; j++)
			if (outside[j].bytes)
				append_outside(new, space, &outside[j], to, to + bytes);
		if (one.bytes && space_lacks_any(space, one.run, one.run + one.bytes)) {
			one.run += to - from;
			one.moved = true;
			append(new, one);
		}
	}
	qsort(new->at, new->count, sizeof(new->at[0]), by_run);
	replace_segments(space, new);
	wake(space, from, from + bytes);
}

static void unmapped(struct space *space, uint64_t from, uint64_t to, uint64_t event)
{
	const struct segments *old = space->segments;

	if (!space_lacks_any(space, from, to))
		return wake(space, from, to);
	struct segments *new = new_segments(old->count * 3 + 1, event > old->event ? event : old->event);
	for (size_t i = 0; i < old->count; i++) {
		struct segment one = part(&old->at[i], from, to);

		append_outside(new, space, &old->at[i], from, to);
		if (!one.bytes)
			continue;
		if (one.moved) {
			one.doubtful = in_doubt = true;
			append(new, one);
			continue;
		}
		space_drop(space, one.run, one.run + one.bytes);
	}
	qsort(new->at, new->count, sizeof(new->at[0]), by_run);
	replace_segments(space, new);
	wake(space, from, to);
}

static void forked(struct space *parent, int uffd, uint64_t event)
{
	for (const struct space *other = parent->image->spaces; other; other = other->next) {
		if (other->event != event)
			continue;
		/* Applied before, by a worker that was killed; its successor got the descriptor twice. */
		if (other->uffd != uffd)
			close(uffd);
		return;
	}
	struct space *child = space_add(parent->image, uffd, parent, event);
	if (!child)
		give_up("no memory is left for a child process");
	watch(uffd, WATCH_SPACE, child, EPOLLIN);
}

static void apply(struct space *space, const struct uffd_msg *message, uint64_t event)
{
	switch (message->event) {
	case UFFD_EVENT_PAGEFAULT:
		return fault(space, message->arg.pagefault.address & ~(PAGE_BYTES - 1));
	case UFFD_EVENT_FORK:
		return forked(space, (int)message->arg.fork.ufd, event);
	case UFFD_EVENT_REMAP:
		return moved(space, message->arg.remap.from, message->arg.remap.to, message->arg.remap.len, event);
	case UFFD_EVENT_REMOVE:
		space_drop(space, message->arg.remove.start, message->arg.remove.end);
		/* Who waits there faults again, and gets a zero page. */
		return wake(space, message->arg.remove.start, message->arg.remove.end);
	case UFFD_EVENT_UNMAP:
		return unmapped(space, message->arg.remove.start, message->arg.remove.end, event);
	default:
		give_up("the kernel tells of an event that is not known");
	}
}

static void apply_some(bool faults)
{
	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		struct uffd_msg *message = &shared->events[i];

		if ((message->event == UFFD_EVENT_PAGEFAULT) != faults)
			continue;
		if (message->event && shared->events_of->state == SPACE_LIVE)
			apply(shared->events_of, message, shared->events_batch * EVENTS_AT_ONCE + i);
		message->event = 0;
	}
}

/*
 * Faults last, though the kernel gives them first: one may be at an address to which memory has been moved, and now
 * that the event of this is read, the kernel would take a zero page there.
 */
static void events_apply(void)
{
	apply_some(false);
	apply_some(true);
	control_flush_dropped();
}

void events_begin(void)
{
	in_doubt = true;
	events_apply();
}

void events_read(struct space *space)
{
	for (int batches = 0; batches < BATCHES_IN_A_ROW && space->state == SPACE_LIVE; batches++) {
		shared->events_of = space;
		shared->events_batch++;
		ssize_t got = read(space->uffd, shared->events, sizeof(shared->events));

		if (got < 0 && errno == EINTR)
			continue;
		/* A fork that was broken off, or another's turn. */
		if (got <= 0)
			return;
		events_apply();
	}
}

static void settle(struct space *space, struct segment *segment)
{
	switch (probe(space, segment->run)) {
	case MAPPED:
		segment->doubtful = false;
		return;
	case NOT_MAPPED:
		segment->doubtful = false;
		space_drop(space, segment->run, segment->run + segment->bytes);
		return wake(space, segment->run, segment->run + segment->bytes);
	case UNCERTAIN:
		in_doubt = true;
		return;
	case NO_MEMORY_ANY_MORE:
		return space_end(space, SPACE_GONE);
	}
}

bool settle_doubts(void)
{
	if (!in_doubt)
		return false;
	in_doubt = false;
	for (struct image *image = shared->images; image; image = image->next)
		for (struct space *space = image->spaces; space; space = space->next)
			for (size_t i = 0; space->state == SPACE_LIVE && i < space->segments->count; i++)
				if (space->segments->at[i].doubtful)
					settle(space, &space->segments->at[i]);
	control_flush_dropped();
	return in_doubt;
}

/* Pages into address spaces, and the threads that wait for them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "fault-server.h"

/* Answers in the place of a number of pages. */
#define BUSY 0
#define NO_MAPPING (-1)
#define GONE (-2)

static bool is_gone(int error)
{
	/* ENOSPC: kernels before 4.13. */
	return error == ESRCH || error == ENOSPC;
}

void wake(struct space *space, uint64_t from, uint64_t to)
{
	struct uffdio_range range = {.start = from, .len = to - from};

	ioctl(space->uffd, UFFDIO_WAKE, &range);
	for (size_t i = 0; i < shared->nr_waits;) {
		struct wait *wait = &shared->waits[i];

		if (wait->space == space && wait->address >= from && wait->address < to)
			*wait = shared->waits[--shared->nr_waits];
		else
			i++;
	}
}

/* The kernel has woken them already. */
static void waits_over(struct space *space, uint64_t from, uint64_t to)
{
	struct progress_message *progress = &shared->progress;

	for (size_t i = 0; i < shared->nr_waits;) {
		struct wait *wait = &shared->waits[i];

		if (wait->space != space || wait->address < from || wait->address >= to) {
			i++;
			continue;
		}
		if (wait->for_image) {
			uint64_t waited_us = now_us() - wait->since_us;

			progress->waits_us += waited_us;
			progress->waits_over++;
			if (waited_us > progress->longest_wait_us)
				progress->longest_wait_us = waited_us;
		}
		*wait = shared->waits[--shared->nr_waits];
	}
}

void forget_waits(struct space *space)
{
	for (size_t i = 0; i < shared->nr_waits;) {
		if (shared->waits[i].space == space)
			shared->waits[i] = shared->waits[--shared->nr_waits];
		else
			i++;
	}
}

/* One call of the kernel. Returns how many pages are there now (that were not, or were already), or one of the above. */
static int64_t fill_once(struct space *space, uint64_t run, uint64_t pages, const unsigned char *data)
{
	struct uffdio_copy copy = {.dst = run, .src = (uintptr_t)data, .len = pages * PAGE_BYTES};
	struct uffdio_zeropage zero = {.range = {.start = run, .len = pages * PAGE_BYTES}};
	int failed = data ? ioctl(space->uffd, UFFDIO_COPY, &copy) : ioctl(space->uffd, UFFDIO_ZEROPAGE, &zero);
	int64_t done = data ? copy.copy : zero.zeropage;

	if (!failed || done > 0) {
		done = failed ? done / (int64_t)PAGE_BYTES : (int64_t)pages;
		shared->progress.placed_pages += done;
		waits_over(space, run, run + done * PAGE_BYTES);
		return done;
	}
	if (errno == EEXIST) {
		wake(space, run, run + PAGE_BYTES);
		return 1;
	}
	if (errno == EAGAIN || errno == EINTR)
		return BUSY;
	if (errno == ENOENT)
		return NO_MAPPING;
	if (is_gone(errno))
		return GONE;
	if (errno != ENOMEM) {
		char why[128];

		snprintf(why, sizeof(why), "a page at %llx is refused: %s", (unsigned long long)run, strerror(errno));
		freeze_container(why);
		control_send(MSG_TROUBLE, why, strlen(why));
	}
	return BUSY;
}

/*
 * The kernel fills one mapping at a time: where several are next to each other, smaller pieces.
 *
 * That there is none may be said in the middle of a change: since 6.8 the kernel looks for the mapping after it has
 * looked for changes, and only then once more for these. From the first such answer on until the change's event is
 * read it says EAGAIN. So the second answer is the one that counts.
 */
static int64_t fill(struct space *space, uint64_t run, uint64_t pages, const unsigned char *data)
{
	for (;;) {
		int64_t done = fill_once(space, run, pages, data);

		if (done != NO_MAPPING)
			return done;
		if (pages == 1)
			return fill_once(space, run, 1, data);
		pages /= 2;
	}
}

void placement_begin(struct placement *placement, struct image *image, uint64_t start, uint64_t count,
		     const unsigned char *data)
{
	if (!image->handed_over && !shared->restored)
		shared->came_early = true;
	*placement = (struct placement){
		.image = image, .start = start, .count = count, .data = data, .space = image->spaces};
}

/* Returns how many pages need no more thought, of at most `count` from `address` of the image on; BUSY. */
static uint64_t place_some(struct space *space, uint64_t address, uint64_t count, const unsigned char *data)
{
	struct image *image = space->image;
	size_t at = image_range_at(image, address);

	if (at == image->nr_ranges || image->ranges[at].start >= address + count * PAGE_BYTES)
		return count;
	const struct range *range = &image->ranges[at];
	if (range->start > address)
		return (range->start - address) / PAGE_BYTES;
	uint64_t page = range->first + (address - range->start) / PAGE_BYTES;
	uint64_t end = range->first + range->pages;
	if (end - page > count)
		end = page + count;
	uint64_t missing = next_set(space->missing, page, end);
	if (missing > page)
		return missing - page;
	end = next_clear(space->missing, page, end);

	const struct segment *segment = space_segment_of(space, address);
	if (!segment) {
		space_drop_pages(space, page, page + 1);
		return 1;
	}
	uint64_t in_segment = (segment->bytes - (address - segment->image)) / PAGE_BYTES;
	uint64_t pages = end - page < in_segment ? end - page : in_segment;
	uint64_t run = segment->run + (address - segment->image);
	int64_t done = fill(space, run, pages, data);

	if (done > 0) {
		space_placed(space, page, done);
		return done;
	}
	if (done == GONE) {
		space_end(space, SPACE_GONE);
		return count;
	}
	if (done == NO_MAPPING && shared->restored) {
		space_drop_pages(space, page, page + 1);
		wake(space, run, run + PAGE_BYTES);
		return 1;
	}
	if (done == NO_MAPPING) {
		shared->came_early = true;
		return 1;
	}
	return BUSY;
}

bool placement_go_on(struct placement *placement)
{
	for (; placement->space; placement->space = placement->space->next, placement->done = 0) {
		while (placement->space->state == SPACE_LIVE && placement->done < placement->count) {
			uint64_t at = placement->done * PAGE_BYTES;
			uint64_t some = place_some(placement->space, placement->start + at, placement->count - placement->done,
						   placement->data ? placement->data + at : NULL);

			if (some == BUSY)
				return false;
			placement->done += some;
		}
	}
	control_flush_dropped();
	return true;
}

/* True if it waits no longer. */
static bool settle_wait(struct wait *wait)
{
	struct space *space = wait->space;
	uint64_t address = wait->address, page;

	if (space_lacks(space, address, &page)) {
		if (!wait->for_image)
			shared->progress.faults++;
		wait->for_image = true;
		control_fault(space->image, page);
		return false;
	}
	/* Never had content, or has it no more. */
	int64_t done = fill_once(space, address, 1, NULL);
	if (done == BUSY) {
		wait->for_image = false;
		return false;
	}
	if (done == GONE)
		space_end(space, SPACE_GONE);
	else
		/* Without a mapping it is for the thread to find that out. */
		wake(space, address, address + PAGE_BYTES);
	return true;
}

void fault(struct space *space, uint64_t address)
{
	for (size_t i = 0; i < shared->nr_waits; i++)
		if (shared->waits[i].space == space && shared->waits[i].address == address)
			return;
	/* It comes again then. */
	if (shared->nr_waits == MAX_WAITS)
		return wake(space, address, address + PAGE_BYTES);
	struct wait *wait = &shared->waits[shared->nr_waits];
	*wait = (struct wait){.space = space, .address = address, .since_us = now_us()};
	shared->nr_waits++;
	settle_wait(wait);
}

bool retry_zeros(void)
{
	bool some = false;

	for (size_t i = 0; i < shared->nr_waits;) {
		bool over = !shared->waits[i].for_image && settle_wait(&shared->waits[i]);

		/* The list has changed. */
		if (over) {
			i = 0;
			some = false;
			continue;
		}
		some |= !shared->waits[i].for_image;
		i++;
	}
	return some;
}

void ask_again(void)
{
	for (size_t i = 0; i < shared->nr_waits; i++) {
		uint64_t page;

		if (space_lacks(shared->waits[i].space, shared->waits[i].address, &page))
			control_fault(shared->waits[i].space->image, page);
	}
}

static enum mapped probe_once(struct space *space, uint64_t address)
{
	static void *nothing;

	if (!nothing)
		nothing = mmap(NULL, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Fails for want of a source, after all else was looked at. */
	struct uffdio_copy copy = {.dst = address, .src = (uintptr_t)nothing, .len = PAGE_BYTES};
	if (!ioctl(space->uffd, UFFDIO_COPY, &copy))
		return MAPPED;
	if (is_gone(errno))
		return NO_MEMORY_ANY_MORE;
	if (errno == ENOENT)
		return NOT_MAPPED;
	return errno == EAGAIN || errno == ENOMEM ? UNCERTAIN : MAPPED;
}

enum mapped probe(struct space *space, uint64_t address)
{
	enum mapped answer = probe_once(space, address);

	/* As in fill(). */
	return answer == NOT_MAPPED ? probe_once(space, address) : answer;
}

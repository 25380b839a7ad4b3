/*
 * What is missing where. An image is a sorted list of ranges, which never
 * changes; a page's place in it is its bit in the bitmaps. An address space has
 * a bitmap of its own, and a table of segments that says where the image's
 * addresses are in it by now: one for all at first, more with each mremap of
 * something missing.
 */
#include <string.h>
#include <unistd.h>

#include "fault-server.h"

#define EVERYTHING (1ull << 62)

struct image *image_of(uint32_t task)
{
	struct image *image = shared->buckets[task % BUCKETS];

	while (image && image->task != task)
		image = image->next_in_bucket;
	return image;
}

struct image *image_add(uint32_t task)
{
	struct image *image = shared_take(sizeof(*image));

	if (!image)
		return NULL;
	image->task = task;
	image->next = shared->images;
	image->next_in_bucket = shared->buckets[task % BUCKETS];
	shared->images = image;
	shared->buckets[task % BUCKETS] = image;
	return image;
}

bool image_add_range(struct image *image, uint64_t start, uint64_t pages)
{
	struct range *last = image->nr_ranges ? &image->ranges[image->nr_ranges - 1] : NULL;

	if (start % PAGE_BYTES || !pages || start >= EVERYTHING || pages > (EVERYTHING - start) / PAGE_BYTES)
		return false;
	if (last && start < last->start + last->pages * PAGE_BYTES)
		return false;
	if (last && start == last->start + last->pages * PAGE_BYTES) {
		last->pages += pages;
		image->pages += pages;
		return true;
	}
	if (image->nr_ranges == image->room_for_ranges) {
		size_t room = image->room_for_ranges ? image->room_for_ranges * 2 : 64;
		struct range *ranges = shared_take(room * sizeof(*ranges));

		if (!ranges)
			return false;
		if (image->ranges) {
			memcpy(ranges, image->ranges, image->nr_ranges * sizeof(*ranges));
			shared_give_back(image->ranges, image->room_for_ranges * sizeof(*ranges));
		}
		image->ranges = ranges;
		image->room_for_ranges = room;
	}
	image->ranges[image->nr_ranges++] = (struct range){.start = start, .pages = pages, .first = image->pages};
	image->pages += pages;
	return true;
}

size_t image_range_at(const struct image *image, uint64_t address)
{
	size_t low = 0, high = image->nr_ranges;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct range *range = &image->ranges[middle];

		if (range->start + range->pages * PAGE_BYTES > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

size_t bitmap_bytes(uint64_t pages)
{
	return (pages + 63) / 64 * 8 + 8;
}

static size_t segments_bytes(size_t room)
{
	return sizeof(struct segments) + room * sizeof(struct segment);
}

struct space *space_add(struct image *image, int uffd, const struct space *parent, uint64_t event)
{
	struct space *space = shared_take(sizeof(*space)), **end = &image->spaces;
	size_t room = parent ? parent->segments->count : 1;

	if (!space)
		return NULL;
	space->image = image;
	space->uffd = uffd;
	space->event = event;
	space->number = ++shared->spaces_made;
	space->missing = shared_take(bitmap_bytes(image->pages));
	space->segments = shared_take(segments_bytes(room));
	if (!space->missing || !space->segments)
		return NULL;
	space->segments->room = room;
	if (parent) {
		memcpy(space->missing, parent->missing, bitmap_bytes(image->pages));
		memcpy(space->segments->at, parent->segments->at, room * sizeof(struct segment));
		space->nr_missing = parent->nr_missing;
	} else {
		memset(space->missing, 0xff, image->pages / 64 * 8);
		if (image->pages % 64)
			space->missing[image->pages / 64] = (1ull << image->pages % 64) - 1;
		space->segments->at[0] = (struct segment){.bytes = EVERYTHING};
		space->nr_missing = image->pages;
	}
	space->segments->count = room;
	while (*end)
		end = &(*end)->next;
	*end = space;
	store_add(space);
	return space;
}

void space_recount(struct space *space)
{
	space->nr_missing = 0;
	for (size_t i = 0; i < (space->image->pages + 63) / 64; i++)
		space->nr_missing += __builtin_popcountll(space->missing[i]);
}

uint64_t next_set(const uint64_t *bits, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t word = bits[from / 64] >> from % 64;

		if (word) {
			from += __builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

uint64_t next_clear(const uint64_t *bits, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t word = ~bits[from / 64] >> from % 64;

		if (word) {
			from += __builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

void space_placed(struct space *space, uint64_t page, uint64_t count)
{
	for (; count; page++, count--) {
		uint64_t bit = 1ull << page % 64;

		if (!(space->missing[page / 64] & bit))
			continue;
		space->missing[page / 64] &= ~bit;
		space->nr_missing--;
	}
}

/* Index of the first segment that ends after the address. */
static size_t segment_at(const struct segments *segments, uint64_t run)
{
	size_t low = 0, high = segments->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (segments->at[middle].run + segments->at[middle].bytes > run)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool space_lacks(const struct space *space, uint64_t run, uint64_t *page)
{
	const struct image *image = space->image;
	size_t at = segment_at(space->segments, run);
	const struct segment *segment = &space->segments->at[at];

	if (at == space->segments->count || segment->run > run)
		return false;
	uint64_t address = segment->image + (run - segment->run);
	at = image_range_at(image, address);
	if (at == image->nr_ranges || image->ranges[at].start > address)
		return false;
	*page = image->ranges[at].first + (address - image->ranges[at].start) / PAGE_BYTES;
	return space->missing[*page / 64] >> *page % 64 & 1;
}

const struct segment *space_segment_of(const struct space *space, uint64_t image)
{
	/* Not sorted by this; there are few. */
	for (size_t i = 0; i < space->segments->count; i++) {
		const struct segment *segment = &space->segments->at[i];

		if (segment->image <= image && image - segment->image < segment->bytes)
			return segment;
	}
	return NULL;
}

/* Places in the bitmaps, first and after the last, of what the image has within some addresses of it. */
static void pages_within(const struct image *image, uint64_t from, uint64_t to, uint64_t *first, uint64_t *end)
{
	size_t low = image_range_at(image, from), high = image_range_at(image, to);

	*first = *end = image->pages;
	if (low < image->nr_ranges) {
		const struct range *range = &image->ranges[low];

		*first = range->first + (from > range->start ? (from - range->start) / PAGE_BYTES : 0);
	}
	if (high < image->nr_ranges) {
		const struct range *range = &image->ranges[high];

		*end = range->first + (to > range->start ? (to - range->start) / PAGE_BYTES : 0);
	}
}

struct window {
	uint64_t first, end;
};

/* Calls for what of the image is at these addresses of the copy, segment by segment, until `each` says true. */
static bool visit(const struct space *space, uint64_t from, uint64_t to, bool (*each)(struct space *, struct window))
{
	const struct segments *segments = space->segments;

	for (size_t i = segment_at(segments, from); i < segments->count && segments->at[i].run < to; i++) {
		const struct segment *segment = &segments->at[i];
		uint64_t start = segment->run > from ? segment->run : from;
		uint64_t stop = segment->run + segment->bytes < to ? segment->run + segment->bytes : to;
		uint64_t moved = segment->image - segment->run;
		struct window window;

		pages_within(space->image, start + moved, stop + moved, &window.first, &window.end);
		if (each((struct space *)space, window))
			return true;
	}
	return false;
}

static bool any_missing(struct space *space, struct window window)
{
	return next_set(space->missing, window.first, window.end) < window.end;
}

bool space_lacks_any(const struct space *space, uint64_t from, uint64_t to)
{
	return visit(space, from, to, any_missing);
}

static bool needed_elsewhere(const struct space *except, uint64_t page)
{
	for (const struct space *space = except->image->spaces; space; space = space->next)
		if (space != except && space->state == SPACE_LIVE && space->missing[page / 64] >> page % 64 & 1)
			return true;
	return false;
}

void space_drop_pages(struct space *space, uint64_t from, uint64_t to)
{
	bool alone = space->image->spaces == space && !space->next;

	for (uint64_t page; (page = next_set(space->missing, from, to)) < to; from = page) {
		uint64_t end = alone ? next_clear(space->missing, page, to) : page + 1;

		space_placed(space, page, end - page);
		if (alone || !needed_elsewhere(space, page))
			control_dropped(space->image, page, end - page);
		page = end;
	}
}

static bool drop(struct space *space, struct window window)
{
	space_drop_pages(space, window.first, window.end);
	return false;
}

void space_drop(struct space *space, uint64_t from, uint64_t to)
{
	visit(space, from, to, drop);
}

void space_end(struct space *space, enum space_state state)
{
	size_t room = space->segments->room;

	if (space->state != SPACE_LIVE)
		return;
	forget_waits(space);
	space_drop_pages(space, 0, space->image->pages);
	space->state = state;
	close(space->uffd);
	space->uffd = -1;
	/* The list of spaces stays: a worker may be on its way through it. */
	shared_give_back(space->missing, bitmap_bytes(space->image->pages));
	shared_give_back(space->segments, segments_bytes(room));
}

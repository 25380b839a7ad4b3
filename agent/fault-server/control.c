/* The agent's end: one connection at a time, which may be lost at any moment. protocol.h says what is said. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault-server.h"

/* Of an agent that does not read: it gets a whole STATE when it comes back. */
#define MAX_QUEUED_BYTES (4u << 20)
#define FINISH_LIMIT_MS 1000
#define DROPPED_AT_ONCE 1024
#define FROZEN "the container has been frozen, see the log of the fault server"

static int connection = -1;
static uint32_t watched_for;

static struct {
	char *bytes;
	size_t sent, length, room;
} out;

static struct {
	struct frame_head head;
	size_t have;
	/* Page-aligned behind the head of a PAGES frame. */
	unsigned char *payload;
	/* Ranges of ZEROS that are placed. */
	size_t next_range;
	bool placing;
	struct placement placement;
} in;

static struct {
	struct image *image;
	size_t count;
	struct wire_range ranges[DROPPED_AT_ONCE];
} dropped;

int listen_at(const char *path, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[4096];
	const char *name = strrchr(path, '/');
	int fd = -1;

	/* The whole path may be longer than an address can be. */
	snprintf(directory, sizeof(directory), "%.*s", (int)(name - path) + 1, path);
	name++;
	if (strlen(name) >= sizeof(address.sun_path) || chdir(directory))
		goto out;
	strcpy(address.sun_path, name);
	unlink(name);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* With the umask that run() has set nobody but root may connect. */
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, backlog))) {
		close(fd);
		fd = -1;
	}
out:
	if (fd < 0)
		say("%s: %s", path, strerror(errno));
	if (chdir("/"))
		say("/: %s", strerror(errno));
	return fd;
}

bool control_connected(void)
{
	return connection >= 0;
}

static void disconnect(void)
{
	if (connection >= 0)
		close(connection);
	connection = -1;
	out.sent = out.length = 0;
	in.have = 0;
	in.placing = false;
	dropped.count = 0;
}

void control_begin(void)
{
	connection = -1;
	disconnect();
}

static void update_watch(void)
{
	uint32_t events = (in.placing ? 0 : EPOLLIN) | (out.length > out.sent ? EPOLLOUT : 0);

	if (connection < 0 || events == watched_for)
		return;
	watched_for = events;
	watch_change(connection, WATCH_CONTROL, NULL, events);
}

static void send_queued(void)
{
	while (connection >= 0 && out.sent < out.length) {
		ssize_t sent = send(connection, out.bytes + out.sent, out.length - out.sent, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			return disconnect();
		out.sent += sent;
	}
	if (out.sent == out.length)
		out.sent = out.length = 0;
	update_watch();
}

static void queue(const void *bytes, size_t length)
{
	if (out.length + length > out.room) {
		memmove(out.bytes, out.bytes + out.sent, out.length - out.sent);
		out.length -= out.sent;
		out.sent = 0;
	}
	if (out.length + length > out.room) {
		size_t room = (out.length + length) * 2;
		char *more = realloc(out.bytes, room);

		if (!more)
			return disconnect();
		out.bytes = more;
		out.room = room;
	}
	memcpy(out.bytes + out.length, bytes, length);
	out.length += length;
}

static void queue_frame(uint32_t type, const void *head, size_t head_length, const void *rest, size_t rest_length)
{
	struct frame_head frame = {.type = type, .length = head_length + rest_length};

	if (connection >= 0)
		queue(&frame, sizeof(frame));
	if (connection >= 0 && head_length)
		queue(head, head_length);
	if (connection >= 0 && rest_length)
		queue(rest, rest_length);
}

void control_send(uint32_t type, const void *payload, size_t length)
{
	if (connection < 0)
		return;
	if (out.length - out.sent > MAX_QUEUED_BYTES) {
		say("the agent does not read");
		return disconnect();
	}
	queue_frame(type, payload, length, NULL, 0);
	send_queued();
}

static uint64_t address_of(const struct image *image, uint64_t page, uint64_t *in_range)
{
	size_t low = 0, high = image->nr_ranges;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (image->ranges[middle].first > page)
			high = middle;
		else
			low = middle;
	}
	const struct range *range = &image->ranges[low];
	*in_range = range->first + range->pages - page;
	return range->start + (page - range->first) * PAGE_BYTES;
}

void control_fault(struct image *image, uint64_t page)
{
	struct fault_message message = {.task = image->task};
	uint64_t in_range;

	if (connection < 0 || image->asked[page / 64] >> page % 64 & 1)
		return;
	image->asked[page / 64] |= 1ull << page % 64;
	message.address = address_of(image, page, &in_range);
	control_send(MSG_FAULT, &message, sizeof(message));
}

void control_flush_dropped(void)
{
	if (!dropped.count)
		return;
	struct ranges_head head = {.task = dropped.image->task};
	size_t count = dropped.count;

	dropped.count = 0;
	if (connection < 0)
		return;
	queue_frame(MSG_DROPPED, &head, sizeof(head), dropped.ranges, count * sizeof(dropped.ranges[0]));
	if (out.length - out.sent > MAX_QUEUED_BYTES)
		return disconnect();
	send_queued();
}

void control_dropped(struct image *image, uint64_t page, uint64_t count)
{
	if (connection < 0)
		return;
	if (dropped.image != image)
		control_flush_dropped();
	dropped.image = image;
	while (count) {
		uint64_t in_range, start = address_of(image, page, &in_range);
		uint64_t some = count < in_range ? count : in_range;
		struct wire_range *last = dropped.count ? &dropped.ranges[dropped.count - 1] : NULL;

		if (last && last->start + last->pages * PAGE_BYTES == start) {
			last->pages += some;
		} else {
			if (dropped.count == DROPPED_AT_ONCE)
				control_flush_dropped();
			dropped.ranges[dropped.count++] = (struct wire_range){.start = start, .pages = some};
		}
		page += some;
		count -= some;
	}
}

/* 64 pages of what is missing in any address space of an image, from `word` of its bitmaps on. */
static uint64_t missing_anywhere(const struct image *image, uint64_t word)
{
	uint64_t bits = 0;

	if (!image->handed_over && shared->restored)
		return 0;
	if (!image->handed_over)
		return word < image->pages / 64 ? ~0ull : (1ull << image->pages % 64) - 1;
	for (const struct space *space = image->spaces; space; space = space->next)
		if (space->state == SPACE_LIVE)
			bits |= space->missing[word];
	return bits;
}

static void queue_remaining(struct image *image)
{
	static struct wire_range ranges[4096];
	const size_t room = sizeof(ranges) / sizeof(ranges[0]);
	struct ranges_head head = {.task = image->task};
	size_t count = 0;

	for (uint64_t word = 0; word < (image->pages + 63) / 64; word++) {
		for (uint64_t bits = missing_anywhere(image, word); bits; bits &= bits - 1) {
			uint64_t in_range, start = address_of(image, word * 64 + __builtin_ctzll(bits), &in_range);
			struct wire_range *last = count ? &ranges[count - 1] : NULL;

			if (last && last->start + last->pages * PAGE_BYTES == start) {
				last->pages++;
				continue;
			}
			if (count == room) {
				queue_frame(MSG_REMAINING, &head, sizeof(head), ranges, sizeof(ranges));
				count = 0;
			}
			ranges[count++] = (struct wire_range){.start = start, .pages = 1};
		}
	}
	if (count)
		queue_frame(MSG_REMAINING, &head, sizeof(head), ranges, count * sizeof(ranges[0]));
}

void control_state(void)
{
	uint32_t state[4] = {PROTOCOL_VERSION};
	uint32_t *tasks = NULL;
	size_t count = 0;

	if (connection < 0)
		return;
	dropped.count = 0;
	state[1] = (shared->listening ? STATE_LISTENING : 0) | (shared->restored ? STATE_RESTORED : 0) |
		   (shared->failed ? STATE_FAILED : 0);
	for (struct image *image = shared->images; image; image = image->next)
		count += image->handed_over;
	tasks = count ? malloc(count * sizeof(*tasks)) : NULL;
	if (count && !tasks)
		return disconnect();
	for (struct image *image = shared->images; image; image = image->next) {
		if (image->handed_over)
			tasks[state[3]++] = image->task;
		if (image->asked)
			memset(image->asked, 0, bitmap_bytes(image->pages));
	}
	queue_frame(MSG_STATE, state, sizeof(state), tasks, count * sizeof(*tasks));
	free(tasks);
	if (shared->listening)
		for (struct image *image = shared->images; image; image = image->next)
			queue_remaining(image);
	queue_frame(MSG_STATE_END, NULL, 0, NULL, 0);
	if (shared->frozen)
		queue_frame(MSG_TROUBLE, FROZEN, strlen(FROZEN), NULL, 0);
	if (shared->listening)
		ask_again();
	send_queued();
}

void control_progress(void)
{
	static struct progress_message told;
	struct progress_message *progress = &shared->progress;

	progress->waiting = 0;
	for (size_t i = 0; i < shared->nr_waits; i++)
		progress->waiting += shared->waits[i].for_image;
	if (connection < 0 || !memcmp(&told, progress, sizeof(told)))
		return;
	told = *progress;
	control_send(MSG_PROGRESS, progress, sizeof(*progress));
}

void control_accept(void)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	int fd = accept4(shared->control_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) || peer.uid != 0) {
		close(fd);
		return;
	}
	/* The agent has been started again; what it was has perhaps not yet ended. */
	disconnect();
	if (!in.payload) {
		unsigned char *memory = mmap(NULL, PAGE_BYTES + MAX_PAYLOAD_BYTES, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED) {
			close(fd);
			return;
		}
		in.payload = memory + PAGE_BYTES - sizeof(struct pages_head);
	}
	connection = fd;
	watched_for = EPOLLIN;
	watch(connection, WATCH_CONTROL, NULL, watched_for);
	if (!shared->listening)
		shared_forget();
	control_state();
}

static void refuse(const char *why)
{
	say("the agent is refused: %s", why);
	control_send(MSG_REFUSED, why, strlen(why));
	disconnect();
}

static void take_ranges(void)
{
	const struct ranges_head *head = (const struct ranges_head *)in.payload;
	const struct wire_range *ranges = (const struct wire_range *)(head + 1);
	size_t count = (in.head.length - sizeof(*head)) / sizeof(*ranges);
	struct image *image = image_of(head->task);

	if (shared->listening)
		return refuse("ranges after LISTEN");
	if (!head->task || head->task > INT32_MAX)
		return refuse("ranges of no task");
	if (!image)
		image = image_add(head->task);
	if (!image)
		return refuse("no memory for another task");
	for (size_t i = 0; i < count; i++)
		if (!image_add_range(image, ranges[i].start, ranges[i].pages))
			return refuse("ranges that do not ascend, or are too many");
}

static void take_listen(void)
{
	if (shared->listening)
		return;
	for (struct image *image = shared->images; image; image = image->next) {
		image->asked = shared_take(bitmap_bytes(image->pages));
		if (!image->asked)
			return refuse("no memory for so many pages");
	}
	if (!criu_listen())
		return refuse("cannot listen for CRIU");
	shared->listening = true;
	control_state();
}

static struct image *image_for_pages(uint32_t task)
{
	struct image *image = shared->listening ? image_of(task) : NULL;

	if (!image)
		refuse("pages of a task without ranges");
	return image;
}

static void take_pages(void)
{
	const struct pages_head *head = (const struct pages_head *)in.payload;
	struct image *image;

	if (!head->count || head->count > MAX_PAGES_PER_FRAME || head->start % PAGE_BYTES || head->start > 1ull << 62 ||
	    in.head.length != sizeof(*head) + head->count * PAGE_BYTES)
		return refuse("pages whose number or place is wrong");
	image = image_for_pages(head->task);
	if (!image)
		return;
	placement_begin(&in.placement, image, head->start, head->count, in.payload + sizeof(*head));
	in.placing = true;
}

/* The next range of ZEROS; false after the last. */
static bool take_zeros(void)
{
	const struct ranges_head *head = (const struct ranges_head *)in.payload;
	const struct wire_range *range = (const struct wire_range *)(head + 1) + in.next_range;
	struct image *image;

	if (sizeof(*head) + (in.next_range + 1) * sizeof(*range) > in.head.length)
		return false;
	if (range->start % PAGE_BYTES || range->start > 1ull << 62 || range->pages > 1ull << 50) {
		refuse("zeros whose place is wrong");
		return false;
	}
	image = image_for_pages(head->task);
	if (!image)
		return false;
	in.next_range++;
	placement_begin(&in.placement, image, range->start, range->pages, NULL);
	in.placing = true;
	return true;
}

static void take_end(void)
{
	for (struct image *image = shared->images; image; image = image->next)
		for (uint64_t word = 0; word < (image->pages + 63) / 64; word++)
			if (missing_anywhere(image, word))
				return control_state();
}

static void take_frame(void)
{
	switch (in.head.type) {
	case MSG_RANGES:
		return take_ranges();
	case MSG_LISTEN:
		return take_listen();
	case MSG_PAGES:
		return take_pages();
	case MSG_ZEROS:
		in.next_range = 0;
		take_zeros();
		return;
	case MSG_END:
		return take_end();
	}
}

static bool length_is_right(void)
{
	size_t length = in.head.length;

	switch (in.head.type) {
	case MSG_RANGES:
	case MSG_ZEROS:
		return length >= sizeof(struct ranges_head) && length <= MAX_PAYLOAD_BYTES &&
		       (length - sizeof(struct ranges_head)) % sizeof(struct wire_range) == 0;
	case MSG_PAGES:
		return length > sizeof(struct pages_head) && length <= MAX_PAYLOAD_BYTES;
	case MSG_LISTEN:
	case MSG_END:
		return length == 0;
	}
	return false;
}

/* Returns true when a frame is there. */
static bool read_frame(void)
{
	for (;;) {
		size_t want = sizeof(in.head);
		void *to = (char *)&in.head + in.have;

		if (in.have >= sizeof(in.head)) {
			want += in.head.length;
			to = in.payload + (in.have - sizeof(in.head));
			if (in.have == want)
				return true;
		}
		ssize_t got = recv(connection, to, want - in.have, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return false;
		if (got <= 0) {
			disconnect();
			return false;
		}
		in.have += got;
		if (in.have == sizeof(in.head) && !length_is_right()) {
			refuse("a frame of no known kind, or of a wrong length");
			return false;
		}
	}
}

/* False: the kernel was busy. */
static bool go_on_placing(void)
{
	while (in.placing) {
		if (!placement_go_on(&in.placement))
			return false;
		in.placing = false;
		if (in.head.type == MSG_ZEROS)
			take_zeros();
	}
	return true;
}

bool control_go_on(void)
{
	bool placed = !in.placing || go_on_placing();

	update_watch();
	return !placed;
}

void control_ready(uint32_t events)
{
	if (events & EPOLLOUT)
		send_queued();
	/* What is in the middle of being placed is still missing, and is in the STATE of the next connection. */
	if (connection >= 0 && in.placing && events & (EPOLLHUP | EPOLLERR))
		return disconnect();
	if (connection < 0 || in.placing || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !read_frame())
		return;
	in.have = 0;
	take_frame();
	if (in.placing)
		go_on_placing();
	update_watch();
}

void control_finish(void)
{
	uint64_t until_us = now_us() + FINISH_LIMIT_MS * 1000;

	while (connection >= 0 && out.sent < out.length && now_us() < until_us) {
		struct pollfd writable = {.fd = connection, .events = POLLOUT};

		poll(&writable, 1, 100);
		send_queued();
	}
	disconnect();
}

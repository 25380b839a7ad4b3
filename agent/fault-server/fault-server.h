/*
 * The parts of drayage-fault-server.
 *
 *   main.c       arguments, sockets
 *   keeper.c     two processes, of which each replaces the other
 *   shared.c     the memory that both have
 *   space.c      what is missing in each address space, and where it is now
 *   events.c     what the kernel tells about an address space
 *   place.c      pages into address spaces; threads that wait for them
 *   criu.c       CRIU's end
 *   control.c    the agent's end
 *   serve.c      the loop
 *   descriptor-store.c  what systemd holds for the time when both processes are gone
 *   after.c      then it is started again
 */
#ifndef FAULT_SERVER_H
#define FAULT_SERVER_H

#include <limits.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

/* A run of pages of an image that the copy lacks at first. */
struct range {
	uint64_t start;
	uint64_t pages;
	/* Number of pages in the ranges before it: a page's place in the bitmaps. */
	uint64_t first;
};

/* The memory of one task as it was dumped. */
struct image {
	struct image *next;
	struct image *next_in_bucket;
	uint32_t task;
	/* CRIU has handed its task over. */
	bool handed_over;
	/* Sorted and disjoint. */
	struct range *ranges;
	size_t nr_ranges, room_for_ranges;
	uint64_t pages;
	/* Pages that the agent has been asked for on this connection. */
	uint64_t *asked;
	/* The task's own address space, then those of its children since. */
	struct space *spaces;
};

/* A stretch of an image, and where it is in an address space. */
struct segment {
	uint64_t run;
	uint64_t image;
	uint64_t bytes;
	/* It came here by mremap. */
	bool moved;
	/* Said to be unmapped, but moved: see events.c. */
	bool doubtful;
};

/* Sorted by run. Never changed but for `doubtful`: a new one takes its place. */
struct segments {
	/* The event that made it, so that it is not applied twice. */
	uint64_t event;
	size_t room, count;
	struct segment at[];
};

enum space_state { SPACE_LIVE, SPACE_COMPLETE, SPACE_GONE };
/* Systemd's, on a userfaultfd: to be told of; told of; asked to end, before a barrier and behind it. */
enum hold { HOLD_WANTED, HOLD_FIRM, HOLD_ENDS, HOLD_AWAITS_END, HOLD_NONE };

struct space {
	struct space *next;
	struct image *image;
	int uffd;
	enum space_state state;
	uint64_t *missing;
	uint64_t nr_missing;
	struct segments *segments;
	/* The fork that made it; 0 for those that came from CRIU. */
	uint64_t event;
	/* Its name with systemd. */
	uint64_t number;
	enum hold hold;
};

/* A thread, or several, of the copy that wait for a page. */
struct wait {
	struct space *space;
	uint64_t address;
	uint64_t since_us;
	/* It waits for image content; otherwise the kernel was busy when it should have got a zero page. */
	bool for_image;
};

#define EVENTS_AT_ONCE 16
#define MAX_WAITS 16384
#define BUCKETS 4096

/*
 * All that must outlive a process, in memory that the next one has at the same
 * address. Whatever is changed here can be cut short at any instruction by
 * SIGKILL: a change is made visible by one store, or can be made again.
 */
struct shared {
	/* Of the arena in which this lies. */
	size_t next, size, first;
	void *given_back[64];

	pid_t keeper, worker;
	/* Successive workers without one that lived, and when the last one began. */
	unsigned restarts;
	uint64_t worker_since_us;
	const char *cgroup, *criu_path, *control_path;
	bool frozen, stop;

	int control_listener, criu_listener, criu;
	bool listening, restored, failed;
	/* Pages have come for mappings that were not there yet. */
	bool came_early;
	/* What CRIU has said of the task that it is handing over. */
	int32_t criu_task;
	union {
		char bytes[64];
		uint64_t aligned;
	} criu_rights;

	/* Events that were read and are not all applied; event 0 is none. The kernel writes here. */
	struct space *events_of;
	uint64_t events_batch;
	struct uffd_msg events[EVENTS_AT_ONCE];

	struct image *images, *buckets[BUCKETS];
	uint64_t spaces_made;

	size_t nr_waits;
	struct wait waits[MAX_WAITS];
	struct progress_message progress;
};

extern struct shared *shared;

/* shared.c */
bool shared_open(void);
/* Zeroed. NULL if there is no more. */
void *shared_take(size_t bytes);
void shared_give_back(void *block, size_t bytes);
/* Forgets all images. Only while there are no spaces. */
void shared_forget(void);
uint64_t now_us(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Freezes the container, once. */
void freeze_container(const char *why);
/* The container stands still for good: there is no way on that would not lose data. */
void give_up(const char *why) __attribute__((noreturn));

/* space.c */
struct image *image_of(uint32_t task);
struct image *image_add(uint32_t task);
/* False if it is not ascending, or there is no memory. */
bool image_add_range(struct image *image, uint64_t start, uint64_t pages);
/* Index of the first range that ends after the address. */
size_t image_range_at(const struct image *image, uint64_t address);
/* NULL without memory. `parent` NULL: everything is missing. */
struct space *space_add(struct image *image, int uffd, const struct space *parent, uint64_t event);
/* Counts what is missing anew, after a worker was cut short. */
void space_recount(struct space *space);
/* The place in the bitmaps of the page that is to be at this address of the copy; false if none is missing there. */
bool space_lacks(const struct space *space, uint64_t run, uint64_t *page);
bool space_lacks_any(const struct space *space, uint64_t from, uint64_t to);
/* The segment in which an address of the image is now; NULL if nowhere. */
const struct segment *space_segment_of(const struct space *space, uint64_t image);
/* These are there now. */
void space_placed(struct space *space, uint64_t page, uint64_t count);
/* Nobody needs these: addresses of the copy; places in the bitmaps. */
void space_drop(struct space *space, uint64_t from, uint64_t to);
void space_drop_pages(struct space *space, uint64_t from, uint64_t to);
void space_end(struct space *space, enum space_state state);
uint64_t next_set(const uint64_t *bits, uint64_t from, uint64_t end);
uint64_t next_clear(const uint64_t *bits, uint64_t from, uint64_t end);
size_t bitmap_bytes(uint64_t pages);

/* events.c */
void events_read(struct space *space);
/* Applies what a predecessor has left. */
void events_begin(void);
/* True while something is still in doubt. */
bool settle_doubts(void);

/* place.c */
struct placement {
	struct image *image;
	uint64_t start;
	uint64_t count;
	/* NULL: zeros. */
	const unsigned char *data;
	struct space *space;
	uint64_t done;
};
void placement_begin(struct placement *placement, struct image *image, uint64_t start, uint64_t count,
		     const unsigned char *data);
/* False: the kernel is busy, once more later. */
bool placement_go_on(struct placement *placement);
void fault(struct space *space, uint64_t address);
/* Threads that wait there try again. */
void wake(struct space *space, uint64_t from, uint64_t to);
/* True while threads wait for a kernel that was busy. */
bool retry_zeros(void);
/* Asks the agent for all that is waited for. */
void ask_again(void);
void forget_waits(struct space *space);
enum mapped { MAPPED, NOT_MAPPED, UNCERTAIN, NO_MEMORY_ANY_MORE };
/* Whether a registered mapping is at this address, without any effect. */
enum mapped probe(struct space *space, uint64_t address);

/* criu.c */
bool criu_listen(void);
void criu_accept(void);
void criu_read(void);

/* control.c */
/* In a process that has perhaps been forked from one with a connection, of which it has not the descriptor. */
void control_begin(void);
void control_accept(void);
void control_ready(uint32_t events);
/* True: more input may be at hand without the kernel telling so. */
bool control_go_on(void);
bool control_connected(void);
void control_send(uint32_t type, const void *payload, size_t length);
void control_fault(struct image *image, uint64_t page);
/* Collected, and sent with the next flush. */
void control_dropped(struct image *image, uint64_t page, uint64_t count);
void control_flush_dropped(void);
void control_state(void);
void control_progress(void);
/* Waits a moment until the agent has all that was sent, and closes. */
void control_finish(void);
int listen_at(const char *path, int backlog);

/* serve.c */
enum watched { WATCH_SPACE, WATCH_CRIU_LISTENER, WATCH_CRIU, WATCH_CONTROL_LISTENER, WATCH_CONTROL, WATCH_KEEPER, WATCH_STORE };
void watch(int fd, enum watched what, const void *which, uint32_t events);
void watch_change(int fd, enum watched what, const void *which, uint32_t events);
void serve(void) __attribute__((noreturn));
/* Where it is left, beside the control socket. */
void outcome_path(char path[PATH_MAX]);
void write_outcome(const char *outcome);

/* descriptor-store.c: without systemd nothing is held, and nothing to be waited for. */
/* In a process that may have been forked from one that has talked with systemd. */
void store_begin(void);
void store_add(struct space *space);
/* Of a space that is complete or gone: true when systemd has let go of it, and it can be closed without harm. */
bool store_let_go(struct space *space);
/* True while systemd has no room for what it is to be told. */
bool store_go_on(void);
void store_ready(void);
/* Waits until systemd has all there are, but not for long. */
void store_settle(void);

/* after.c */
/* What is to be done when there was such a program before, which was killed. Returns its exit code. */
int after_kill(void);

/* keeper.c */
int run(void);
/* A keeper in the place of one that has died; returns a descriptor that tells of its end, -1 if there is none. */
int replace_keeper(void);

#endif

/* The worker: one loop over all descriptors, and what is to be done now and then. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault-server.h"

#define READY_AT_ONCE 64
#define PROGRESS_MS 250
/* The kernel does not tell of the end of a process. */
#define PROBE_MS 500
/* Some address that a process can have; whether it has it does not matter. */
#define ANY_ADDRESS (1ull << 32)
/* How often a kernel that is busy is asked again at once. What it is busy with takes microseconds. */
#define TRIES_AT_ONCE 64

static int epoll_fd;
static int keeper_fd = -1;

/* What is watched is in the low bits, of addresses that have none. */
static uint64_t mark(enum watched what, const void *which)
{
	return (uint64_t)(uintptr_t)which | what;
}

void watch(int fd, enum watched what, const void *which, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = mark(what, which)};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
		give_up("a descriptor cannot be watched");
}

void watch_change(int fd, enum watched what, const void *which, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = mark(what, which)};

	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static void on_stop(int signal_number)
{
	(void)signal_number;
	shared->stop = true;
}

static void watch_keeper(void)
{
	if (keeper_fd >= 0)
		watch(keeper_fd, WATCH_KEEPER, NULL, EPOLLIN);
}

static void begin(void)
{
	struct sigaction stop = {.sa_handler = on_stop};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	/* An event that the kernel cannot write there is lost: these pages must not be away. */
	mlock(shared, sizeof(*shared));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	keeper_fd = syscall(SYS_pidfd_open, shared->keeper, 0);
	if (epoll_fd < 0)
		give_up("no epoll");
	control_begin();
	store_begin();
	watch_keeper();
	watch(shared->control_listener, WATCH_CONTROL_LISTENER, NULL, EPOLLIN);
	if (shared->criu_listener >= 0)
		watch(shared->criu_listener, WATCH_CRIU_LISTENER, NULL, EPOLLIN);
	if (shared->criu >= 0)
		watch(shared->criu, WATCH_CRIU, NULL, EPOLLIN);
	for (struct image *image = shared->images; image; image = image->next) {
		for (struct space *space = image->spaces; space; space = space->next) {
			if (space->state != SPACE_LIVE)
				continue;
			space_recount(space);
			watch(space->uffd, WATCH_SPACE, space, EPOLLIN);
		}
	}
	events_begin();
	criu_read();
}

static void handle(const struct epoll_event *event)
{
	enum watched what = event->data.u64 & 7;
	struct space *space = (struct space *)(uintptr_t)(event->data.u64 & ~7ull);

	switch (what) {
	case WATCH_SPACE:
		return events_read(space);
	case WATCH_CRIU_LISTENER:
		return criu_accept();
	case WATCH_CRIU:
		return criu_read();
	case WATCH_CONTROL_LISTENER:
		return control_accept();
	case WATCH_CONTROL:
		return control_ready(event->events);
	case WATCH_STORE:
		return store_ready();
	case WATCH_KEEPER:
		close(keeper_fd);
		keeper_fd = replace_keeper();
		return watch_keeper();
	}
}

static void probe_spaces(void)
{
	for (struct image *image = shared->images; image; image = image->next)
		for (struct space *space = image->spaces; space; space = space->next)
			if (space->state == SPACE_LIVE && probe(space, ANY_ADDRESS) == NO_MEMORY_ANY_MORE)
				space_end(space, SPACE_GONE);
	control_flush_dropped();
}

/* Lets go of what is complete, and forgets what has ended. Returns how many are left. */
static size_t tidy_spaces(bool forget)
{
	size_t live = 0;

	for (struct image *image = shared->images; image; image = image->next) {
		for (struct space **at = &image->spaces, *space; (space = *at);) {
			if (space->state == SPACE_LIVE && shared->restored && !space->nr_missing && store_let_go(space))
				space_end(space, SPACE_COMPLETE);
			bool is_over = space->state != SPACE_LIVE && store_let_go(space);
			live += !is_over;
			if (!is_over || !forget) {
				at = &space->next;
				continue;
			}
			*at = space->next;
			shared_give_back(space, sizeof(*space));
		}
	}
	return live;
}

void outcome_path(char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s.outcome", shared->control_path);
}

void write_outcome(const char *outcome)
{
	char path[PATH_MAX], draft[PATH_MAX];

	outcome_path(path);
	snprintf(draft, sizeof(draft), "%s.outcome.draft", shared->control_path);
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, outcome, strlen(outcome)) < 0 || close(fd) || rename(draft, path))
		say("%s: %s", path, strerror(errno));
}

static void end_if_over(size_t live)
{
	const char *outcome = NULL;

	if (live || shared->criu >= 0)
		return;
	if (shared->restored)
		outcome = "done";
	else if (shared->failed)
		outcome = "failed";
	else if (shared->stop)
		outcome = "stopped";
	if (!outcome)
		return;
	write_outcome(outcome);
	control_progress();
	if (shared->restored)
		control_send(MSG_DONE, NULL, 0);
	control_finish();
	unlink(shared->control_path);
	if (shared->criu_listener >= 0)
		unlink(shared->criu_path);
	exit(0);
}

void serve(void)
{
	struct epoll_event ready[READY_AT_ONCE];
	uint64_t progress_at_us = 0, probe_at_us = 0;
	int tries = 0;

	begin();
	for (;;) {
		bool busy = retry_zeros();

		busy |= settle_doubts();
		busy |= control_go_on();
		size_t live = tidy_spaces(!busy);
		busy |= store_go_on();
		end_if_over(live);
		tries = busy ? tries + 1 : 0;
		if (busy)
			sched_yield();

		int count = epoll_wait(epoll_fd, ready, READY_AT_ONCE, !busy ? PROGRESS_MS : tries < TRIES_AT_ONCE ? 0 : 1);
		/* Events first: what they say decides about pages. */
		for (int i = 0; i < count; i++)
			if ((ready[i].data.u64 & 7) == WATCH_SPACE)
				handle(&ready[i]);
		for (int i = 0; i < count; i++)
			if ((ready[i].data.u64 & 7) != WATCH_SPACE)
				handle(&ready[i]);

		uint64_t now = now_us();
		if (now >= probe_at_us) {
			probe_spaces();
			probe_at_us = now + PROBE_MS * 1000;
		}
		if (now >= progress_at_us) {
			control_progress();
			progress_at_us = now + PROGRESS_MS * 1000;
		}
	}
}

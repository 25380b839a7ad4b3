/*
 * The third holder of the userfaultfds: systemd keeps one of each for the unit
 * (FileDescriptorStoreMax=), so that the violent end of both processes at once
 * takes nothing away. It gives them to the program that it starts then
 * (after.c). Only what is missing something is held.
 *
 * systemd reads no events, so a copy that it alone still holds would wait for
 * good at its next fork, mremap or munmap. When an address space is complete,
 * systemd is asked to let go, and until it says so by a barrier the space is
 * served on, and only then closed. That needs no UFFDIO_UNREGISTER, which would
 * have to know each mapping there is by now: the kernel refuses a range with
 * any mapping in it that cannot be registered.
 *
 * What a child that is just being born lacks is held a few microseconds after
 * the kernel has given its descriptor, which is not to be had sooner.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault-server.h"

#define SETTLE_LIMIT_US 2000000

enum told { TOLD, BUSY, NOBODY };

static struct sockaddr_un manager;
/* 0: nobody is there who could hold anything. */
static socklen_t manager_length;
static int notify_fd = -1;
/* Closed by systemd when it has done what it was told before. */
static int barrier_fd = -1;
/* Some space waits for its turn, or for a barrier. */
static bool pending;

static void open_notify(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;

	manager_length = 0;
	notify_fd = barrier_fd = -1;
	if ((length && path[0] != '/' && path[0] != '@') || length < 2 || length >= sizeof(manager.sun_path))
		return;
	manager.sun_family = AF_UNIX;
	memcpy(manager.sun_path, path, length + 1);
	manager_length = offsetof(struct sockaddr_un, sun_path) + length;
	if (path[0] == '@')
		manager.sun_path[0] = '\0';
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify_fd < 0)
		manager_length = 0;
}

static enum told tell(const char *text, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} rights = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec part = {.iov_base = (char *)text, .iov_len = strlen(text)};
	struct msghdr message = {
		.msg_name = &manager,
		.msg_namelen = manager_length,
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = fd < 0 ? NULL : rights.bytes,
		.msg_controllen = fd < 0 ? 0 : sizeof(rights.bytes),
	};

	if (!manager_length)
		return NOBODY;
	memcpy(CMSG_DATA(&rights.head), &fd, sizeof(fd));
	if (sendmsg(notify_fd, &message, MSG_NOSIGNAL) >= 0)
		return TOLD;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)
		return BUSY;
	say("systemd holds no descriptors any more: %s", strerror(errno));
	manager_length = 0;
	return NOBODY;
}

/* Returns a descriptor that hangs up when all that was told before is done; -1 if it cannot be told now. */
static int ask_for_barrier(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -1;
	enum told told = tell("BARRIER=1", ends[1]);
	close(ends[1]);
	/* With nobody there it has hung up already. */
	if (told != BUSY)
		return ends[0];
	close(ends[0]);
	return -1;
}

static void hand_over(struct space *space)
{
	char text[96];

	/* A userfaultfd that blocks, as it may by now, polls as an error; systemd would drop it. */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=uffd-%llu\nFDPOLL=0", (unsigned long long)space->number);
	switch (tell(text, space->uffd)) {
	case TOLD:
		/* Told twice, by a successor, it is still held once. */
		space->hold = HOLD_FIRM;
		return;
	case BUSY:
		pending = true;
		return;
	case NOBODY:
		space->hold = HOLD_NONE;
	}
}

void store_add(struct space *space)
{
	if (!space->nr_missing)
		space->hold = HOLD_NONE;
	else
		hand_over(space);
}

bool store_let_go(struct space *space)
{
	char text[64];

	if (space->hold == HOLD_WANTED || space->hold == HOLD_FIRM) {
		snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=uffd-%llu", (unsigned long long)space->number);
		enum told told = tell(text, -1);

		pending = true;
		if (told == BUSY)
			return false;
		space->hold = told == TOLD ? HOLD_ENDS : HOLD_NONE;
	}
	/* Without any memory nobody can wait for an event. */
	if (space->state == SPACE_GONE)
		space->hold = HOLD_NONE;
	return space->hold == HOLD_NONE;
}

/* Every space in the one state comes into the other. Returns whether there was any. */
static bool change_holds(enum hold from, enum hold to)
{
	bool any = false;

	for (struct image *image = shared->images; image; image = image->next) {
		for (struct space *space = image->spaces; space; space = space->next) {
			if (space->hold != from)
				continue;
			space->hold = to;
			any = true;
		}
	}
	return any;
}

static bool any_wanted(void)
{
	bool any = false;

	for (struct image *image = shared->images; image; image = image->next) {
		for (struct space *space = image->spaces; space; space = space->next) {
			if (space->hold != HOLD_WANTED || space->state != SPACE_LIVE)
				continue;
			hand_over(space);
			any |= space->hold == HOLD_WANTED;
		}
	}
	return any;
}

bool store_go_on(void)
{
	if (!pending)
		return false;
	pending = false;
	bool busy = any_wanted();
	if (barrier_fd < 0 && change_holds(HOLD_ENDS, HOLD_ENDS)) {
		barrier_fd = ask_for_barrier();
		if (barrier_fd >= 0) {
			change_holds(HOLD_ENDS, HOLD_AWAITS_END);
			watch(barrier_fd, WATCH_STORE, NULL, EPOLLIN);
		} else {
			busy = true;
		}
	}
	pending |= busy;
	return busy;
}

void store_ready(void)
{
	close(barrier_fd);
	barrier_fd = -1;
	change_holds(HOLD_AWAITS_END, HOLD_NONE);
	/* Those of which systemd was told since. */
	pending = true;
}

void store_settle(void)
{
	uint64_t until_us = now_us() + SETTLE_LIMIT_US;
	struct pollfd answer = {.fd = -1, .events = POLLIN};

	while (manager_length && !answer.revents) {
		if (now_us() >= until_us) {
			say("systemd does not answer; what it has to hold it may not hold yet");
			break;
		}
		if (answer.fd < 0 && !any_wanted())
			answer.fd = ask_for_barrier();
		poll(&answer, 1, answer.fd < 0 ? 1 : SETTLE_LIMIT_US / 1000);
	}
	if (answer.fd >= 0)
		close(answer.fd);
}

void store_begin(void)
{
	open_notify();
	change_holds(HOLD_AWAITS_END, HOLD_ENDS);
	pending = true;
}

/*
 * CRIU's end: the socket on which it expects its own lazy-pages daemon. For
 * each task it sends the pid as an int, then a byte with the userfaultfd; a
 * negative pid for a zombie, alone; at last 0x52535446. All is received into
 * shared memory, where it is found by the next worker if this one is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault-server.h"

#define RESTORE_FINISHED 0x52535446

bool criu_listen(void)
{
	shared->criu_listener = listen_at(shared->criu_path, 1);
	if (shared->criu_listener < 0)
		return false;
	watch(shared->criu_listener, WATCH_CRIU_LISTENER, NULL, EPOLLIN);
	return true;
}

static void stop_listening(void)
{
	int listener = shared->criu_listener;

	shared->criu_listener = -1;
	if (listener >= 0)
		close(listener);
	unlink(shared->criu_path);
}

void criu_accept(void)
{
	shared->criu = accept4(shared->criu_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (shared->criu < 0)
		return;
	stop_listening();
	watch(shared->criu, WATCH_CRIU, NULL, EPOLLIN);
}

static void hang_up(void)
{
	int connection = shared->criu;

	if (!shared->restored)
		shared->failed = true;
	shared->criu = -1;
	close(connection);
	if (shared->failed) {
		say("CRIU has gone before the restore was finished");
		control_send(MSG_FAILED, NULL, 0);
	}
}

static void task_complete(int uffd)
{
	struct image *image = image_of(shared->criu_task);

	if (!image || image->handed_over) {
		say("CRIU hands over task %d, which %s", shared->criu_task, image ? "it had handed over" : "nobody knows");
		close(uffd);
		return hang_up();
	}
	fcntl(uffd, F_SETFL, fcntl(uffd, F_GETFL) | O_NONBLOCK);
	/* First of all: a successor that finds the descriptor once more must not make a second space of it. */
	image->handed_over = true;
	struct space *space = space_add(image, uffd, NULL, 0);
	if (!space) {
		close(uffd);
		return hang_up();
	}
	watch(uffd, WATCH_SPACE, space, EPOLLIN);
	control_send(MSG_TASK, &shared->criu_task, sizeof(shared->criu_task));
	memset(&shared->criu_rights, 0, sizeof(shared->criu_rights));
	shared->criu_task = 0;
}

static void restore_finished(void)
{
	shared->restored = true;
	shared->criu_task = 0;
	control_send(MSG_RESTORED, NULL, 0);
	for (struct image *image = shared->images; image; image = image->next)
		if (!image->handed_over && image->pages)
			control_dropped(image, 0, image->pages);
	control_flush_dropped();
	if (shared->came_early)
		control_state();
}

/* True while there may be more. */
static bool read_rights(void)
{
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = shared->criu_rights.bytes,
		.msg_controllen = sizeof(shared->criu_rights.bytes),
	};
	struct cmsghdr *rights = (struct cmsghdr *)shared->criu_rights.bytes;

	if (!rights->cmsg_len) {
		ssize_t got = recvmsg(shared->criu, &message, MSG_CMSG_CLOEXEC);

		if (got < 0 && errno == EINTR)
			return true;
		if (got < 0 && errno == EAGAIN)
			return false;
		if (got <= 0 || rights->cmsg_len != CMSG_LEN(sizeof(int)) || rights->cmsg_type != SCM_RIGHTS) {
			hang_up();
			return false;
		}
	}
	task_complete(*(int *)CMSG_DATA(rights));
	return shared->criu >= 0;
}

static bool read_task(void)
{
	ssize_t got = recv(shared->criu, &shared->criu_task, sizeof(shared->criu_task), 0);

	if (got < 0 && errno == EINTR)
		return true;
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got != sizeof(shared->criu_task)) {
		hang_up();
		return false;
	}
	return true;
}

void criu_read(void)
{
	while (shared->criu >= 0) {
		if (!shared->criu_task && !read_task())
			return;
		if (shared->criu_task == RESTORE_FINISHED) {
			store_settle();
			restore_finished();
		} else if (shared->criu_task < 0) {
			control_send(MSG_TASK, &shared->criu_task, sizeof(shared->criu_task));
			shared->criu_task = 0;
		} else if (shared->criu_task && !read_rights()) {
			return;
		}
	}
}

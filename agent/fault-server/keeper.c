/*
 * Two processes, so that neither's violent end does harm. When the last
 * userfaultfd of a process is closed, the kernel gives zero pages for all that
 * it still lacks.
 *
 * The worker does the work. The keeper has seized it by ptrace, and is told of
 * its end while it still has everything (PTRACE_EVENT_EXIT). It takes over the
 * descriptors, and starts a new worker, which finds the state in shared memory.
 * A worker whose keeper has ended starts a new keeper. If nothing can be taken
 * over, the container is frozen.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault-server.h"

/* A worker that ends sooner has not got over what its predecessor died of. */
#define SHORT_LIFE_US 1000000
#define MAX_RESTARTS 20
#define RESTART_DELAY_S 1
#define SEIZED_LIMIT_MS 2000

/* Starts a worker that waits for a byte from `*go_fd`. */
static pid_t start_worker(int *go_fd)
{
	int go[2];

	if (pipe2(go, O_CLOEXEC))
		return -1;
	pid_t worker = fork();
	if (worker == 0) {
		char byte;

		close(go[1]);
		while (read(go[0], &byte, 1) < 0 && errno == EINTR)
			;
		close(go[0]);
		serve();
	}
	if (worker > 0) {
		shared->worker = worker;
		shared->worker_since_us = now_us();
	}
	close(go[0]);
	*go_fd = go[1];
	return worker;
}

static bool take(int process, int *fd)
{
	if (*fd < 0)
		return true;
	*fd = syscall(SYS_pidfd_getfd, process, *fd, 0);
	return *fd >= 0;
}

/* All that the worker has, at other numbers. */
static bool take_descriptors(pid_t worker)
{
	struct cmsghdr *rights = (struct cmsghdr *)shared->criu_rights.bytes;
	int process = syscall(SYS_pidfd_open, worker, 0);
	bool all;

	if (process < 0)
		return false;
	all = take(process, &shared->control_listener);
	all &= take(process, &shared->criu_listener);
	all &= take(process, &shared->criu);
	if (rights->cmsg_len == CMSG_LEN(sizeof(int)))
		all &= take(process, (int *)CMSG_DATA(rights));
	for (struct image *image = shared->images; image; image = image->next)
		for (struct space *space = image->spaces; space; space = space->next)
			if (space->state == SPACE_LIVE)
				all &= take(process, &space->uffd);
	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		if (shared->events[i].event != UFFD_EVENT_FORK)
			continue;
		int fd = (int)shared->events[i].arg.fork.ufd;

		all &= take(process, &fd);
		shared->events[i].arg.fork.ufd = fd;
	}
	close(process);
	return all;
}

/* The worker stands at its end. Returns its successor. */
static pid_t take_over(pid_t worker, int *go_fd)
{
	bool all = take_descriptors(worker);

	if (!all)
		freeze_container("not all descriptors of a worker that was killed can be taken over");
	shared->restarts = now_us() - shared->worker_since_us < SHORT_LIFE_US ? shared->restarts + 1 : 0;
	if (shared->restarts > MAX_RESTARTS) {
		freeze_container("workers end as soon as they begin");
		sleep(RESTART_DELAY_S);
	}
	pid_t successor = start_worker(go_fd);
	if (successor < 0)
		freeze_container("no worker can be started");
	ptrace(PTRACE_DETACH, worker, NULL, NULL);
	waitpid(worker, NULL, 0);
	if (successor > 0)
		say("worker %d was killed, %d goes on", worker, successor);
	return successor;
}

/* Returns the worker's successor, or 0 if it has ended as it should, -1 if there is no successor. */
static pid_t guard(pid_t worker, int *go_fd)
{
	int status;

	for (;;) {
		pid_t changed = waitpid(worker, &status, __WALL);

		if (changed < 0 && errno == EINTR)
			continue;
		if (changed < 0 || !WIFSTOPPED(status)) {
			if (changed > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
				return 0;
			freeze_container("a worker has ended unseen");
			return -1;
		}
		int signal_number = WSTOPSIG(status), event = status >> 16;

		if (event == PTRACE_EVENT_EXIT) {
			unsigned long code = 0;

			if (ptrace(PTRACE_GETEVENTMSG, worker, NULL, &code) || code != 0)
				return take_over(worker, go_fd);
			ptrace(PTRACE_DETACH, worker, NULL, NULL);
			waitpid(worker, NULL, 0);
			return 0;
		}
		bool group_stop = event == PTRACE_EVENT_STOP && signal_number != SIGTRAP;
		if (group_stop)
			ptrace(PTRACE_LISTEN, worker, NULL, NULL);
		else
			ptrace(PTRACE_CONT, worker, NULL, event ? 0 : (long)signal_number);
	}
}

/*
 * Stands guard over this worker and its successors, tells each by `go_fd` when the guard stands, and keeps all
 * descriptors until then.
 */
static int keep(pid_t worker, int go_fd)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	while (worker > 0) {
		while (ptrace(PTRACE_SEIZE, worker, NULL, PTRACE_O_TRACEEXIT)) {
			say("cannot stand guard over %d: %s", worker, strerror(errno));
			/* One of ours that was killed before it began; what it would have needed is still here. */
			if (errno != ESRCH || waitpid(worker, NULL, WNOHANG) != worker)
				break;
			close(go_fd);
			worker = start_worker(&go_fd);
		}
		if (write(go_fd, "", 1) != 1)
			say("worker %d does not wait: %s", worker, strerror(errno));
		close_range(STDERR_FILENO + 1, ~0u, 0);
		worker = guard(worker, &go_fd);
	}
	return worker ? 1 : 0;
}

int run(void)
{
	int go_fd;

	shared->keeper = getpid();
	pid_t worker = start_worker(&go_fd);
	if (worker < 0) {
		say("cannot start a worker: %s", strerror(errno));
		return 1;
	}
	return keep(worker, go_fd);
}

int replace_keeper(void)
{
	int seized[2];
	/* Not getppid() in the child: this process may be dead by then, and its parent then the first of all. */
	pid_t worker = getpid();

	if (pipe2(seized, O_CLOEXEC))
		return -1;
	pid_t keeper = fork();
	if (keeper == 0) {
		setsid();
		close_range(STDERR_FILENO + 1, seized[1] - 1, 0);
		close_range(seized[1] + 1, ~0u, 0);
		_exit(keep(worker, seized[1]));
	}
	close(seized[1]);
	if (keeper < 0) {
		close(seized[0]);
		return -1;
	}
	shared->keeper = keeper;
	struct pollfd ready = {.fd = seized[0], .events = POLLIN};
	poll(&ready, 1, SEIZED_LIMIT_MS);
	close(seized[0]);
	say("the keeper was killed, %d stands in its place", keeper);
	return syscall(SYS_pidfd_open, keeper, 0);
}

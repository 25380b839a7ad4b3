/*
 * `create` of a container that is restored.
 *
 * A child asks the agent and becomes `runc restore`. This process returns to
 * containerd when the container's namespaces stand, which the action script
 * tells by the file "created" in the session's directory, or with the child's
 * exit code if that ends before (or if there is a terminal): so Docker attaches
 * the network (from 28 on between create and start) while memory is still on
 * its way. How the restore ends is the concern of `start`, which waits for it.
 *
 * Until the child becomes runc it dies with this process, whose end means that
 * Docker has given up; after that the restore ends by the record (session.c).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drayage-runc.h"

#define PATH_SIZE 4096

static bool write_pid_file(const char *path, const char *pid)
{
	char draft[PATH_SIZE];

	return snprintf(draft, sizeof(draft), "%s.drayage", path) < (int)sizeof(draft) &&
	       replace_small_file(path, draft, pid, 0666);
}

/* False while the namespaces do not stand. */
static bool read_created(const char *id, char *pid, size_t size)
{
	char path[sizeof(SESSION_DIRECTORY) + ID_LENGTH + sizeof("/created") + 1];

	snprintf(path, sizeof(path), SESSION_DIRECTORY "/%s/created", id);
	return read_small_file(path, pid, size) > 0;
}

static int exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int ask_in_child(pid_t parent, const sigset_t *mask, const struct arguments *arguments, int argc,
			char *const argv[])
{
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		return 1;
	return ask_gate(arguments, argc, argv);
}

int create_by_restore(const struct arguments *arguments, int argc, char *const argv[])
{
	char session[sizeof(SESSION_DIRECTORY) + ID_LENGTH + 2], pid[32], events[4096];
	sigset_t ends, before;
	pid_t parent = getpid();

	snprintf(session, sizeof(session), SESSION_DIRECTORY "/%s", arguments->id);
	int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ends, &before);
	int ended = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	/*
	 * With a terminal containerd waits for it right after `create`, without a deadline: a restore that
	 * fails before it has sent one must fail `create`. And what an earlier create has left says nothing.
	 */
	if (changes < 0 || ended < 0 || !arguments->pid_file || arguments->console ||
	    read_created(arguments->id, pid, sizeof(pid)) || inotify_add_watch(changes, session, IN_MOVED_TO) < 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return ask_gate(arguments, argc, argv);
	}
	pid_t child = fork();
	if (child == 0)
		_exit(ask_in_child(parent, &before, arguments, argc, argv));
	if (child < 0) {
		report("create failed: cannot fork: %s", strerror(errno));
		return 1;
	}
	for (;;) {
		struct pollfd watched[] = {{.fd = changes, .events = POLLIN}, {.fd = ended, .events = POLLIN}};
		int status;

		pid_t gone = waitpid(child, &status, WNOHANG);

		if (gone)
			return gone == child ? exit_code(status) : 1;
		if (read_created(arguments->id, pid, sizeof(pid)) && write_pid_file(arguments->pid_file, pid))
			return 0;
		if (poll(watched, 2, -1) < 0 && errno != EINTR)
			return 1;
		while (read(changes, events, sizeof(events)) > 0)
			;
		while (read(ended, events, sizeof(events)) > 0)
			;
	}
}

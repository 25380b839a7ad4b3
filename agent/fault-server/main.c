/*
 * Gives a restored container its memory, page by page, while it runs.
 *
 *   drayage-fault-server CRIU_SOCKET CONTROL_SOCKET CGROUP
 *
 * CRIU_SOCKET is `lazy-pages.socket` in the restore's work directory, where
 * CRIU, told --lazy-pages, hands over a userfaultfd for each task.
 * CONTROL_SOCKET is for the agent, which knows the pages (protocol.h); it may
 * come and go, threads that need a page wait meanwhile. CGROUP is the
 * container's, to be frozen before anything can go wrong with its memory. All
 * are absolute paths.
 *
 * Ends when every page is in its place, or all tasks are dead. SIGTERM ends it
 * only when there is nothing to lose. The file CONTROL_SOCKET.begin lets it
 * begin, once. If CONTROL_SOCKET is there, one before it was killed; it sees to
 * it that nobody reads what is missing (after.c).
 */
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault-server.h"

int main(int argc, char *argv[])
{
	char begin[PATH_MAX];
	struct rlimit files;

	if (argc != 4 || argv[1][0] != '/' || argv[2][0] != '/' || argv[3][0] != '/') {
		fprintf(stderr, "usage: drayage-fault-server CRIU_SOCKET CONTROL_SOCKET CGROUP\n");
		return 2;
	}
	if (!shared_open()) {
		perror("drayage-fault-server: no memory");
		/* As the successor of one that was killed it is started again: what systemd holds is not let go of. */
		return access(argv[2], F_OK) ? 2 : 1;
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	shared->criu_path = argv[1];
	shared->control_path = argv[2];
	shared->cgroup = argv[3];
	umask(0177);
	if (!access(argv[2], F_OK))
		return after_kill();
	/* Systemd starts it again also when it has ended well, and only a keeper was killed, at some time. */
	snprintf(begin, sizeof(begin), "%s.begin", argv[2]);
	if (unlink(begin)) {
		say("%s: it has ended well, or is of another version than the agent that has started it", begin);
		return 0;
	}
	shared->control_listener = listen_at(argv[2], 8);
	if (shared->control_listener < 0)
		return 2;
	return run();
}

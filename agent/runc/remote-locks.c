/*
 * drayage-remote-locks: says of open files whether a lock is held on them,
 * where only their file system knows.
 *
 *   drayage-remote-locks <descriptors
 *
 * Stdin names descriptors of other processes, `pid fd` a line. Prints those
 * lines on whose file a lock is held, by whomever.
 *
 * The kernel keeps no record of the locks for which a FUSE server answers: they
 * are in no fdinfo and not in /proc/locks, and CRIU knows of none. So the
 * server is asked, by F_GETLK for a lock with which every other is in conflict.
 * (flock reaches such a server as a lock on the whole file.)
 *
 * The descriptor itself is taken by pidfd_getfd: to open the file anew might
 * touch it. Closing it gives up locks of this process, which has none. What is
 * gone meanwhile is left out. Exit status: 0 all asked, 1 some could not be
 * (said on stderr).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool failed;

static void complain(const char *what, long pid, int fd)
{
	fprintf(stderr, "drayage-remote-locks: cannot %s descriptor %d of process %ld: %s\n", what, fd, pid,
		strerror(errno));
	failed = true;
}

/* The descriptor as one of ours; -1 if it is gone, or cannot be had. */
static int take(long pid, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	int taken = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (taken < 0 && errno != ESRCH && errno != EBADF)
		complain("take", pid, fd);
	if (pidfd >= 0)
		close(pidfd);
	return taken;
}

static void ask(long pid, int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int taken = take(pid, fd);

	if (taken < 0)
		return;
	/* Opened with O_PATH it carries none; and there are none where the file system has no locks. */
	if (fcntl(taken, F_GETLK, &lock) == 0) {
		if (lock.l_type != F_UNLCK)
			printf("%ld %d\n", pid, fd);
	} else if (errno != EBADF && errno != ENOSYS) {
		complain("ask for the locks of", pid, fd);
	}
	close(taken);
}

int main(void)
{
	long pid;
	int fd;

	while (scanf("%ld %d", &pid, &fd) == 2)
		ask(pid, fd);
	if (!feof(stdin)) {
		fprintf(stderr, "drayage-remote-locks: a line on stdin is no `pid fd`\n");
		failed = true;
	}
	return failed ? 1 : 0;
}

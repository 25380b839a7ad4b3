/*
 * drayage-end-repair: takes TCP sockets out of the repair mode in which a
 * killed CRIU has left them.
 *
 *   drayage-end-repair <pids
 *
 * Stdin names processes, one pid a line; they may be frozen. CRIU puts every
 * connection that it dumps into TCP_REPAIR and ends that when it is done. In
 * repair mode recv and send fail and close says nothing to the peer, so whoever
 * is thawed in it loses the connection.
 *
 * Ended as CRIU does it, by TCP_REPAIR_OFF. The kernel replaces SO_REUSEADDR at
 * both ends of the mode, and only CRIU knew the value: the one of the listener
 * on the same port is set, from which accepted connections have theirs, and
 * none where nobody listens.
 *
 * Sockets in no repair mode, and those of other protocols (MPTCP is one), are
 * left alone, so that it may run at any time and again. Prints how many it has
 * ended. Exit status: 0 all ended, 1 something was not (said on stderr).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#ifndef TCP_REPAIR_OFF
#define TCP_REPAIR_OFF 0
#endif

#define PORTS 65536

/* Sockets that have been looked at, by inode: processes share them. A hash table; 0 is no inode. */
static struct {
	uint64_t *inodes;
	size_t size, used;
} seen;

static struct {
	int *sockets;
	size_t size, used;
} in_repair;

static bool reused_by_listener[PORTS];
static bool failed;

static void complain(const char *what, long id)
{
	fprintf(stderr, "drayage-end-repair: %s %ld: %s\n", what, id, strerror(errno));
	failed = true;
}

static void *or_die(void *memory)
{
	if (memory)
		return memory;
	fprintf(stderr, "drayage-end-repair: out of memory\n");
	exit(1);
}

static uint64_t *place_of(uint64_t inode)
{
	size_t at = inode * 0x9e3779b97f4a7c15u % seen.size;

	while (seen.inodes[at] && seen.inodes[at] != inode)
		at = (at + 1) % seen.size;
	return &seen.inodes[at];
}

/* True the first time. */
static bool is_new(uint64_t inode)
{
	if (seen.used * 2 >= seen.size) {
		uint64_t *old = seen.inodes;
		size_t old_size = seen.size;

		seen.size = old_size ? old_size * 2 : 1024;
		seen.inodes = or_die(calloc(seen.size, sizeof(*seen.inodes)));
		for (size_t i = 0; i < old_size; i++)
			if (old[i])
				*place_of(old[i]) = old[i];
		free(old);
	}
	uint64_t *place = place_of(inode);
	if (*place)
		return false;
	*place = inode;
	seen.used++;
	return true;
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t size = sizeof(value);

	return getsockopt(fd, level, name, &value, &size) ? -1 : value;
}

/* Port of the socket's own end; 0 if it has none. */
static uint16_t local_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = {0};
	socklen_t size = sizeof(address);

	if (getsockname(fd, &address.any, &size))
		return 0;
	return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

/* Keeps it open if there is something to end. */
static void look_at(int fd)
{
	if (option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP) {
		close(fd);
		return;
	}
	if (option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1 && option(fd, SOL_SOCKET, SO_REUSEADDR) == 1)
		reused_by_listener[local_port(fd)] = true;
	if (option(fd, IPPROTO_TCP, TCP_REPAIR) != 1) {
		close(fd);
		return;
	}
	if (in_repair.used == in_repair.size) {
		in_repair.size = in_repair.size ? in_repair.size * 2 : 256;
		in_repair.sockets = or_die(realloc(in_repair.sockets, in_repair.size * sizeof(int)));
	}
	in_repair.sockets[in_repair.used++] = fd;
}

/*
 * Looks at the sockets in one table of file descriptors. Only sockets are
 * taken: closing a file of another kind may call upon a file system that a
 * frozen process serves.
 */
static void look_through(long pid, long tid)
{
	char path[64], target[64];
	int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)tid, tid == pid ? 0 : PIDFD_THREAD);

	if (pidfd < 0) {
		if (errno != ESRCH)
			complain("cannot open the task", tid);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%ld/task/%ld/fd", pid, tid);
	DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		uint64_t inode;
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);

		if (length <= 0)
			continue;
		target[length] = '\0';
		if (sscanf(target, "socket:[%" SCNu64 "]", &inode) != 1 || !is_new(inode))
			continue;
		int fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
		if (fd >= 0)
			look_at(fd);
		else if (errno != EBADF && errno != ESRCH)
			complain("cannot take a socket of the task", tid);
	}
	if (directory)
		closedir(directory);
	close(pidfd);
}

/* The process, and those of its threads that have a table of their own (unshare, clone without CLONE_FILES). */
static void look_through_process(long pid)
{
	char path[64];

	look_through(pid, pid);
	snprintf(path, sizeof(path), "/proc/%ld/task", pid);
	DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		long tid = atol(entry->d_name);

		if (tid > 0 && tid != pid && syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0) > 0)
			look_through(pid, tid);
	}
	if (directory)
		closedir(directory);
}

static void end_repair(int fd)
{
	int off = TCP_REPAIR_OFF, reuse = reused_by_listener[local_port(fd)];

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)))
		complain("cannot end the repair mode of the connection on port", local_port(fd));
}

int main(void)
{
	struct rlimit files;
	long pid;

	/* As many as there are; where that is too few, taking one fails and is said. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	while (scanf("%ld", &pid) == 1)
		look_through_process(pid);
	if (!feof(stdin)) {
		fprintf(stderr, "drayage-end-repair: a line on stdin is no pid\n");
		failed = true;
	}
	for (size_t i = 0; i < in_repair.used; i++)
		end_repair(in_repair.sockets[i]);
	printf("%zu\n", in_repair.used);
	return failed ? 1 : 0;
}

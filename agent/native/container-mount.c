/*
 * A mount of a container on this host, too: the same file system, to be read, without what is mounted on it.
 *
 *   drayage-container-mount PID MOUNTPOINT TARGET
 *
 * MOUNTPOINT is a path in the mount namespace of the process PID, and TARGET
 * a directory here. A mount can be cloned only by who is in its namespace, and
 * attached only by who is in the other, so this goes there and comes back.
 * Paths of the container are looked up under its own root, and lead nowhere
 * else. Exit status: 0, 1 with a reason on stderr.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed(const char *what)
{
	fprintf(stderr, "drayage-container-mount: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int count, char **arguments)
{
	char path[64];

	if (count != 4) {
		fprintf(stderr, "usage: drayage-container-mount PID MOUNTPOINT TARGET\n");
		return 1;
	}
	snprintf(path, sizeof(path), "/proc/%s/ns/mnt", arguments[1]);
	int there = open(path, O_RDONLY | O_CLOEXEC), here = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int target = open(arguments[3], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (there < 0 || here < 0)
		return failed(path);
	if (target < 0)
		return failed(arguments[3]);
	if (setns(there, CLONE_NEWNS))
		return failed("enter the container's mount namespace");
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, arguments[2], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (tree < 0)
		return failed(arguments[2]);
	/* A peer of the container's would show what it mounts there later, and unmount it there when it is unmounted here. */
	struct mount_attr quiet = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME,
		.attr_clr = MOUNT_ATTR__ATIME,
		.propagation = MS_PRIVATE,
	};
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &quiet, sizeof(quiet)))
		return failed("make the mount private and read-only");
	if (setns(here, CLONE_NEWNS))
		return failed("leave the container's mount namespace");
	if (syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		return failed(arguments[3]);
	return 0;
}

/*
 * GNU tar with nothing to see but one layer.
 *
 *   drayage-layer-tar DIRECTORY ARGUMENTS...      tar's arguments; its working directory is the layer
 *
 * tar follows links in the middle of a path. A container that exchanges a
 * directory of its layer for a link while the layer is read, or has had one
 * sent to where it is unpacked, would have it read, or write, a file of the
 * host. So it runs in a mount namespace of its own whose root holds the layer
 * and, read-only, what tar needs in order to run: the host's programs and
 * libraries. There is no /etc to name a library that it should load (as in
 * CVE-2019-14271), and nothing of the container's is at a place where the
 * loader looks, as it would be with a chroot into the layer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TAR "/usr/bin/tar"
/* Exists everywhere; covered in the new namespace only. */
#define ROOT "/tmp"
#define LAYER "layer"

/* As they are merged into /usr; whatever of them this machine has. */
static const char *const needed[] = { "usr/bin", "usr/lib", "usr/lib32", "usr/lib64", NULL };
static const char *const links[] = { "bin", "lib", "lib32", "lib64", NULL };

static void need(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "confine tar: %s: %s\n", what, strerror(errno));
	/* As tar does; its 1 means that files changed while they were read. */
	exit(2);
}

/* The root is the working directory. */
static void show_readonly(const char *path)
{
	char from[64];
	struct stat there;

	snprintf(from, sizeof from, "/%s", path);
	if (stat(from, &there) != 0)
		return;
	need(mkdir(path, 0755), path);
	need(mount(from, path, NULL, MS_BIND | MS_REC, NULL), path);
	need(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL), path);
}

int main(int count, char **arguments)
{
	char layer[64], target[64];
	int fd;

	if (count < 3) {
		fprintf(stderr, "usage: drayage-layer-tar DIRECTORY ARGUMENTS...\n");
		return 2;
	}
	need(unshare(CLONE_NEWNS), "unshare");
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
	fd = open(arguments[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	need(fd < 0, arguments[1]);
	need(mount("tmpfs", ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m"), ROOT);
	need(chdir(ROOT), ROOT);
	need(mkdir("usr", 0755), "usr");
	for (const char *const *path = needed; *path != NULL; path++)
		show_readonly(*path);
	for (const char *const *name = links; *name != NULL; name++) {
		snprintf(target, sizeof target, "usr/%s", *name);
		need(symlink(target, *name), *name);
	}
	need(mkdir(LAYER, 0755), LAYER);
	snprintf(layer, sizeof layer, "/proc/self/fd/%d", fd);
	need(mount(layer, LAYER, NULL, MS_BIND, NULL), arguments[1]);
	/* Device nodes of the container's are made and read about, never opened. */
	need(mount(NULL, LAYER, NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_NOSUID | MS_NOEXEC, NULL), arguments[1]);
	/* The new root goes on top of the old one, which is then taken away. */
	need(syscall(SYS_pivot_root, ".", ".") != 0, "pivot_root");
	need(umount2(".", MNT_DETACH), "leave the old root");
	need(chdir("/" LAYER), LAYER);
	arguments[1] = "tar";
	execv(TAR, arguments + 1);
	need(-1, TAR);
}

/*
 * When both processes were killed at once, systemd alone holds the userfaultfds
 * (descriptor-store.c), and starts the program again, with these open. What it
 * knew is gone with its memory. So it freezes the container, says so by the
 * outcome "killed", and stays until the container's processes are dead: a
 * thread that waits within a call of the kernel is not stopped by the freezer,
 * and would get zeros when the last descriptor is closed.
 *
 * (Not ExecStopPost=: `systemctl kill` kills by cgroup.kill, and in a cgroup
 * that was killed so Linux 6.18 kills at once what systemd 262 starts in it
 * next. Before a restart systemd makes the cgroup anew.)
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../runc/freeze-cgroup.h"
#include "fault-server.h"

#define LOOK_MS 100

/* It had ended by itself, or as good as. */
static bool was_over(void)
{
	char path[PATH_MAX], outcome[16];

	outcome_path(path);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	outcome[fread(outcome, 1, sizeof(outcome) - 1, file)] = '\0';
	fclose(file);
	return strcmp(outcome, "killed");
}

/*
 * Tells as long as there is the container's cgroup, and not of one that is made
 * in its place: of version 2 cgroup.events, which counts those below it too.
 */
static int open_census(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/cgroup.events", shared->cgroup);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	snprintf(path, sizeof(path), "%s/cgroup.procs", shared->cgroup);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Also when that cannot be told now: nothing may be let go of then. */
static bool container_lives(int *census)
{
	char text[4096];

	if (*census < 0)
		*census = open_census();
	if (*census < 0)
		return errno != ENOENT;
	ssize_t length = pread(*census, text, sizeof(text) - 1, 0);
	if (length < 0)
		return errno != ENODEV;
	text[length] = '\0';
	const char *populated = strstr(text, "populated ");
	return strtol(populated ? populated + strlen("populated ") : text, NULL, 10);
}

/*
 * Nobody else takes these away before: they tell the next one, if this one is
 * killed too, that there is something to guard. The socket last, without which
 * the outcome would stay.
 */
static void forget(void)
{
	char path[PATH_MAX];

	outcome_path(path);
	unlink(path);
	unlink(shared->control_path);
}

int after_kill(void)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
	int census = -1;

	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (was_over())
		return 0;
	if (container_lives(&census))
		freeze_container("both processes were killed");
	write_outcome("killed");
	while (container_lives(&census)) {
		/* It may have been about to be thawed. */
		freeze_cgroup(shared->cgroup);
		nanosleep(&pause, NULL);
	}
	forget();
	return 0;
}

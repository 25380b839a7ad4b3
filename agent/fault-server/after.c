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
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* The number that a file of the cgroup has behind a word, or at its beginning; 0 if there is none. */
static long number_in(const char *name, const char *word)
{
	char path[PATH_MAX], text[4096];

	snprintf(path, sizeof(path), "%s/%s", shared->cgroup, name);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	const char *found = strstr(text, word);
	return found ? strtol(found + strlen(word), NULL, 10) : 0;
}

/* In a cgroup of version 2, which tells of those below it too, or of version 1. */
static bool container_lives(void)
{
	return number_in("cgroup.events", "populated ") || number_in("cgroup.procs", "");
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

	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (was_over())
		return 0;
	if (container_lives())
		freeze_container("both processes were killed");
	write_outcome("killed");
	while (container_lives())
		nanosleep(&pause, NULL);
	forget();
	return 0;
}

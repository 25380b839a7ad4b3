#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "freeze-cgroup.h"

#define FREEZE_LIMIT_MS 2000
/* Kernels that do not notify on the events file are asked again this often. */
#define FREEZE_RECHECK_MS 1

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool says_frozen(int fd, bool v1)
{
	char text[4096];
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

	if (length < 0)
		return false;
	text[length] = '\0';
	return v1 ? !strncmp(text, "FROZEN", 6) : strstr(text, "frozen 1") != NULL;
}

bool is_frozen_v2(const char *cgroup)
{
	char events[PATH_MAX];

	snprintf(events, sizeof(events), "%s/cgroup.events", cgroup);
	int fd = open(events, O_RDONLY | O_CLOEXEC);
	bool frozen = fd >= 0 && says_frozen(fd, false);

	if (fd >= 0)
		close(fd);
	return frozen;
}

static void await_frozen(const char *events, bool v1)
{
	int fd = open(events, O_RDONLY | O_CLOEXEC);
	int64_t deadline_ms = now_ms() + FREEZE_LIMIT_MS;

	if (fd < 0)
		return;
	while (!says_frozen(fd, v1) && now_ms() < deadline_ms) {
		struct pollfd changed = {.fd = fd, .events = POLLPRI};

		poll(&changed, v1 ? 0 : 1, FREEZE_RECHECK_MS);
	}
	close(fd);
}

void await_frozen_v2(const char *cgroup)
{
	char events[PATH_MAX];

	snprintf(events, sizeof(events), "%s/cgroup.events", cgroup);
	await_frozen(events, false);
}

void freeze_cgroup(const char *cgroup)
{
	char control[PATH_MAX], events[PATH_MAX];
	bool v1 = false;

	snprintf(control, sizeof(control), "%s/cgroup.freeze", cgroup);
	snprintf(events, sizeof(events), "%s/cgroup.events", cgroup);
	int fd = open(control, O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		v1 = true;
		snprintf(control, sizeof(control), "%s/freezer.state", cgroup);
		strcpy(events, control);
		fd = open(control, O_WRONLY | O_CLOEXEC);
	}
	if (fd < 0 || write(fd, v1 ? "FROZEN" : "1", v1 ? 6 : 1) < 0)
		return;
	close(fd);
	await_frozen(events, v1);
}

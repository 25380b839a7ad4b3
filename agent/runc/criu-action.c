/*
 * CRIU's action script. It comes to its work at two places.
 *
 * At post-setup-namespaces no page of memory has been read yet: tell `create`
 * that the container stands as far as its network is concerned (create.c), and
 * wait for the file "pages-complete" of the session, so that both go on while
 * the pages are still on their way.
 *
 * At pre-resume everything is restored and nothing of the container has run:
 * freeze its cgroup, and prove it.
 *
 * runc had put CRIU into the container's own cgroup; freezing that with CRIU
 * inside would hang both, so whatever in it is of the host's pid namespace is
 * moved out first. CRIU ignores a failing pre-resume script: if the freeze
 * cannot be verified, the restored tasks are killed here.
 *
 * Needs nobody alive. Notes its steps in the session's "actions" file.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "drayage-runc.h"

#define FREEZE_LIMIT_MS 5000
/* Kernels that do not notify on the events file are asked again this often. */
#define FREEZE_RECHECK_MS 5
#define PATH_SIZE 4096

struct freezer {
	bool v1;
	char root[64];      /* mount point of the hierarchy */
	char path[PATH_SIZE]; /* the container's cgroup, from the root */
};

static void note_killed(const char *session, const char *why)
{
	char line[128];

	snprintf(line, sizeof(line), "killed: %s", why);
	note_in_session(session, line);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/* Path of a process in the freezer's hierarchy: "0::" for v2, "N:freezer:" for v1. */
static bool cgroup_path(const char *pid, bool v1, char *path, size_t size)
{
	char name[64], text[16384];
	char *rest = text, *line;

	snprintf(name, sizeof(name), "/proc/%s/cgroup", pid);
	if (read_small_file(name, text, sizeof(text)) < 0)
		return false;
	while ((line = strsep(&rest, "\n"))) {
		char *controllers = strchr(line, ':');
		char *found = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!found)
			continue;
		*found++ = '\0';
		if (!strcmp(controllers + 1, v1 ? "freezer" : "")) {
			snprintf(path, size, "%s", found);
			return true;
		}
	}
	return false;
}

static bool find_freezer(const char *init, struct freezer *freezer)
{
	struct statfs fs;

	if (statfs("/sys/fs/cgroup", &fs))
		return false;
	freezer->v1 = fs.f_type != CGROUP2_SUPER_MAGIC;
	strcpy(freezer->root, freezer->v1 ? "/sys/fs/cgroup/freezer" : "/sys/fs/cgroup");
	return cgroup_path(init, freezer->v1, freezer->path, sizeof(freezer->path)) && strcmp(freezer->path, "/");
}

static void file_in(const struct freezer *freezer, const char *path, const char *name, char *to)
{
	if (snprintf(to, PATH_SIZE, "%s%s/%s", freezer->root, path, name) >= PATH_SIZE)
		to[0] = '\0';
}

static bool same_pid_namespace(const char *pid)
{
	char path[64], ours[64] = "", theirs[64] = "";

	snprintf(path, sizeof(path), "/proc/%s/ns/pid", pid);
	return readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) > 0 &&
	       readlink(path, theirs, sizeof(theirs) - 1) > 0 && !strcmp(ours, theirs);
}

static long parent_of(long pid)
{
	char path[64], text[1024];
	long parent = 0;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (read_small_file(path, text, sizeof(text)) < 0)
		return 0;
	char *name_end = strrchr(text, ')');
	if (!name_end || sscanf(name_end + 1, " %*c %ld", &parent) != 1)
		return 0;
	return parent;
}

static bool within(const char *path, const char *cgroup)
{
	size_t length = strlen(cgroup);

	return !strncmp(path, cgroup, length) && (path[length] == '\0' || path[length] == '/');
}

/* The cgroup of the nearest ancestor that is outside: runc's caller's. */
static bool find_refuge(const struct freezer *freezer, char *refuge)
{
	char pid[32];

	for (long ancestor = getppid(); ancestor > 0; ancestor = parent_of(ancestor)) {
		snprintf(pid, sizeof(pid), "%ld", ancestor);
		if (!cgroup_path(pid, freezer->v1, refuge, PATH_SIZE))
			return false;
		if (!within(refuge, freezer->path))
			return true;
	}
	return false;
}

/* Moves all helpers out of the container's cgroup; false if one remains. */
static bool move_helpers(const struct freezer *freezer, const char *refuge)
{
	static char text[1 << 20];
	char procs[PATH_SIZE], target[PATH_SIZE];
	bool moved = true;

	file_in(freezer, freezer->path, "cgroup.procs", procs);
	file_in(freezer, refuge, "cgroup.procs", target);
	if (read_small_file(procs, text, sizeof(text)) < 0)
		return false;
	char *rest = text, *pid;
	while ((pid = strsep(&rest, "\n")))
		if (*pid && same_pid_namespace(pid) && !write_file(target, pid) && errno != ESRCH)
			moved = false;
	return moved;
}

static bool says_frozen(const struct freezer *freezer, int fd)
{
	char text[4096];
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

	if (length < 0)
		return false;
	text[length] = '\0';
	return freezer->v1 ? !strncmp(text, "FROZEN", 6) : strstr(text, "frozen 1") != NULL;
}

static bool freeze(const struct freezer *freezer)
{
	char control[PATH_SIZE], events[PATH_SIZE];

	file_in(freezer, freezer->path, freezer->v1 ? "freezer.state" : "cgroup.freeze", control);
	file_in(freezer, freezer->path, freezer->v1 ? "freezer.state" : "cgroup.events", events);
	int fd = open(events, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !write_file(control, freezer->v1 ? "FROZEN" : "1"))
		return false;
	int64_t deadline_ms = boot_clock_ms() + FREEZE_LIMIT_MS;
	bool frozen;
	while (!(frozen = says_frozen(freezer, fd)) && boot_clock_ms() < deadline_ms) {
		struct pollfd changed = {.fd = fd, .events = POLLPRI};

		poll(&changed, freezer->v1 ? 0 : 1, FREEZE_RECHECK_MS);
	}
	close(fd);
	return frozen;
}

static void kill_restored(const struct freezer *freezer, const char *init)
{
	static char text[1 << 20];
	char path[PATH_SIZE];

	kill(atoi(init), SIGKILL);
	file_in(freezer, freezer->path, "cgroup.kill", path);
	if (!freezer->v1 && write_file(path, "1"))
		return;
	file_in(freezer, freezer->path, "cgroup.procs", path);
	if (read_small_file(path, text, sizeof(text)) < 0)
		return;
	char *rest = text, *pid;
	while ((pid = strsep(&rest, "\n")))
		if (*pid && !same_pid_namespace(pid))
			kill(atoi(pid), SIGKILL);
	/* Frozen tasks of v1 die when they thaw. */
	file_in(freezer, freezer->path, "freezer.state", path);
	write_file(path, "THAWED");
}

/* The session's directory bears the container's id. */
static bool called_off(const char *session)
{
	const char *slash = strrchr(session, '/');
	struct record record = read_record(slash ? slash + 1 : session);

	return record.presence == RECORD_ABSENT ||
	       (record.presence == RECORD_PRESENT && !strcmp(record.state, "failed"));
}

/* NULL once the container stands frozen, else why it may not live. */
static const char *freeze_container(const struct freezer *freezer, const char *session, const char *init)
{
	char refuge[PATH_SIZE];

	if (same_pid_namespace(init))
		return "the container has no pid namespace of its own";
	if (!find_refuge(freezer, refuge))
		return "no cgroup outside for the helpers";
	if (!move_helpers(freezer, refuge))
		return "a helper stays in the container's cgroup";
	if (called_off(session))
		return "called off";
	if (!freeze(freezer))
		return "the freeze could not be verified";
	/* The agent takes a CRIU that ends without it for one that was killed. */
	return tell_in_session(session, "frozen", "") ? NULL : "the session cannot be told of the freeze";
}

static int at_pre_resume(const char *session, const char *init)
{
	struct freezer freezer = {0};

	if (!find_freezer(init, &freezer)) {
		kill(atoi(init), SIGKILL);
		note_killed(session, "cgroup not found");
		return 1;
	}
	const char *refusal = freeze_container(&freezer, session, init);
	if (!refusal) {
		note_in_session(session, "frozen");
		return 0;
	}
	/* Said first: where no helper could be moved out, this one may die with them. */
	note_killed(session, refusal);
	kill_restored(&freezer, init);
	return 1;
}

/* Without it `create` returns when the restore ends. */
static void tell_created(const char *session, const char *init)
{
	if (!tell_in_session(session, "created", init))
		note_in_session(session, "cannot tell that it is created");
}

/*
 * Returns 0 when the pages may be read; failing here ends a restore cleanly.
 * The agent that would say so may be gone for good: the record's deadline ends
 * the wait then, as it ends that of `create`.
 */
static int at_post_setup_namespaces(const char *session, const char *init)
{
	if (init && atoi(init) > 1)
		tell_created(session, init);
	return wait_in_session(session, "pages-complete") ? 0 : 1;
}

int criu_action(const char *session)
{
	const char *action = getenv("CRTOOLS_SCRIPT_ACTION");
	const char *init = getenv("CRTOOLS_INIT_PID");

	if (!action)
		return 1;
	note_in_session(session, action);
	/* Failing here ends a restore cleanly. */
	if (!strcmp(action, "pre-restore") || !strcmp(action, "post-restore"))
		return called_off(session) ? 1 : 0;
	if (!strcmp(action, "post-setup-namespaces"))
		return at_post_setup_namespaces(session, init);
	if (strcmp(action, "pre-resume"))
		return 0;
	if (!init || atoi(init) <= 1) {
		note_killed(session, "no pid");
		return 1;
	}
	return at_pre_resume(session, init);
}

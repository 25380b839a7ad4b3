/*
 * OCI prestart hook of a restore: in the container's new network namespace it
 * loads the drop rules (network.nft), the placeholder interface (network.ip)
 * and the sysctls (network.sysctl) that the agent has left in the session's
 * directory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drayage-runc.h"

/* Value of the top-level member "pid" of the OCI state; 0 if there is none. */
static long pid_of_state(const char *json)
{
	int depth = 0;
	bool key = false;

	for (const char *c = json; *c; c++) {
		if (*c == '{' || *c == '[') {
			depth++;
			key = *c == '{';
		} else if (*c == '}' || *c == ']') {
			depth--;
		} else if (*c == ',') {
			key = true;
		} else if (*c == ':') {
			key = false;
		} else if (*c == '"') {
			const char *start = ++c;

			while (*c && *c != '"')
				c += *c == '\\' && c[1] ? 2 : 1;
			if (!*c)
				return 0;
			if (!key || depth != 1 || c - start != 3 || strncmp(start, "pid", 3))
				continue;
			c += 1 + strspn(c + 1, " \t\r\n");
			return *c == ':' ? strtol(c + 1, NULL, 10) : 0;
		}
	}
	return 0;
}

static bool run(char *const argv[])
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execvp(argv[0], argv);
		fprintf(stderr, "network-hook: cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (child < 0)
		return false;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool write_sysctl(const char *name, const char *value)
{
	char path[4096];

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	/* Of an interface that Docker makes later, or of a module that this host lacks: Docker's own start would complain. */
	if (fd < 0 && errno == ENOENT) {
		fprintf(stderr, "network-hook: there is no sysctl %s\n", name);
		return true;
	}
	ssize_t length = strlen(value);
	bool done = fd >= 0 && write(fd, value, length) == length;
	if (!done)
		fprintf(stderr, "network-hook: cannot set the sysctl %s to %s: %s\n", name, value, strerror(errno));
	if (fd >= 0)
		close(fd);
	return done;
}

/* /proc/sys/net is that of the network namespace of whoever opens it. */
static bool set_sysctls(const char *path)
{
	static char lines[1 << 16];
	char *rest = lines;

	if (read_small_file(path, lines, sizeof(lines)) < 0) {
		fprintf(stderr, "network-hook: cannot read %s: %s\n", path, strerror(errno));
		return false;
	}
	for (char *line; (line = strsep(&rest, "\n"));) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = '\0';
		if (!write_sysctl(line, value))
			return false;
	}
	return true;
}

int network_hook(const char *session)
{
	static char state[1 << 20];
	char namespace[64], rules[4096], batch[4096], sysctls[4096];
	struct stat ours, theirs;

	if (read_small_file("/dev/stdin", state, sizeof(state)) < 0) {
		fprintf(stderr, "network-hook: cannot read the state: %s\n", strerror(errno));
		return 1;
	}
	long pid = pid_of_state(state);
	snprintf(namespace, sizeof(namespace), "/proc/%ld/ns/net", pid);
	int fd = pid > 0 ? open(namespace, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &theirs) || stat("/proc/self/ns/net", &ours)) {
		fprintf(stderr, "network-hook: no network namespace of process %ld\n", pid);
		return 1;
	}
	/* The rules drop everything: never in the host's own namespace. */
	if (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev) {
		fprintf(stderr, "network-hook: the container has no network namespace of its own\n");
		return 1;
	}
	if (setns(fd, CLONE_NEWNET)) {
		fprintf(stderr, "network-hook: setns: %s\n", strerror(errno));
		return 1;
	}
	close(fd);
	snprintf(rules, sizeof(rules), "%s/network.nft", session);
	snprintf(batch, sizeof(batch), "%s/network.ip", session);
	snprintf(sysctls, sizeof(sysctls), "%s/network.sysctl", session);
	if (!set_sysctls(sysctls))
		return 1;
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	return run((char *[]){"nft", "-f", rules, NULL}) && run((char *[]){"ip", "-batch", batch, NULL}) ? 0 : 1;
}

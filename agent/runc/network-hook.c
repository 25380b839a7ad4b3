/*
 * OCI prestart hook of a restore: in the container's new network namespace it
 * loads the drop rules (network.nft) and the placeholder interface
 * (network.ip) that the agent has left in the session's directory.
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

int network_hook(const char *session)
{
	static char state[1 << 20];
	char namespace[64], rules[4096], batch[4096];
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
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	return run((char *[]){"nft", "-f", rules, NULL}) && run((char *[]){"ip", "-batch", batch, NULL}) ? 0 : 1;
}

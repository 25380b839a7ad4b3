/*
 * For hosts that withhold CAP_SYS_RESOURCE from everybody, so that CRIU in the
 * lab's nodes can neither read the limits of another user's process nor raise
 * its own. Preloaded into criu there, and only there:
 *
 * - a refused prlimit(2) that only reads is answered from /proc/PID/limits,
 *   which shows the same numbers;
 * - a refused wish for more open files takes what the hard limit allows.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* proc_pid_limits(5) */
static const char *const names[] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

typedef long (*syscall_function)(long, ...);

static long prlimit_call(pid_t pid, unsigned resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	static syscall_function call;

	if (!call)
		call = (syscall_function)dlsym(RTLD_NEXT, "syscall");
	return call(SYS_prlimit64, pid, resource, new, old);
}

static rlim64_t parse_limit(const char *text)
{
	return strcmp(text, "unlimited") ? strtoull(text, NULL, 10) : RLIM64_INFINITY;
}

static int read_from_proc(pid_t pid, unsigned resource, struct rlimit64 *limit)
{
	char path[64], line[256], soft[32], hard[32];
	int found = -1;

	if (resource >= sizeof(names) / sizeof(*names) || !names[resource])
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return -1;
	size_t length = strlen(names[resource]);
	while (found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, names[resource], length) || sscanf(line + length, "%31s %31s", soft, hard) != 2)
			continue;
		*limit = (struct rlimit64){.rlim_cur = parse_limit(soft), .rlim_max = parse_limit(hard)};
		found = 0;
	}
	fclose(file);
	return found;
}

static int limit(pid_t pid, unsigned resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	struct rlimit64 allowed;

	if (prlimit_call(pid, resource, new, old) == 0)
		return 0;
	if (errno != EPERM)
		return -1;
	if (!new && old && read_from_proc(pid, resource, old) == 0)
		return 0;
	if (new && resource == RLIMIT_NOFILE && (pid == 0 || pid == getpid()) &&
	    prlimit_call(0, resource, NULL, &allowed) == 0) {
		allowed.rlim_cur = allowed.rlim_max;
		return (int)prlimit_call(0, resource, &allowed, old);
	}
	errno = EPERM;
	return -1;
}

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	return limit(pid, resource, new, old);
}

int setrlimit64(enum __rlimit_resource resource, const struct rlimit64 *new)
{
	return limit(0, resource, new, NULL);
}

/* CRIU makes some of its calls by number. */
long syscall(long number, ...)
{
	static syscall_function call;
	va_list arguments;
	long a[6];

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_prlimit64)
		return limit((pid_t)a[0], (unsigned)a[1], (const struct rlimit64 *)a[2], (struct rlimit64 *)a[3]);
	if (!call)
		call = (syscall_function)dlsym(RTLD_NEXT, "syscall");
	return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

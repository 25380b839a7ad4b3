/*
 * CRIU takes control of a frozen task in this order (compel/src/lib/infect.c,
 * criu/parasite-syscall.c): it writes a system call and a trap to the beginning
 * of the first executable mapping, blocks the signals of the thread, gives it
 * registers that lead there, and lets it run into the trap; it does so until
 * the process has mapped a memfd with CRIU's own program in it. The process's
 * leader then runs that program as a daemon, other threads run into a trap in
 * it. Whoever dies in between leaves a thread at a trap that nobody expects.
 *
 *   where a thread is found                     what is done
 *   at the injected system call                 all is given back
 *   in CRIU's program, not the leader           all is given back
 *   in CRIU's program, the leader               nothing: the daemon finds its socket closed, or
 *                                               never gets one, and returns by rt_sigreturn to
 *                                               what CRIU has put there before
 *   where it was                                the signal mask
 *   elsewhere                                   nothing: it has been given back by CRIU
 *
 * What stays: a thread that has run into a trap, of which CRIU has not yet
 * heard, gets the trap's signal from the kernel and dies of it.
 *
 * ptrace belongs to a thread. Each work is done by one of its own, whose end
 * lets go of everything, whatever has gone wrong.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "freeze-cgroup.h"
#include "task-control.h"

/* CRIU's injected call, and the name of its memfd behind it. */
#define CODE_SIZE 64
/* Of these, what an instruction pointer may be in: the call and its trap. */
#define CALL_SIZE 16
/* CRIU takes no mapping that is smaller. */
#define LEAST_CODE_MAPPING 4096
#define PROGRAM_MAPPING "/memfd:CRIUMFD"
/* AMX included. */
#define EXTENDED_SIZE 16384
/* A frozen thread stops at once. One that does not is in a vfork, and CRIU will not get it either. */
#define STOP_LIMIT_MS 500

#if defined(__x86_64__)
#define EXTENDED_SET NT_X86_XSTATE
#define POINTER_OF(registers) ((registers).rip)
#elif defined(__aarch64__)
#define EXTENDED_SET NT_PRFPREG
#define POINTER_OF(registers) ((registers).pc)
#else
#error "whose registers?"
#endif

struct thread {
	pid_t process, id;
	uint64_t signal_mask;
	struct user_regs_struct registers;
	size_t registers_size, extended_size;
	void *extended;
	/* Index in `codes` of its process, or none. */
	ptrdiff_t code;
};

struct code {
	uint64_t at;
	unsigned char bytes[CODE_SIZE];
};

struct kept_tasks {
	struct thread *threads;
	struct code *codes;
	size_t threads_used, codes_used;
	char cgroup[PATH_MAX];
	bool failed;
};

static void *grown(void *array, size_t used, size_t item)
{
	bool full = (used & (used - 1)) == 0;

	return full ? realloc(array, (used ? used * 2 : 1) * item) : array;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool stops_by(pid_t thread, int64_t deadline_ms)
{
	int status;

	for (;;) {
		pid_t got = waitpid(thread, &status, __WALL | WNOHANG);

		if (got == thread)
			return WIFSTOPPED(status);
		if (got < 0 || now_ms() >= deadline_ms)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
}

static bool interrupt(pid_t thread)
{
	return !ptrace(PTRACE_SEIZE, thread, NULL, 0) && !ptrace(PTRACE_INTERRUPT, thread, NULL, NULL);
}

/* -1 if it is not there any more. */
static int open_of(pid_t process, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", process, name);
	return open(path, flags | O_CLOEXEC);
}

struct mapping {
	uint64_t start, end;
	bool executable;
	char *name;
};

/* The first mapping for which `is` holds; false if there is none. */
static bool find_mapping(pid_t process, bool (*is)(const struct mapping *, uint64_t), uint64_t wanted,
			 struct mapping *found)
{
	int fd = open_of(process, "maps", O_RDONLY);
	FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
	static _Thread_local char line[PATH_MAX + 128];
	bool has = false;

	while (maps && !has && fgets(line, sizeof(line), maps)) {
		int name = 0;
		char modes[5];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %*s %n", &found->start, &found->end, modes, &name) < 3)
			continue;
		found->executable = modes[2] == 'x';
		found->name = line + name;
		has = is(found, wanted);
	}
	if (maps)
		fclose(maps);
	return has;
}

static bool takes_injection(const struct mapping *mapping, uint64_t unused)
{
	(void)unused;
	return mapping->executable && mapping->end - mapping->start >= LEAST_CODE_MAPPING;
}

static bool contains(const struct mapping *mapping, uint64_t address)
{
	return mapping->start <= address && address < mapping->end;
}

static bool is_in_criu_program(pid_t process, uint64_t address)
{
	struct mapping mapping;

	return find_mapping(process, contains, address, &mapping) &&
	       !strncmp(mapping.name, PROGRAM_MAPPING, strlen(PROGRAM_MAPPING));
}

/* Index of its code in the kept; -1 if it has none that can be read. */
static ptrdiff_t keep_code(struct kept_tasks *kept, pid_t process)
{
	struct mapping mapping;
	struct code *codes = grown(kept->codes, kept->codes_used, sizeof(*codes));

	if (!codes) {
		kept->failed = true;
		return -1;
	}
	kept->codes = codes;
	if (!find_mapping(process, takes_injection, 0, &mapping))
		return -1;
	int memory = open_of(process, "mem", O_RDONLY);
	struct code *code = &codes[kept->codes_used];

	code->at = mapping.start;
	bool has = memory >= 0 && pread(memory, code->bytes, CODE_SIZE, code->at) == CODE_SIZE;
	if (memory >= 0)
		close(memory);
	return has ? (ptrdiff_t)kept->codes_used++ : -1;
}

static bool read_control(struct thread *thread, unsigned char *extended)
{
	struct iovec general = {&thread->registers, sizeof(thread->registers)};
	struct iovec more = {extended, EXTENDED_SIZE};

	if (ptrace(PTRACE_GETREGSET, thread->id, NT_PRSTATUS, &general) ||
	    ptrace(PTRACE_GETREGSET, thread->id, EXTENDED_SET, &more) ||
	    ptrace(PTRACE_GETSIGMASK, thread->id, sizeof(thread->signal_mask), &thread->signal_mask))
		return false;
	thread->registers_size = general.iov_len;
	thread->extended_size = more.iov_len;
	return true;
}

static void write_control(struct thread *thread)
{
	struct iovec general = {&thread->registers, thread->registers_size};
	struct iovec more = {thread->extended, thread->extended_size};

	ptrace(PTRACE_SETREGSET, thread->id, NT_PRSTATUS, &general);
	ptrace(PTRACE_SETREGSET, thread->id, EXTENDED_SET, &more);
}

/* Those of one process, seized and told to stop. */
static void interrupt_process(struct kept_tasks *kept, pid_t process)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", process);
	DIR *directory = opendir(path);
	struct dirent *entry;
	ptrdiff_t code = directory ? keep_code(kept, process) : -1;

	while (directory && !kept->failed && (entry = readdir(directory))) {
		pid_t id = atoi(entry->d_name);

		if (id <= 0 || !interrupt(id))
			continue;
		struct thread *threads = grown(kept->threads, kept->threads_used, sizeof(*threads));
		if (!threads) {
			kept->failed = true;
			break;
		}
		kept->threads = threads;
		threads[kept->threads_used++] = (struct thread){.process = process, .id = id, .code = code};
	}
	if (directory)
		closedir(directory);
}

/* The cgroup and those in it. */
static void interrupt_cgroup(struct kept_tasks *kept, const char *cgroup)
{
	char path[PATH_MAX];
	pid_t process;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	FILE *processes = fopen(path, "re");
	while (processes && fscanf(processes, "%d", &process) == 1)
		interrupt_process(kept, process);
	if (processes)
		fclose(processes);
	DIR *directory = opendir(cgroup);
	struct dirent *entry;
	while (directory && (entry = readdir(directory)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    snprintf(path, sizeof(path), "%s/%s", cgroup, entry->d_name) < (int)sizeof(path))
			interrupt_cgroup(kept, path);
	if (directory)
		closedir(directory);
}

static void *keep(void *argument)
{
	struct kept_tasks *kept = argument;
	unsigned char extended[EXTENDED_SIZE];
	int64_t deadline_ms = now_ms() + STOP_LIMIT_MS;

	interrupt_cgroup(kept, kept->cgroup);
	for (size_t i = 0; i < kept->threads_used && !kept->failed; i++) {
		struct thread *thread = &kept->threads[i];

		kept->failed = !stops_by(thread->id, deadline_ms) || !read_control(thread, extended) ||
			       !(thread->extended = malloc(thread->extended_size));
		if (!kept->failed)
			memcpy(thread->extended, extended, thread->extended_size);
	}
	for (size_t i = 0; i < kept->threads_used; i++)
		ptrace(PTRACE_DETACH, kept->threads[i].id, NULL, NULL);
	return NULL;
}

static void give_back_code(const struct code *code, pid_t process)
{
	unsigned char now[CODE_SIZE];
	int memory = open_of(process, "mem", O_RDWR);

	/* Written only where it differs: a page of a file that nobody has changed stays the file's. */
	if (memory >= 0 && pread(memory, now, CODE_SIZE, code->at) == CODE_SIZE && memcmp(now, code->bytes, CODE_SIZE))
		(void)!pwrite(memory, code->bytes, CODE_SIZE, code->at);
	if (memory >= 0)
		close(memory);
}

static void give_back_thread(const struct kept_tasks *kept, struct thread *thread)
{
	struct user_regs_struct now;
	struct iovec general = {&now, sizeof(now)};

	if (ptrace(PTRACE_GETREGSET, thread->id, NT_PRSTATUS, &general))
		return;
	uint64_t pointer = POINTER_OF(now), call = thread->code < 0 ? 0 : kept->codes[thread->code].at;
	bool at_call = thread->code >= 0 && pointer >= call && pointer < call + CALL_SIZE;
	bool untouched = general.iov_len == thread->registers_size && !memcmp(&now, &thread->registers, general.iov_len);
	bool in_program = !untouched && !at_call && thread->id != thread->process &&
			  is_in_criu_program(thread->process, pointer);

	if (!untouched && !at_call && !in_program)
		return;
	if (!untouched)
		write_control(thread);
	ptrace(PTRACE_SETSIGMASK, thread->id, sizeof(thread->signal_mask), &thread->signal_mask);
}

static void *give_back(void *argument)
{
	struct kept_tasks *kept = argument;
	int64_t deadline_ms = now_ms() + STOP_LIMIT_MS;
	ptrdiff_t given = -1;

	for (size_t i = 0; i < kept->threads_used; i++)
		interrupt(kept->threads[i].id);
	for (size_t i = 0; i < kept->threads_used; i++) {
		struct thread *thread = &kept->threads[i];

		if (!stops_by(thread->id, deadline_ms))
			continue;
		if (thread->code > given) {
			give_back_code(&kept->codes[thread->code], thread->process);
			given = thread->code;
		}
		give_back_thread(kept, thread);
	}
	for (size_t i = 0; i < kept->threads_used; i++)
		ptrace(PTRACE_DETACH, kept->threads[i].id, NULL, NULL);
	return NULL;
}

static bool in_its_thread(void *(*work)(void *), struct kept_tasks *kept)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, kept))
		return false;
	pthread_join(thread, NULL);
	return true;
}

static void release(struct kept_tasks *kept)
{
	for (size_t i = 0; i < kept->threads_used; i++)
		free(kept->threads[i].extended);
	free(kept->threads);
	free(kept->codes);
	free(kept);
}

struct kept_tasks *keep_tasks(const char *cgroup)
{
	struct kept_tasks *kept = is_frozen_v2(cgroup) ? calloc(1, sizeof(*kept)) : NULL;

	if (!kept)
		return NULL;
	snprintf(kept->cgroup, sizeof(kept->cgroup), "%s", cgroup);
	kept->failed = !in_its_thread(keep, kept) || kept->failed;
	await_frozen_v2(cgroup);
	if (!kept->failed)
		return kept;
	release(kept);
	return NULL;
}

void give_back_tasks(struct kept_tasks *kept)
{
	in_its_thread(give_back, kept);
	release(kept);
}

/*
 * A process that is killed while it controls others as CRIU does, with the
 * dump's guard beside it, and what becomes of those others.
 *
 *   violent-end GUARD CGROUP       needs root and a cgroup of version 2 that is empty; prints JSON
 *
 * The victim is a process of four threads, each of which counts. Stopped in the
 * order in which CRIU does it: its leader runs in what looks like CRIU's
 * program, the second thread has been led to the injected call, the third has
 * its signals blocked and nothing more, the fourth is in CRIU's program.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define REPORT_FD 3

#if defined(__x86_64__)
#define POINTER_OF(registers) ((registers).rip)
/* syscall; int3 */
static const unsigned char injected[] = {0x0f, 0x05, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
/* l: add qword [rdi], 1; jmp l */
static const unsigned char endless[] = {0x48, 0x83, 0x07, 0x01, 0xeb, 0xfa};
#define ARGUMENT_OF(registers) ((registers).rdi)
#elif defined(__aarch64__)
#define POINTER_OF(registers) ((registers).pc)
/* svc #0; brk #0 */
static const unsigned char injected[] = {0x01, 0x00, 0x00, 0xd4, 0x00, 0x00, 0x20, 0xd4};
/* l: ldr x1, [x0]; add x1, x1, 1; str x1, [x0]; b l */
static const unsigned char endless[] = {0x01, 0x00, 0x40, 0xf9, 0x21, 0x04, 0x00, 0x91,
					0x01, 0x00, 0x00, 0xf9, 0xfd, 0xff, 0xff, 0x17};
#define ARGUMENT_OF(registers) ((registers).regs[0])
#endif

static struct {
	atomic_ulong counts[THREADS], in_program;
	pid_t threads[THREADS];
	uint64_t program, code;
} *shared;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static _Noreturn void count(intptr_t number)
{
	shared->threads[number] = (pid_t)syscall(SYS_gettid);
	/* In a system call, too: it is to be begun again. */
	for (;;) {
		shared->counts[number]++;
		poll(NULL, 0, 1);
	}
}

static void *count_in_thread(void *number)
{
	count((intptr_t)number);
}

/* As CRIU's: a memfd of that name, executable. */
static void map_program(void)
{
	int fd = memfd_create("CRIUMFD", 0);

	if (fd < 0 || write(fd, endless, sizeof(endless)) != sizeof(endless))
		die("memfd");
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	shared->program = (uintptr_t)at;
}

static uint64_t first_code(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], modes[5];
	unsigned long start;

	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%*x %4s", &start, modes) == 2 && modes[2] == 'x')
			return start;
	die("maps");
	return 0;
}

static void victim(void)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared->code = first_code();
	map_program();
	for (intptr_t i = 1; i < THREADS; i++)
		if (pthread_create(&thread, NULL, count_in_thread, (void *)i))
			die("pthread_create");
	count(0);
}

static void put(const char *cgroup, const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static void await(const char *cgroup, const char *state)
{
	char path[512], text[256];

	snprintf(path, sizeof(path), "%s/cgroup.events", cgroup);
	int fd = open(path, O_RDONLY);
	for (int i = 0; i < 5000; i++) {
		ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

		text[length > 0 ? length : 0] = '\0';
		if (strstr(text, state)) {
			close(fd);
			return;
		}
		usleep(1000);
	}
	die(state);
}

/* Each goes on from where it was when it was last looked at. */
static bool all_count(void)
{
	unsigned long before[THREADS];

	for (int i = 0; i < THREADS; i++)
		before[i] = shared->counts[i];
	for (int tries = 0; tries < 5000; tries++) {
		bool all = true;

		for (int i = 0; i < THREADS; i++)
			all = all && shared->counts[i] > before[i];
		if (all)
			return true;
		usleep(1000);
	}
	return false;
}

static void control(pid_t thread, uint64_t pointer)
{
	struct user_regs_struct registers;
	struct iovec general = {&registers, sizeof(registers)};
	uint64_t all = ~0ull;

	if (ptrace(PTRACE_SETSIGMASK, thread, sizeof(all), &all))
		die("PTRACE_SETSIGMASK");
	if (!pointer)
		return;
	if (ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &general))
		die("PTRACE_GETREGSET");
	POINTER_OF(registers) = pointer;
	ARGUMENT_OF(registers) = (uintptr_t)&shared->in_program;
#if defined(__x86_64__)
	registers.orig_rax = -1;
#endif
	if (ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &general))
		die("PTRACE_SETREGSET");
}

/* Waits for the word, takes control, opens the freezer and is killed. */
static void rough_criu(const char *cgroup, pid_t process, int word)
{
	char byte;

	if (read(word, &byte, 1) != 1)
		_exit(1);
	for (int i = 0; i < THREADS; i++) {
		if (ptrace(PTRACE_SEIZE, shared->threads[i], NULL, 0) || ptrace(PTRACE_INTERRUPT, shared->threads[i], NULL, NULL))
			die("PTRACE_SEIZE");
		waitpid(shared->threads[i], NULL, __WALL);
	}
	put(cgroup, "cgroup.freeze", "0");
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", process);
	int memory = open(path, O_RDWR);
	if (memory < 0 || pwrite(memory, injected, sizeof(injected), shared->code) != sizeof(injected))
		die("mem");
	control(shared->threads[0], shared->program);
	control(shared->threads[1], shared->code);
	control(shared->threads[2], 0);
	control(shared->threads[3], shared->program);
	kill(getpid(), SIGKILL);
}

static uint64_t blocked_of(pid_t process, pid_t thread)
{
	char path[64], line[256];
	unsigned long mask = 1;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", process, thread);
	FILE *status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "SigBlk: %lx", &mask) == 1)
			break;
	if (status)
		fclose(status);
	return mask;
}

int main(int argc, char *argv[])
{
	char pid[16], stands;
	unsigned char before[64], after[64];
	int report[2], word[2];

	if (argc != 3)
		return 2;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t process = fork();
	if (process == 0)
		victim();
	if (!all_count())
		die("the victim");
	snprintf(pid, sizeof(pid), "%d", process);
	put(argv[2], "cgroup.procs", pid);
	put(argv[2], "cgroup.freeze", "1");
	await(argv[2], "frozen 1");
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", process);
	int memory = open(path, O_RDONLY);
	if (memory < 0 || pread(memory, before, sizeof(before), shared->code) != sizeof(before))
		die("mem");

	if (pipe(report) || pipe(word))
		die("pipe");
	pid_t criu = fork();
	if (criu == 0)
		rough_criu(argv[2], process, word[0]);
	pid_t guard = fork();
	if (guard == 0) {
		snprintf(pid, sizeof(pid), "%d", criu);
		dup2(report[1], REPORT_FD);
		execl(argv[1], "drayage-dump-guard", pid, argv[2], NULL);
		_exit(1);
	}
	close(report[1]);
	bool guarded = read(report[0], &stands, 1) == 1;
	await(argv[2], "frozen 1");
	if (write(word[1], "", 1) != 1)
		die("write");
	int ended, guard_ended;
	waitpid(criu, &ended, 0);
	waitpid(guard, &guard_ended, 0);
	await(argv[2], "frozen 1");
	bool code = pread(memory, after, sizeof(after), shared->code) == sizeof(after) && !memcmp(before, after, sizeof(before));
	unsigned long counts[THREADS], in_program = shared->in_program;
	for (int i = 0; i < THREADS; i++)
		counts[i] = shared->counts[i];
	bool still = true;
	usleep(20000);
	for (int i = 0; i < THREADS; i++)
		still = still && counts[i] == shared->counts[i];
	still = still && in_program == shared->in_program;

	put(argv[2], "cgroup.freeze", "0");
	bool counting[THREADS] = {0}, daemon = false;
	for (int tries = 0; tries < 2000; tries++) {
		for (int i = 0; i < THREADS; i++)
			counting[i] = shared->counts[i] > counts[i];
		daemon = shared->in_program > in_program;
		if (daemon && counting[1] && counting[2] && counting[3])
			break;
		usleep(1000);
	}
	printf("{\"guarded\":%d,\"killed\":%d,\"still\":%d,\"code\":%d,\"daemon\":%d,\"counting\":[%d,%d,%d,%d],"
	       "\"blocked\":[%d,%d,%d]}\n",
	       guarded, WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL, still, code, daemon, counting[0], counting[1],
	       counting[2], counting[3], blocked_of(process, shared->threads[1]) != 0,
	       blocked_of(process, shared->threads[2]) != 0, blocked_of(process, shared->threads[3]) != 0);
	kill(process, SIGKILL);
	waitpid(process, NULL, 0);
	return 0;
}

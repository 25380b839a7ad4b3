/*
 * A CRIU whose end is awaited: if it does not end well, the container that it
 * dumps is frozen before the kernel lets go of it, and then gets back what CRIU
 * had changed in its threads (task-control.c).
 *
 *   criu ARGUMENTS...        (in the PATH of a dump's runc, before the true one)
 *   drayage-dump-guard PID CGROUP
 *
 * CRIU holds the tasks that it dumps by ptrace alone, the freezer is open. When
 * it is killed the kernel detaches them and they run, with sockets in repair
 * mode: one read, and the connection is lost. So a guard seizes CRIU by ptrace
 * and is told of its exit while it still has everything (PTRACE_EVENT_EXIT).
 * It freezes the cgroup then, and only then lets CRIU go. Nothing runs in
 * between. When CRIU is gone, so is its ptrace, and the guard looks after the
 * threads: the unit is at an end only when the guard is.
 *
 * As `criu` that is asked for a dump it starts the guard for its own pid, waits
 * until that stands, and becomes the true CRIU. DRAYAGE_DUMP_CGROUP is the
 * container's cgroup directory. Without a guard (nobody may trace, say) CRIU runs all the same:
 * what is lost is the protection against its violent end.
 *
 * The memory that a dump does not leave where it is CRIU brings to the agent: it finds it on the descriptor that
 * DRAYAGE_PAGE_SOCKET names, connected to the Unix socket that DRAYAGE_PAGE_SERVER names. On the same descriptor it
 * offers what it has left; nothing of that is wanted, the agent reads it from the frozen processes themselves. For that
 * the descriptor must outlast what CRIU does to it: see keep-page-socket.c.
 *
 * Before it is connected, the dump waits for the word if DRAYAGE_WORD_FROM names a process
 * whose standard input brings it (agent/src/host/waiting-unit.ts): what runc
 * does before it needs CRIU is done by then, while the container still runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "freeze-cgroup.h"
#include "task-control.h"
#include "true-criu.h"

#define KEEP_PAGE_SOCKET "keep-page-socket.so"
#define STANDS 1
/* Where the guard says that it stands. */
#define REPORT_FD 3
/* From the order that CRIU may end until it has. */
#define END_LIMIT_MS 2000

/* CRIU at its exit, still with everything. */
static void let_go(pid_t criu, int criu_fd, const char *cgroup, struct kept_tasks *kept)
{
	unsigned long status = 0;
	struct pollfd end = {.fd = criu_fd, .events = POLLIN};

	/* What has ended well has put everything in order itself, the freezer too. */
	bool well = !ptrace(PTRACE_GETEVENTMSG, criu, NULL, &status) && status == 0;
	if (!well)
		freeze_cgroup(cgroup);
	ptrace(PTRACE_DETACH, criu, NULL, NULL);
	/* One that has failed has ended by itself: it has given everything back. */
	if (!well && WIFSIGNALED(status) && kept && poll(&end, 1, END_LIMIT_MS) == 1)
		give_back_tasks(kept);
}

/* Stays until CRIU has ended; whatever else happens to CRIU is passed on. */
static int guard(pid_t criu, const char *cgroup)
{
	int status;
	char stands = STANDS;
	int criu_fd = syscall(SYS_pidfd_open, criu, 0);

	/* A unit that is stopped sends SIGTERM to all: CRIU goes first. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (criu_fd < 0 || ptrace(PTRACE_SEIZE, criu, NULL, PTRACE_O_TRACEEXIT))
		return 1;
	/* Nobody to tell if it cannot: what is lost is a protection. */
	struct kept_tasks *kept = keep_tasks(cgroup);
	if (write(REPORT_FD, &stands, 1) != 1)
		return 1;
	close(REPORT_FD);
	while (waitpid(criu, &status, __WALL) == criu || errno == EINTR) {
		if (!WIFSTOPPED(status))
			return 0;
		int signal_number = WSTOPSIG(status), event = status >> 16;

		if (event == PTRACE_EVENT_EXIT) {
			let_go(criu, criu_fd, cgroup, kept);
			return 0;
		}
		bool group_stop = event == PTRACE_EVENT_STOP && signal_number != SIGTRAP;
		if (group_stop)
			ptrace(PTRACE_LISTEN, criu, NULL, NULL);
		else
			ptrace(PTRACE_CONT, criu, NULL, event ? 0 : (long)signal_number);
	}
	return 0;
}

/* In the child: nothing of CRIU's is kept open, its caller waits for the end of some of it. */
static void become_guard(pid_t criu, const char *cgroup, int report)
{
	char pid[16], self[PATH_MAX];
	int null = open("/dev/null", O_RDWR);
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length <= 0)
		_exit(1);
	self[length] = '\0';
	snprintf(pid, sizeof(pid), "%d", criu);
	report = fcntl(report, F_DUPFD, REPORT_FD + 1);
	if (null < 0 || report < 0)
		_exit(1);
	for (int fd = 0; fd < REPORT_FD; fd++)
		dup2(null, fd);
	dup2(report, REPORT_FD);
	close_range(REPORT_FD + 1, ~0u, 0);
	setsid();
	execl(self, "drayage-dump-guard", pid, cgroup, NULL);
	_exit(1);
}

/* Returns when the guard stands, or cannot. */
static void post_guard(const char *cgroup)
{
	int report[2];
	char stands = 0;
	pid_t criu = getpid();

	if (pipe2(report, O_CLOEXEC))
		return;
	/* By a child in between, so that CRIU gets no child that it does not know. */
	pid_t child = fork();
	if (child == 0) {
		if (fork() == 0)
			become_guard(criu, cgroup, report[1]);
		_exit(0);
	}
	close(report[1]);
	if (child > 0)
		waitpid(child, NULL, 0);
	if (child < 0 || read(report[0], &stands, 1) != 1 || stands != STANDS)
		fprintf(stderr, "drayage-dump-guard: cannot stand guard\n");
	close(report[0]);
}

/* A descriptor of that process, as one of ours. runc leaves its CRIU none but its own. */
static int descriptor_of(pid_t pid, int fd)
{
	int process = syscall(SYS_pidfd_open, pid, 0);
	int ours = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);

	if (process >= 0)
		close(process);
	return ours;
}

/* Says that it waits, and returns true when the word has come; false if it never will. */
static bool wait_for_word(pid_t from)
{
	static const char ready[] = "ready\n", word[] = "go\n";
	int in = descriptor_of(from, STDIN_FILENO), out = descriptor_of(from, STDOUT_FILENO);
	char text[sizeof(word)];
	size_t length = 0;

	if (in < 0 || out < 0 || write(out, ready, sizeof(ready) - 1) != sizeof(ready) - 1) {
		fprintf(stderr, "drayage-dump-guard: cannot ask process %d for the word: %s\n", from, strerror(errno));
		return false;
	}
	while (length < sizeof(word) - 1) {
		ssize_t got = read(in, text + length, sizeof(word) - 1 - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		length += got;
	}
	close(in);
	close(out);
	return !memcmp(text, word, sizeof(word) - 1);
}

/* Returns why it could not be done, or NULL. */
static const char *connect_page_server(const char *path, int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int server = socket(AF_UNIX, SOCK_STREAM, 0);

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return "its path is missing, or too long";
	strcpy(address.sun_path, path);
	if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof(address)) || dup2(server, fd) != fd)
		return strerror(errno);
	if (server != fd)
		close(server);
	return NULL;
}

/* Into CRIU, before what others want to have loaded. Returns why that cannot be, or NULL. */
static const char *load_keep_page_socket(void)
{
	char path[PATH_MAX], list[2 * PATH_MAX];
	const char *others = getenv("LD_PRELOAD");
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash = length > 0 ? memrchr(path, '/', length) : NULL;

	if (is_static_criu())
		return "criu is linked statically";
	if (!slash || slash + sizeof("/" KEEP_PAGE_SOCKET) > path + sizeof(path))
		return "there is no place for it";
	strcpy(slash, "/" KEEP_PAGE_SOCKET);
	if (access(path, R_OK))
		return strerror(errno);
	if (snprintf(list, sizeof(list), "%s%s%s", path, others ? ":" : "", others ? others : "") >= (int)sizeof(list))
		return "LD_PRELOAD is too long";
	return setenv("LD_PRELOAD", list, 1) ? strerror(errno) : NULL;
}

static int as_criu(int argc, char *argv[])
{
	const char *page_socket = getenv("DRAYAGE_PAGE_SOCKET"), *problem;
	const char *cgroup = getenv("DRAYAGE_DUMP_CGROUP"), *word_from = getenv("DRAYAGE_WORD_FROM");
	int request = criu_request(argc, argv);

	/* What is not understood may be a dump: not without the word. */
	if (word_from && request == CRIU_REQUEST_NONE) {
		fprintf(stderr, "drayage-dump-guard: runc asks CRIU for something unknown\n");
		return 125;
	}
	if (request != CRIU_REQUEST_DUMP)
		return become_true_criu(argv);
	/* While the container still runs. */
	if (page_socket && (problem = load_keep_page_socket())) {
		fprintf(stderr, "drayage-dump-guard: cannot load " KEEP_PAGE_SOCKET " into CRIU: %s\n", problem);
		return 125;
	}
	/* Before there is a guard, which would freeze the container of a dump that is called off. */
	if (word_from && !wait_for_word(atoi(word_from)))
		return 125;
	if (page_socket && (problem = connect_page_server(getenv("DRAYAGE_PAGE_SERVER"), atoi(page_socket)))) {
		fprintf(stderr, "drayage-dump-guard: no socket for CRIU's pages: %s\n", problem);
		return 125;
	}
	if (cgroup)
		post_guard(cgroup);
	return become_true_criu(argv);
}

int main(int argc, char *argv[])
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

	if (!strcmp(name, "criu"))
		return as_criu(argc, argv);
	if (argc != 3 || atoi(argv[1]) <= 1) {
		fprintf(stderr, "usage: drayage-dump-guard PID CGROUP\n");
		return 2;
	}
	return guard(atoi(argv[1]), argv[2]);
}

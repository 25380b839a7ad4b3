/*
 * Asks the agent about `create` and `start`.
 *
 * One stream connection to SOCKET_PATH; each direction carries one frame: a
 * u32 length (little endian), then that many bytes of NUL-terminated fields.
 *   request   PROTOCOL, "create" | "start", container id, claim, arguments…
 *   answer    PROTOCOL, "run", argv…  |  "ok"  |  "fail", message
 * The claim names this process (pid and start time), so that a request that
 * is repeated after the agent has been restarted is known for what it is.
 *
 * The agent alone decides. Until it does, this process waits: `create` until
 * the record's deadline, `start` without one, since a copy may have been
 * committed whose agent is away, and a failed `start` would destroy it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "drayage-runc.h"

/* How long a missed notification can go unnoticed. */
#define RECHECK_MS 250
/* How long the agent may take to kill what was restored. */
#define ABORT_LIMIT_MS 60000
#define MAX_FIELDS 1024

enum outcome { ANSWERED, LOST, FAILED };
enum patience { WAIT, GRANTED, DENIED };

struct frame {
	char *bytes;
	size_t length;
};

static void append(struct frame *frame, const char *field)
{
	size_t size = strlen(field) + 1;

	frame->bytes = realloc(frame->bytes, frame->length + size);
	if (!frame->bytes) {
		report("out of memory");
		exit(1);
	}
	memcpy(frame->bytes + frame->length, field, size);
	frame->length += size;
}

static int connect_gate(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool send_all(int fd, const void *bytes, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes = (const char *)bytes + sent;
		length -= sent;
	}
	return true;
}

static bool send_frame(int fd, const struct frame *frame)
{
	unsigned char head[4];

	for (int i = 0; i < 4; i++)
		head[i] = frame->length >> (8 * i);
	return send_all(fd, head, sizeof(head)) && send_all(fd, frame->bytes, frame->length);
}

static bool receive_all(int fd, void *bytes, size_t length)
{
	while (length) {
		ssize_t got = recv(fd, bytes, length, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		bytes = (char *)bytes + got;
		length -= got;
	}
	return true;
}

/* LOST: the agent went away in the middle. FAILED: it speaks something else. */
static enum outcome receive_fields(int fd, char **fields, size_t *count)
{
	unsigned char head[4];
	char *bytes;

	if (!receive_all(fd, head, sizeof(head)))
		return LOST;
	uint32_t length = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t)head[3] << 24;
	if (!length || length > MAX_FRAME || !(bytes = malloc(length)))
		return FAILED;
	if (!receive_all(fd, bytes, length)) {
		free(bytes);
		return LOST;
	}
	*count = 0;
	for (char *field = bytes; field < bytes + length; field += strlen(field) + 1) {
		if (bytes[length - 1] || *count >= MAX_FIELDS)
			return FAILED;
		fields[(*count)++] = field;
	}
	fields[*count] = NULL;
	return *count >= 2 && !strcmp(fields[0], PROTOCOL) ? ANSWERED : FAILED;
}

/* A failed `start` makes Docker clean up, which must find nothing that lives: the agent answers when it has killed. */
static bool is_being_killed(const struct record *record)
{
	static int64_t seen_ms;

	if (record->presence != RECORD_PRESENT || strcmp(record->state, "failed"))
		return false;
	if (!seen_ms)
		seen_ms = boot_clock_ms();
	return boot_clock_ms() - seen_ms < ABORT_LIMIT_MS;
}

/* The record says whether it is still worth waiting. */
static enum patience may_wait(const struct arguments *arguments, bool connected)
{
	struct record record = read_record(arguments->id);
	bool create = !strcmp(arguments->subcommand, "create");

	if (!create && connected && is_being_killed(&record))
		return WAIT;
	if (record.presence == RECORD_ABSENT) {
		report("the restore of this container has been called off; see `dray migration ls`, then start it again");
		return DENIED;
	}
	/* A copy waits behind `start`, perhaps a committed one: no lack of memory or descriptors may destroy it. */
	if (record.presence == RECORD_UNREADABLE && !create)
		return WAIT;
	if (record.presence == RECORD_UNREADABLE) {
		report("the restore record " RECORD_DIRECTORY "/%s cannot be read; remove the container, then the record",
		       arguments->id);
		return DENIED;
	}
	if (!strcmp(record.state, "failed")) {
		report("the restore of this container has failed or was called off: %s; "
		       "it is not started cold, see `dray migration ls`", record.reason);
		return DENIED;
	}
	if (!create && !strcmp(record.state, "committed"))
		return GRANTED;
	if (create && strcmp(record.state, "armed") && strcmp(record.state, "released")) {
		report("the images of this container have been restored from already; "
		       "wait until its migration is finished, see `dray migration ls`");
		return DENIED;
	}
	if (create && boot_clock_ms() > record.deadline_ms) {
		report("no answer from the agent in time; "
		       "check it with `systemctl status drayage-agent`");
		return DENIED;
	}
	return WAIT;
}

/* Sleeps until the socket has something, or the record or the socket's directory changes. */
static bool wait_for_change(int socket, int notify)
{
	struct pollfd watched[2] = {{.fd = notify, .events = POLLIN}, {.fd = socket, .events = POLLIN}};
	char events[4096];

	poll(watched, socket >= 0 ? 2 : 1, RECHECK_MS);
	if (watched[0].revents & POLLIN && read(notify, events, sizeof(events)) < 0 && errno != EAGAIN)
		report("reading file notifications: %s", strerror(errno));
	return socket >= 0 && watched[1].revents;
}

static int open_notify(void)
{
	int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (notify < 0)
		return -1;
	/* Without a watch the recheck alone serves. */
	(void)inotify_add_watch(notify, SOCKET_DIRECTORY, IN_CREATE | IN_MOVED_TO);
	(void)inotify_add_watch(notify, RECORD_DIRECTORY, IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM);
	return notify;
}

/*
 * CRIU's work goes before that of others while the container stands still.
 * The kernel shares time among sessions first (sched(7), autogroup), so this
 * needs one of its own; the restored tasks come back with theirs, as they were.
 */
static void go_first(void)
{
	if (setsid() < 0)
		return;
	int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* Without autogroups there is nothing to gain and nothing lost. */
	(void)!write(fd, "-15", 3);
	close(fd);
}

/* The session's directory is before all others: see held-criu.c. */
static bool enter_session(const char *id)
{
	char session[sizeof(SESSION_DIRECTORY) + ID_LENGTH + 2], path[16384];
	const char *others = getenv("PATH");

	snprintf(session, sizeof(session), SESSION_DIRECTORY "/%s", id);
	return snprintf(path, sizeof(path), "%s:%s", session, others ? others : "/usr/sbin:/usr/bin:/sbin:/bin") <
		       (int)sizeof(path) &&
	       !setenv(SESSION_VARIABLE, session, 1) && !setenv("PATH", path, 1);
}

static int carry_out(const struct arguments *arguments, char **fields, size_t count)
{
	bool create = !strcmp(arguments->subcommand, "create");

	if (create && !strcmp(fields[1], "run") && count >= 3 && fields[2][0] == '/') {
		if (!enter_session(arguments->id)) {
			report("the PATH is too long");
			return 1;
		}
		go_first();
		/* Set by create.c: from here on the restore goes on by itself. */
		prctl(PR_SET_PDEATHSIG, 0);
		execv(fields[2], fields + 2);
		report("cannot run %s: %s", fields[2], strerror(errno));
		return 1;
	}
	if (!create && !strcmp(fields[1], "ok"))
		return 0;
	if (!strcmp(fields[1], "fail") && count >= 3) {
		report("%s", fields[2]);
		return 1;
	}
	report("%s failed: the agent's answer makes no sense; agent and runtime must be of one version",
	       arguments->subcommand);
	return 1;
}

int ask_gate(const struct arguments *arguments, int argc, char *const argv[])
{
	struct frame request = {0};
	char claim[CLAIM_SIZE];
	char *fields[MAX_FIELDS + 1];
	size_t count = 0;
	int notify = open_notify();
	enum patience patience;

	if (!write_claim(claim, sizeof(claim))) {
		report("cannot read /proc/self/stat: %s", strerror(errno));
		exit(1);
	}
	append(&request, PROTOCOL);
	append(&request, arguments->subcommand);
	append(&request, arguments->id);
	append(&request, claim);
	for (int i = 1; i < argc; i++)
		append(&request, argv[i]);
	if (request.length > MAX_FRAME) {
		report("%s failed: too many arguments", arguments->subcommand);
		return 1;
	}
	while ((patience = may_wait(arguments, false)) == WAIT) {
		int gate = connect_gate();

		if (gate < 0 || !send_frame(gate, &request)) {
			if (gate >= 0)
				close(gate);
			wait_for_change(-1, notify);
			continue;
		}
		while (!wait_for_change(gate, notify))
			if ((patience = may_wait(arguments, true)) != WAIT)
				return patience == GRANTED ? 0 : 1;
		enum outcome outcome = receive_fields(gate, fields, &count);
		if (outcome == ANSWERED)
			return carry_out(arguments, fields, count);
		close(gate);
		if (outcome == FAILED) {
			report("%s failed: the agent speaks another protocol; agent and runtime must be of one version",
			       arguments->subcommand);
			return 1;
		}
	}
	return patience == GRANTED ? 0 : 1;
}

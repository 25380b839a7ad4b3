/* The directory of a restore's session: what has happened is noted there, and what may go on is said there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "drayage-runc.h"

#define PATH_SIZE 4096

void note_in_session(const char *session, const char *what)
{
	char path[PATH_SIZE], line[256];
	int length = snprintf(line, sizeof(line), "%lld %s\n", (long long)boot_clock_ms(), what);

	snprintf(path, sizeof(path), "%s/actions", session);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, line, length) != length)
		fprintf(stderr, "drayage-runc: cannot write %s\n", path);
	close(fd);
}

bool tell_in_session(const char *session, const char *name, const char *text)
{
	char path[PATH_SIZE], draft[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", session, name);
	snprintf(draft, sizeof(draft), "%s/.%s.draft", session, name);
	return replace_small_file(path, draft, text, 0600);
}

static bool is_there(const char *session, const char *name)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", session, name);
	return access(path, F_OK) == 0;
}

bool wait_in_session(const char *session, const char *name)
{
	const char *slash = strrchr(session, '/');
	const char *id = slash ? slash + 1 : session;
	char ended[128];
	int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	/* Records are replaced as a whole, by a rename. */
	if (changes < 0 || inotify_add_watch(changes, session, IN_CREATE | IN_MOVED_TO) < 0 ||
	    inotify_add_watch(changes, RECORD_DIRECTORY, IN_MOVED_TO | IN_DELETE) < 0) {
		note_in_session(session, "ended: no notices of the session's directory");
		return false;
	}
	/* Watched first, then looked: nothing falls between. */
	while (!is_there(session, name)) {
		char events[4096];
		struct pollfd ready = {.fd = changes, .events = POLLIN};
		struct record record = read_record(id);
		int64_t left_ms = record.deadline_ms - boot_clock_ms();

		if (record.presence != RECORD_PRESENT || !strcmp(record.state, "failed") || left_ms <= 0) {
			snprintf(ended, sizeof(ended), "ended: called off before %s", name);
			note_in_session(session, ended);
			return false;
		}
		if (poll(&ready, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms) < 0 && errno != EINTR)
			return false;
		while (read(changes, events, sizeof(events)) > 0)
			;
	}
	close(changes);
	return true;
}

/* Reads restore records: lines of "name value", the first is "drayage-restore 1". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drayage-runc.h"

static void record_path(char *path, size_t size, const char *id)
{
	snprintf(path, size, RECORD_DIRECTORY "/%s", id);
}

enum record_presence record_presence(const char *id)
{
	char path[sizeof(RECORD_DIRECTORY) + ID_LENGTH + 2];

	record_path(path, sizeof(path), id);
	if (faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0)
		return RECORD_PRESENT;
	return errno == ENOENT || errno == ENOTDIR ? RECORD_ABSENT : RECORD_UNREADABLE;
}

static void copy_value(char *to, size_t size, const char *value)
{
	snprintf(to, size, "%s", value);
}

struct record read_record(const char *id)
{
	struct record record = {.presence = RECORD_UNREADABLE, .deadline_ms = -1};
	char path[sizeof(RECORD_DIRECTORY) + ID_LENGTH + 2];
	char text[16384];
	char *rest = text;

	record_path(path, sizeof(path), id);
	if (read_small_file(path, text, sizeof(text)) < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			record.presence = RECORD_ABSENT;
		return record;
	}
	char *line = strsep(&rest, "\n");
	if (!line || strcmp(line, "drayage-restore 1"))
		return record;
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(line, "state"))
			copy_value(record.state, sizeof(record.state), value);
		else if (!strcmp(line, "reason"))
			copy_value(record.reason, sizeof(record.reason), value);
		else if (!strcmp(line, "deadline-ms"))
			record.deadline_ms = strtoll(value, NULL, 10);
	}
	if (record.state[0] && record.deadline_ms >= 0)
		record.presence = RECORD_PRESENT;
	return record;
}

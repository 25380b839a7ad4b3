/* Bars against a cold start: files named after containers, kept over reboots, which the agent sets and lifts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drayage-runc.h"

bool is_barred(const char *id, char *migration, size_t size)
{
	char path[sizeof(BAR_DIRECTORY) + ID_LENGTH + 2];

	snprintf(path, sizeof(path), BAR_DIRECTORY "/%s", id);
	if (faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) && (errno == ENOENT || errno == ENOTDIR))
		return false;
	if (read_small_file(path, migration, size) < 0)
		migration[0] = '\0';
	migration[strcspn(migration, "\n")] = '\0';
	return true;
}

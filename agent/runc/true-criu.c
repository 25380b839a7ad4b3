/* See true-criu.h. */
#include "true-criu.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of protocol buffers, https://protobuf.dev/programming-guides/encoding/ */
enum wire_type { VARINT = 0, FIXED64 = 1, LENGTH_DELIMITED = 2, FIXED32 = 5 };
#define TYPE_FIELD 1

struct bytes {
	const unsigned char *at, *end;
};

static bool read_varint(struct bytes *bytes, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; bytes->at < bytes->end && shift < 64; shift += 7) {
		unsigned char byte = *bytes->at++;

		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

static bool skip(struct bytes *bytes, enum wire_type type)
{
	uint64_t length;

	switch (type) {
	case VARINT:
		return read_varint(bytes, &length);
	case FIXED64:
		length = 8;
		break;
	case FIXED32:
		length = 4;
		break;
	case LENGTH_DELIMITED:
		if (!read_varint(bytes, &length))
			return false;
		break;
	default:
		return false;
	}
	if (length > (uint64_t)(bytes->end - bytes->at))
		return false;
	bytes->at += length;
	return true;
}

/* message criu_req { required criu_req_type type = 1; … } */
static int request_type(struct bytes bytes)
{
	uint64_t tag, type;

	while (bytes.at < bytes.end && read_varint(&bytes, &tag)) {
		if (tag == (TYPE_FIELD << 3 | VARINT))
			return read_varint(&bytes, &type) && type <= INT_MAX ? (int)type : CRIU_REQUEST_NONE;
		if (!skip(&bytes, tag & 7))
			break;
	}
	return CRIU_REQUEST_NONE;
}

int criu_request(int argc, char *const argv[])
{
	static unsigned char message[1 << 16];
	ssize_t length;

	if (argc != 3 || strcmp(argv[1], "swrk"))
		return CRIU_REQUEST_NONE;
	do
		length = recv(atoi(argv[2]), message, sizeof(message), MSG_PEEK);
	while (length < 0 && errno == EINTR);
	if (length <= 0)
		return CRIU_REQUEST_NONE;
	return request_type((struct bytes){message, message + length});
}

/* The first in the PATH that can be run and is not this program. */
static bool find_true_criu(char path[PATH_MAX])
{
	struct stat self, candidate;
	const char *all = getenv("PATH");
	char *list = strdup(all ? all : ""), *rest = list, *directory;
	bool found = false;

	if (list && !stat("/proc/self/exe", &self)) {
		while (!found && (directory = strsep(&rest, ":"))) {
			snprintf(path, PATH_MAX, "%s/criu", directory);
			found = !stat(path, &candidate) && S_ISREG(candidate.st_mode) && !access(path, X_OK) &&
				(candidate.st_dev != self.st_dev || candidate.st_ino != self.st_ino);
		}
	}
	free(list);
	return found;
}

int become_true_criu(char *const argv[])
{
	char path[PATH_MAX];

	errno = ENOENT;
	if (find_true_criu(path))
		execv(path, argv);
	fprintf(stderr, "cannot run criu: %s\n", strerror(errno));
	return 127;
}

/* An ELF file without a program interpreter: elf(5). */
static bool is_static(FILE *program)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (fread(&header, sizeof(header), 1, program) != 1 || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	for (int index = 0; index < header.e_phnum; index++) {
		if (fseek(program, header.e_phoff + (long)index * header.e_phentsize, SEEK_SET) ||
		    fread(&segment, sizeof(segment), 1, program) != 1)
			return false;
		if (segment.p_type == PT_INTERP)
			return false;
	}
	return true;
}

bool is_static_criu(void)
{
	char path[PATH_MAX];
	FILE *program = find_true_criu(path) ? fopen(path, "re") : NULL;
	bool result = program && is_static(program);

	if (program)
		fclose(program);
	return result;
}

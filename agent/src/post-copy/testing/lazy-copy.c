/*
 * Plays CRIU and the application that it restores: memory that is registered
 * with a userfaultfd as CRIU does it, handed over as CRIU does it, and used as
 * it is told.
 *
 *   lazy-copy LAZY_PAGES_SOCKET
 *
 * Reads lines "ID COMMAND ARGUMENTS", answers "ID RESULT". A command whose ID
 * ends with & runs in a thread of its own. All numbers are
 * hexadecimal, sizes are in pages.
 *
 *   map PAGES                  address; registered
 *   hand-over TASK             sends the pid and the userfaultfd
 *   zombie TASK
 *   finish                     the restore is finished
 *   hang-up                    CRIU is gone
 *   crc START PAGES            CRC-32 of memory (faults)
 *   read-in-kernel START       the same of one page, by way of a pipe
 *   latency START PAGES        touches each page; microseconds each, mean and longest
 *   write START BYTE           the first byte of a page
 *   fork START PAGES           "forked"; the child answers "ID.child CRC" when it has read it
 *   move FROM PAGES            mremap to a new place, which is the answer
 *   move-to FROM PAGES TO      the same to a given place
 *   grow START PAGES TO_PAGES  mremap in place
 *   hole PAGES                 an address with so much room behind it
 *   discard START PAGES        madvise(MADV_DONTNEED)
 *   unmap START PAGES
 *   protect START PAGES        read only: a mapping of its own
 *   resident START PAGES       how many pages are there (no faults)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define FEATURES (UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE)

static const char *socket_path;
static int uffd = -1, criu = -1;

struct command {
	char id[32], name[32];
	uint64_t a, b, c;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void answer(const char *id, const char *format, uint64_t value)
{
	char line[128];
	int length = snprintf(line, sizeof(line), "%s ", id);

	length += snprintf(line + length, sizeof(line) - length, format, value);
	line[length++] = '\n';
	if (write(STDOUT_FILENO, line, length) != length)
		exit(1);
}

static uint32_t crc_table[256];

static void make_crc_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		crc_table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0xedb88320u : 0);
	}
}

static uint32_t crc32(const unsigned char *bytes, size_t length)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < length; i++)
		crc = crc >> 8 ^ crc_table[(crc ^ bytes[i]) & 0xff];
	return ~crc;
}

static void *anonymous(uint64_t pages)
{
	void *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

static uint64_t map(uint64_t pages)
{
	/* Room around it, so that it is a mapping of its own. */
	char *room = anonymous(pages + 2);
	struct uffdio_register range = {
		.range = {.start = (uintptr_t)room + PAGE, .len = pages * PAGE},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};

	munmap(room, PAGE);
	munmap(room + (pages + 1) * PAGE, PAGE);
	if (uffd < 0) {
		uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
			fail("userfaultfd");
	}
	if (ioctl(uffd, UFFDIO_REGISTER, &range))
		fail("UFFDIO_REGISTER");
	return range.range.start;
}

static void say_to_server(int32_t number)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (criu < 0) {
		strncpy(address.sun_path, socket_path, sizeof(address.sun_path) - 1);
		criu = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(criu, (struct sockaddr *)&address, sizeof(address)))
			fail(socket_path);
	}
	if (send(criu, &number, sizeof(number), 0) != sizeof(number))
		fail("send");
}

static void send_uffd(void)
{
	char byte = 0, space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = CMSG_LEN(sizeof(int))};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_len = CMSG_LEN(sizeof(int));
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(rights), &uffd, sizeof(uffd));
	if (sendmsg(criu, &message, 0) != 1)
		fail("sendmsg");
	close(uffd);
	uffd = -1;
}

static uint64_t move(uint64_t from, uint64_t pages, uint64_t to)
{
	void *moved = mremap((void *)from, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to);

	if (moved == MAP_FAILED)
		fail("mremap");
	return (uintptr_t)moved;
}

static void latency(const struct command *command)
{
	double sum = 0, longest = 0;
	char line[64];

	for (uint64_t i = 0; i < command->b; i++) {
		struct timespec before, after;

		clock_gettime(CLOCK_MONOTONIC, &before);
		(void)*(volatile char *)(command->a + i * PAGE);
		clock_gettime(CLOCK_MONOTONIC, &after);
		double us = (after.tv_sec - before.tv_sec) * 1e6 + (after.tv_nsec - before.tv_nsec) / 1e3;
		sum += us;
		longest = us > longest ? us : longest;
	}
	snprintf(line, sizeof(line), "%.1f %.1f", sum / command->b, longest);
	answer(command->id, line, 0);
}

static void read_in_kernel(const struct command *command)
{
	static unsigned char copy[PAGE];
	int ends[2];

	if (pipe(ends) || write(ends[1], (void *)command->a, PAGE) != (ssize_t)PAGE || read(ends[0], copy, PAGE) != (ssize_t)PAGE)
		fail("pipe");
	close(ends[0]);
	close(ends[1]);
	answer(command->id, "%" PRIx64, crc32(copy, PAGE));
}

static void fork_and_read(const struct command *command)
{
	pid_t child = fork();
	char id[40];

	if (child < 0)
		fail("fork");
	if (child > 0)
		return answer(command->id, "forked", 0);
	snprintf(id, sizeof(id), "%s.child", command->id);
	answer(id, "%" PRIx64, crc32((void *)command->a, command->b * PAGE));
	_exit(0);
}

static uint64_t resident(uint64_t start, uint64_t pages)
{
	unsigned char *flags = malloc(pages);
	uint64_t count = 0;

	if (!flags || mincore((void *)start, pages * PAGE, flags))
		fail("mincore");
	for (uint64_t i = 0; i < pages; i++)
		count += flags[i] & 1;
	free(flags);
	return count;
}

static void *carry_out(void *argument)
{
	struct command *command = argument;
	const char *name = command->name, *id = command->id;
	void *at = (void *)command->a;
	uint64_t bytes = command->b * PAGE;
	int failed = 0;

	if (!strcmp(name, "map"))
		answer(id, "%" PRIx64, map(command->a));
	else if (!strcmp(name, "crc"))
		answer(id, "%" PRIx64, crc32(at, bytes));
	else if (!strcmp(name, "read-in-kernel"))
		read_in_kernel(command);
	else if (!strcmp(name, "latency"))
		latency(command);
	else if (!strcmp(name, "fork"))
		fork_and_read(command);
	else if (!strcmp(name, "move"))
		answer(id, "%" PRIx64, move(command->a, command->b, (uintptr_t)anonymous(command->b)));
	else if (!strcmp(name, "move-to"))
		answer(id, "%" PRIx64, move(command->a, command->b, command->c));
	else if (!strcmp(name, "resident"))
		answer(id, "%" PRIx64, resident(command->a, command->b));
	else if (!strcmp(name, "hole")) {
		void *room = anonymous(command->a);

		munmap(room, command->a * PAGE);
		answer(id, "%" PRIx64, (uintptr_t)room);
	} else {
		if (!strcmp(name, "hand-over")) {
			say_to_server(command->a);
			send_uffd();
		} else if (!strcmp(name, "zombie")) {
			say_to_server(-(int32_t)command->a);
		} else if (!strcmp(name, "finish")) {
			say_to_server(0x52535446);
			close(criu);
		} else if (!strcmp(name, "hang-up")) {
			close(criu);
		} else if (!strcmp(name, "write")) {
			*(volatile char *)at = command->b;
		} else if (!strcmp(name, "grow")) {
			failed = mremap(at, bytes, command->c * PAGE, 0) == MAP_FAILED;
		} else if (!strcmp(name, "discard")) {
			failed = madvise(at, bytes, MADV_DONTNEED);
		} else if (!strcmp(name, "unmap")) {
			failed = munmap(at, bytes);
		} else if (!strcmp(name, "protect")) {
			failed = mprotect(at, bytes, PROT_READ);
		} else {
			failed = 1;
		}
		if (failed)
			fail(name);
		answer(id, "ok", 0);
	}
	free(command);
	return NULL;
}

int main(int argc, char *argv[])
{
	char line[256];

	if (argc != 2)
		return 2;
	socket_path = argv[1];
	make_crc_table();
	while (fgets(line, sizeof(line), stdin)) {
		struct command *command = calloc(1, sizeof(*command));
		pthread_t thread;

		if (!command || sscanf(line, "%31s %31s %" SCNx64 " %" SCNx64 " %" SCNx64, command->id, command->name,
				       &command->a, &command->b, &command->c) < 2)
			return 2;
		if (command->id[strlen(command->id) - 1] != '&')
			carry_out(command);
		else if (pthread_create(&thread, NULL, carry_out, command) || pthread_detach(thread))
			fail("pthread_create");
	}
	return 0;
}

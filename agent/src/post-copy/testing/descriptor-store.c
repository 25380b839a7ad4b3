/*
 * Plays systemd, as far as it holds descriptors for a service: takes its
 * notifications (sd_notify(3)) and says on stdout how many it holds, at first
 * and after each change of that.
 *
 *   descriptor-store SOCKET
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_HELD 1024

static struct {
	int fd;
	char name[64];
} held[MAX_HELD];
static int count;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void take(char *text, int fd)
{
	const char *name = strstr(text, "FDNAME=");
	char word[64] = "";

	if (name)
		sscanf(name, "FDNAME=%63s", word);
	/* Told twice of a descriptor, systemd holds it once. */
	for (int i = 0; i < count; i++) {
		if (strcmp(held[i].name, word))
			continue;
		close(held[i].fd);
		held[i--] = held[--count];
	}
	if (strstr(text, "FDSTORE=1")) {
		/* Without that systemd lets go of one that polls as an error. */
		if (fd < 0 || !strstr(text, "FDPOLL=0") || count == MAX_HELD)
			fail(text);
		held[count].fd = fd;
		strcpy(held[count++].name, word);
	} else if (fd >= 0) {
		/* A barrier. */
		close(fd);
	}
}

int main(int argc, char *argv[])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), said = -1;

	if (argc != 2)
		return 2;
	strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
	if (bind(notify, (struct sockaddr *)&address, sizeof(address)))
		fail(argv[1]);
	for (;;) {
		char text[512], space[CMSG_SPACE(sizeof(int))];
		struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};

		if (count != said)
			printf("%d\n", said = count);
		fflush(stdout);
		ssize_t length = recvmsg(notify, &message, MSG_CMSG_CLOEXEC);
		if (length < 0)
			fail("recvmsg");
		text[length] = '\0';
		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
		take(text, rights ? *(int *)CMSG_DATA(rights) : -1);
	}
}

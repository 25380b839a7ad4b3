/*
 * Loaded into the CRIU of a dump (LD_PRELOAD), for a descriptor that it closes too soon.
 *
 * A dump that leaves private memory where it is (`lazy-pages`) and brings the rest to a page server (`page-server`) has
 * two uses for one socket (`ps-socket`): it is the page server's client while it dumps, and serves what it has left
 * when it has dumped. It closes the socket between the two (disconnect_from_page_server and cr_page_server in
 * criu/page-xfer.c), and then waits on a descriptor that is no more. So `close` leaves that descriptor open; it goes
 * with CRIU.
 *
 * Linked with nothing: it is used with whatever C library CRIU is.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int page_socket = -1;

__attribute__((constructor)) static void find_page_socket(void)
{
	const char *fd = getenv("DRAYAGE_PAGE_SOCKET");

	if (fd)
		page_socket = atoi(fd);
}

int close(int fd)
{
	return fd >= 0 && fd == page_socket ? 0 : (int)syscall(SYS_close, fd);
}

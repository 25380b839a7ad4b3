/*
 * Maps a file and writes its first byte, so that the page of it is dirty, then
 * the bytes of standard input there, one after the other; answers each with a
 * line. Ends with standard input.
 *
 *   mapped-writer FILE
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int count, char *arguments[])
{
	int fd = count == 2 ? open(arguments[1], O_RDWR) : -1;
	volatile char *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int byte;

	if (page == MAP_FAILED)
		return 1;
	page[0] = '*';
	puts("mapped");
	fflush(stdout);
	while ((byte = getchar()) != EOF) {
		page[0] = (char)byte;
		puts("written");
		fflush(stdout);
	}
	return 0;
}

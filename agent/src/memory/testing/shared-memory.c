/*
 * Maps a shared object of which it touches nothing: a child writes some pages of
 * it, and is gone. Or maps a file without a name of so many bytes, to which it
 * appends so many at each byte of its input. Says where it is, and when it has
 * appended, and waits until its input ends.
 *
 * usage: shared-memory FIRST:PAGES...
 *        shared-memory BYTES+MORE
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define BYTES (16 << 20)

static bool append(int file, unsigned long bytes)
{
	for (; bytes > 0; bytes--)
		if (write(file, "x", 1) != 1)
			return false;
	return true;
}

int main(int count, char **arguments)
{
	unsigned long bytes = 0, more = 0;
	int file = count == 2 && sscanf(arguments[1], "%lu+%lu", &bytes, &more) == 2 ? memfd_create("grows", 0) : -1;
	if (file >= 0 && !append(file, bytes))
		return 1;
	int flags = MAP_SHARED | (file < 0 ? MAP_ANONYMOUS : 0);
	char *shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, file, 0);

	if (shared == MAP_FAILED)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		for (int index = 1; file < 0 && index < count; index++) {
			unsigned long first, pages;

			if (sscanf(arguments[index], "%lu:%lu", &first, &pages) != 2)
				_exit(2);
			for (unsigned long page = first; page < first + pages; page++)
				memset(shared + page * PAGE_BYTES, (int)(page % 255) + 1, PAGE_BYTES);
		}
		_exit(0);
	}
	int status;
	if (waitpid(child, &status, 0) != child || status != 0)
		return 1;
	printf("%lx %lx\n", (unsigned long)(uintptr_t)shared, (unsigned long)(uintptr_t)shared + BYTES);
	fflush(stdout);
	char byte;
	while (read(STDIN_FILENO, &byte, 1) > 0 && file >= 0 && append(file, more)) {
		printf("appended\n");
		fflush(stdout);
	}
	return 0;
}

/*
 * Maps a shared object of which it touches nothing: a child writes some pages of
 * it, and is gone. Says where it is, and waits until its input ends.
 *
 * usage: shared-memory FIRST:PAGES...
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define BYTES (16 << 20)

int main(int count, char **arguments)
{
	char *shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		for (int index = 1; index < count; index++) {
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
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

/* Memory that survives a worker. Blocks of powers of two; what a killed worker had half given back is lost. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../runc/freeze-cgroup.h"
#include "fault-server.h"

/* Address space only, where the kernel overcommits; otherwise as much as it grants. */
#define MOST_BYTES (32ull << 30)
#define LEAST_BYTES (64ull << 20)
#define SMALLEST_BITS 6

struct shared *shared;

bool shared_open(void)
{
	for (size_t size = MOST_BYTES; size >= LEAST_BYTES; size /= 2) {
		void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (memory == MAP_FAILED)
			continue;
		shared = memory;
		shared->size = size;
		shared->first = shared->next = (sizeof(*shared) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
		shared->control_listener = shared->criu_listener = shared->criu = -1;
		return true;
	}
	return false;
}

static unsigned size_bits(size_t bytes)
{
	unsigned bits = SMALLEST_BITS;

	while ((size_t)1 << bits < bytes)
		bits++;
	return bits;
}

void *shared_take(size_t bytes)
{
	unsigned bits = size_bits(bytes);
	void *block = shared->given_back[bits];

	if (block) {
		shared->given_back[bits] = *(void **)block;
		memset(block, 0, bytes);
		return block;
	}
	if (shared->size - shared->next < (size_t)1 << bits)
		return NULL;
	block = (char *)shared + shared->next;
	shared->next += (size_t)1 << bits;
	return block;
}

void shared_give_back(void *block, size_t bytes)
{
	unsigned bits = size_bits(bytes);

	*(void **)block = shared->given_back[bits];
	shared->given_back[bits] = block;
}

void shared_forget(void)
{
	shared->images = NULL;
	memset(shared->buckets, 0, sizeof(shared->buckets));
	memset(shared->given_back, 0, sizeof(shared->given_back));
	/* Fresh blocks are expected to be zero. */
	memset((char *)shared + shared->first, 0, shared->next - shared->first);
	shared->next = shared->first;
}

uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

void say(const char *format, ...)
{
	char line[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	dprintf(STDERR_FILENO, "drayage-fault-server: %s\n", line);
}

void freeze_container(const char *why)
{
	if (shared->frozen)
		return;
	shared->frozen = true;
	say("%s; the container is frozen", why);
	freeze_cgroup(shared->cgroup);
}

void give_up(const char *why)
{
	freeze_container(why);
	for (;;)
		pause();
}

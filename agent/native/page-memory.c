/*
 * What Node cannot do with pages of memory and of files, or not fast enough: an
 * addon for the agent (agent/src/memory, agent/src/layer).
 *
 *   compare(content, offset, pages, key, table, tableOffset, verdicts, verdictOffset)
 *   digest(content, offset, pages, key, table, tableOffset)
 *   scan(pagemapFd, start, end, required, excluded, out) -> count, or -errno
 *   openBeneath(directoryFd, path, forWriting) -> fd, or -errno
 *   attributes(fd) -> Buffer, or -errno
 *   setModified(fd, seconds, nanoseconds) -> 0, or -errno
 *   punch(fd, ranges, numbers) -> 0, or -errno
 *   crc32(bytes, seed) -> number, or -1 (crc32.h)
 *
 * The digest of a page is NH, the universal hash of UMAC (RFC 4418, section
 * 5.2.2; Black et al., "UMAC: Fast and Secure Message Authentication", 1999),
 * with words of 64 bits:
 *
 *   NH(K, M) = sum over i of (m[2i] + k[2i]) * (m[2i+1] + k[2i+1])   mod 2^128
 *
 * taken twice with the key shifted by two words (Toeplitz). For two different
 * pages and a random key that nobody knows who chooses the pages, all 256 bits
 * are equal with a probability of at most 2^-128. That is what is needed here:
 * the key is drawn for each migration and, like the digests, never leaves the
 * agent, so that a container cannot look for collisions. A digest that needs no
 * key costs a multiple.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include "crc32.h"

#include <node_api.h>

#define PAGE_SIZE 4096
#define PAGE_WORDS (PAGE_SIZE / 8)
#define TOEPLITZ_SHIFT 2
#define KEY_SIZE ((PAGE_WORDS + TOEPLITZ_SHIFT) * 8)
#define DIGEST_SIZE 32

/* linux/fs.h since 6.7; older headers lack it. */
struct page_region {
	uint64_t start, end, categories;
};
struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define REGIONS_AT_A_TIME 512

struct digest {
	unsigned __int128 sums[2];
};

static struct digest digest_page(const unsigned char *page, const uint64_t *key)
{
	struct digest digest = {{0, 0}};

	for (int i = 0; i < PAGE_WORDS; i += 2) {
		uint64_t a, b;

		memcpy(&a, page + 8 * i, 8);
		memcpy(&b, page + 8 * i + 8, 8);
		digest.sums[0] += (unsigned __int128)(uint64_t)(a + key[i]) * (uint64_t)(b + key[i + 1]);
		digest.sums[1] += (unsigned __int128)(uint64_t)(a + key[i + 2]) * (uint64_t)(b + key[i + 3]);
	}
	return digest;
}

struct bytes {
	unsigned char *at;
	size_t length;
};

static bool get_bytes(napi_env env, napi_value value, struct bytes *bytes)
{
	bool is_buffer = false;

	return napi_is_buffer(env, value, &is_buffer) == napi_ok && is_buffer &&
	       napi_get_buffer_info(env, value, (void **)&bytes->at, &bytes->length) == napi_ok;
}

static bool get_count(napi_env env, napi_value value, uint64_t *count)
{
	double number;

	if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0) || number > 9007199254740991.0)
		return false;
	*count = (uint64_t)number;
	return true;
}

static bool fits(const struct bytes *bytes, uint64_t offset, uint64_t count, uint64_t size)
{
	return offset <= bytes->length && count <= (bytes->length - offset) / size;
}

static napi_value refuse(napi_env env, const char *what)
{
	napi_throw_type_error(env, NULL, what);
	return NULL;
}

/*
 * Compares each page with its digest in the table, writes 1 (differs) or 0 for
 * it, and stores the new digest. Returns how many differ.
 */
static napi_value compare(napi_env env, napi_callback_info info)
{
	napi_value arguments[8], result;
	size_t given = 8;
	struct bytes content, key, table, verdicts;
	uint64_t offset, pages, table_offset, verdict_offset;
	uint32_t different = 0;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 8 ||
	    !get_bytes(env, arguments[0], &content) || !get_count(env, arguments[1], &offset) ||
	    !get_count(env, arguments[2], &pages) || !get_bytes(env, arguments[3], &key) ||
	    !get_bytes(env, arguments[4], &table) || !get_count(env, arguments[5], &table_offset) ||
	    !get_bytes(env, arguments[6], &verdicts) || !get_count(env, arguments[7], &verdict_offset))
		return refuse(env, "compare: wrong arguments");
	if (key.length != KEY_SIZE || ((uintptr_t)key.at & 7) || !fits(&content, offset, pages, PAGE_SIZE) ||
	    !fits(&table, table_offset, pages, DIGEST_SIZE) || !fits(&verdicts, verdict_offset, pages, 1))
		return refuse(env, "compare: out of bounds");
	for (uint64_t i = 0; i < pages; i++) {
		unsigned char *known = table.at + table_offset + i * DIGEST_SIZE;
		struct digest digest = digest_page(content.at + offset + i * PAGE_SIZE, (const uint64_t *)key.at);
		bool differs = memcmp(known, &digest, DIGEST_SIZE) != 0;

		verdicts.at[verdict_offset + i] = differs;
		if (differs) {
			memcpy(known, &digest, DIGEST_SIZE);
			different++;
		}
	}
	return napi_create_uint32(env, different, &result) == napi_ok ? result : NULL;
}

/* Stores the digest of each page in the table. */
static napi_value digest(napi_env env, napi_callback_info info)
{
	napi_value arguments[6];
	size_t given = 6;
	struct bytes content, key, table;
	uint64_t offset, pages, table_offset;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 6 ||
	    !get_bytes(env, arguments[0], &content) || !get_count(env, arguments[1], &offset) ||
	    !get_count(env, arguments[2], &pages) || !get_bytes(env, arguments[3], &key) ||
	    !get_bytes(env, arguments[4], &table) || !get_count(env, arguments[5], &table_offset))
		return refuse(env, "digest: wrong arguments");
	if (key.length != KEY_SIZE || ((uintptr_t)key.at & 7) || !fits(&content, offset, pages, PAGE_SIZE) ||
	    !fits(&table, table_offset, pages, DIGEST_SIZE))
		return refuse(env, "digest: out of bounds");
	for (uint64_t i = 0; i < pages; i++) {
		struct digest digest = digest_page(content.at + offset + i * PAGE_SIZE, (const uint64_t *)key.at);

		memcpy(table.at + table_offset + i * DIGEST_SIZE, &digest, DIGEST_SIZE);
	}
	return NULL;
}

/*
 * The ranges of [start, end) whose pages are present or swapped, have all of
 * `required` and nothing of `excluded`, as pairs of doubles in `out`; the last
 * number that was written is where to go on. Returns how many numbers that is,
 * or a negative errno: ENOTTY where the kernel does not know the call.
 */
static napi_value scan(napi_env env, napi_callback_info info)
{
	static struct page_region regions[REGIONS_AT_A_TIME];
	napi_value arguments[6], result;
	size_t given = 6, length;
	uint64_t fd, start, end, required, excluded;
	napi_typedarray_type type;
	double *out;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 6 ||
	    !get_count(env, arguments[0], &fd) || !get_count(env, arguments[1], &start) ||
	    !get_count(env, arguments[2], &end) || !get_count(env, arguments[3], &required) ||
	    !get_count(env, arguments[4], &excluded) ||
	    napi_get_typedarray_info(env, arguments[5], &type, &length, (void **)&out, NULL, NULL) != napi_ok ||
	    type != napi_float64_array || length < 3)
		return refuse(env, "scan: wrong arguments");
	size_t room = (length - 1) / 2;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = room < REGIONS_AT_A_TIME ? room : REGIONS_AT_A_TIME,
		.category_inverted = excluded,
		.category_mask = required | excluded,
		.category_anyof_mask = 1 << 3 | 1 << 4, /* PAGE_IS_PRESENT, PAGE_IS_SWAPPED */
		.return_mask = 1 << 3,
	};
	int count = ioctl((int)fd, PAGEMAP_SCAN, &arg);
	int written = 0;

	if (count < 0)
		return napi_create_int32(env, -errno, &result) == napi_ok ? result : NULL;
	for (int i = 0; i < count; i++) {
		/* Neighbours differ in categories that are not of interest here. */
		if (written > 0 && out[written - 1] == (double)regions[i].start) {
			out[written - 1] = (double)regions[i].end;
			continue;
		}
		out[written++] = (double)regions[i].start;
		out[written++] = (double)regions[i].end;
	}
	out[written++] = (double)arg.walk_end;
	return napi_create_int32(env, written, &result) == napi_ok ? result : NULL;
}

/* Where the next data, or the next hole, of a file is; a negative errno, ENXIO behind the last. */
static napi_value seek(napi_env env, napi_callback_info info)
{
	napi_value arguments[3], result;
	size_t given = 3;
	uint64_t fd, from;
	bool hole;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 3 ||
	    !get_count(env, arguments[0], &fd) || !get_count(env, arguments[1], &from) ||
	    napi_get_value_bool(env, arguments[2], &hole) != napi_ok)
		return refuse(env, "seek: wrong arguments");
	off_t found = lseek((int)fd, (off_t)from, hole ? SEEK_HOLE : SEEK_DATA);

	return napi_create_double(env, found < 0 ? -errno : (double)found, &result) == napi_ok ? result : NULL;
}

static napi_value number(napi_env env, int value)
{
	napi_value result;

	return napi_create_int32(env, value, &result) == napi_ok ? result : NULL;
}

/*
 * Opens a regular file of whose path, zero-terminated bytes relative to a
 * directory, no part is a link or leads out of it, whatever a container makes of
 * it meanwhile. What it is is looked at before it is opened: to open a device
 * does something (a watchdog begins to count), to open a fifo waits.
 */
static napi_value open_beneath(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	size_t given = 3;
	uint64_t directory;
	struct bytes path;
	bool for_writing;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 3 ||
	    !get_count(env, arguments[0], &directory) || !get_bytes(env, arguments[1], &path) ||
	    napi_get_value_bool(env, arguments[2], &for_writing) != napi_ok || path.length == 0 ||
	    path.at[path.length - 1] != 0)
		return refuse(env, "openBeneath: wrong arguments");
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	long place = syscall(SYS_openat2, (int)directory, (const char *)path.at, &how, sizeof(how));
	struct stat what;
	char name[64];
	int fd;

	if (place < 0)
		return number(env, -errno);
	snprintf(name, sizeof(name), "/proc/self/fd/%ld", place);
	if (fstat((int)place, &what) != 0)
		fd = -errno;
	else if (!S_ISREG(what.st_mode))
		fd = S_ISDIR(what.st_mode) ? -EISDIR : -ENODEV;
	else if ((fd = open(name, (for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC)) < 0)
		fd = -errno;
	close((int)place);
	return number(env, fd);
}

/* Appends `more` bytes; false where there is no memory. */
static bool append(struct bytes *all, size_t *room, const void *more, size_t length)
{
	if (all->length + length > *room) {
		size_t larger = 2 * (all->length + length);
		unsigned char *grown = realloc(all->at, larger);

		if (grown == NULL)
			return false;
		all->at = grown;
		*room = larger;
	}
	memcpy(all->at + all->length, more, length);
	all->length += length;
	return true;
}

/* All extended attributes of an open file, names and values, in the file system's order: something to compare. */
static napi_value attributes(napi_env env, napi_callback_info info)
{
	/* Larger than what the kernel gives of either: XATTR_LIST_MAX, XATTR_SIZE_MAX. */
	static char names[65536], value[65536];
	napi_value argument, result = NULL;
	size_t given = 1, room = 0;
	uint64_t fd;
	struct bytes all = {NULL, 0};

	if (napi_get_cb_info(env, info, &given, &argument, NULL, NULL) != napi_ok || given != 1 ||
	    !get_count(env, argument, &fd))
		return refuse(env, "attributes: wrong arguments");
	ssize_t length = flistxattr((int)fd, names, sizeof(names));

	if (length < 0)
		return number(env, errno == ENOTSUP ? 0 : -errno);
	for (char *name = names; name < names + length; name += strlen(name) + 1) {
		ssize_t size = fgetxattr((int)fd, name, value, sizeof(value));
		uint32_t size_word = size < 0 ? UINT32_MAX : (uint32_t)size;

		if (!append(&all, &room, name, strlen(name) + 1) || !append(&all, &room, &size_word, sizeof(size_word)) ||
		    (size > 0 && !append(&all, &room, value, (size_t)size))) {
			free(all.at);
			return number(env, -ENOMEM);
		}
	}
	if (napi_create_buffer_copy(env, all.length, all.at, NULL, &result) != napi_ok)
		result = NULL;
	free(all.at);
	return result;
}

/* Node's own times are doubles, which do not hold nanoseconds. */
static napi_value set_modified(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	size_t given = 3;
	uint64_t fd, nanoseconds;
	int64_t seconds;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 3 ||
	    !get_count(env, arguments[0], &fd) || napi_get_value_int64(env, arguments[1], &seconds) != napi_ok ||
	    !get_count(env, arguments[2], &nanoseconds))
		return refuse(env, "setModified: wrong arguments");
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = (long)nanoseconds}};

	return number(env, futimens((int)fd, times) < 0 ? -errno : 0);
}

/* Gives back the room of ranges of a file, pairs of an offset and a length; they read as zeros, and it stays as long. */
static napi_value punch(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	size_t given = 3, length = 0;
	napi_typedarray_type type;
	uint64_t fd, numbers;
	double *ranges;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 3 ||
	    !get_count(env, arguments[0], &fd) || !get_count(env, arguments[2], &numbers) ||
	    napi_get_typedarray_info(env, arguments[1], &type, &length, (void **)&ranges, NULL, NULL) != napi_ok ||
	    type != napi_float64_array || numbers > length || numbers % 2 != 0)
		return refuse(env, "punch: wrong arguments");
	for (size_t at = 0; at < numbers; at += 2) {
		int result;

		do
			result = fallocate((int)fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)ranges[at],
					   (off_t)ranges[at + 1]);
		while (result < 0 && errno == EINTR);
		if (result < 0)
			return number(env, -errno);
	}
	return number(env, 0);
}

/* The CRC-32 of what came before and a buffer's bytes; -1 if this processor does it no faster than zlib. */
static napi_value crc32(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], result;
	size_t given = 2;
	struct bytes bytes;
	uint64_t seed;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given != 2 ||
	    !get_bytes(env, arguments[0], &bytes) || !get_count(env, arguments[1], &seed) || seed > UINT32_MAX)
		return refuse(env, "crc32: wrong arguments");
	double crc = crc_is_fast() ? crc_continued(bytes.at, bytes.length, (uint32_t)seed) : -1.0;

	return napi_create_double(env, crc, &result) == napi_ok ? result : NULL;
}

NAPI_MODULE_INIT()
{
	napi_property_descriptor functions[] = {
		{"compare", NULL, compare, NULL, NULL, NULL, napi_enumerable, NULL},
		{"digest", NULL, digest, NULL, NULL, NULL, napi_enumerable, NULL},
		{"scan", NULL, scan, NULL, NULL, NULL, napi_enumerable, NULL},
		{"seek", NULL, seek, NULL, NULL, NULL, napi_enumerable, NULL},
		{"openBeneath", NULL, open_beneath, NULL, NULL, NULL, napi_enumerable, NULL},
		{"attributes", NULL, attributes, NULL, NULL, NULL, napi_enumerable, NULL},
		{"setModified", NULL, set_modified, NULL, NULL, NULL, napi_enumerable, NULL},
		{"crc32", NULL, crc32, NULL, NULL, NULL, napi_enumerable, NULL},
		{"punch", NULL, punch, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	crc_prepare();
	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
	return exports;
}

/*
 * What the fault server and the agent say to each other, over a UNIX stream
 * socket. agent/src/post-copy/protocol.ts is the other end.
 *
 * A frame is a u32 type, a u32 length, and `length` bytes of payload. All
 * numbers are little endian, all addresses and pages are of 4096 bytes, a
 * "task" is a process by its pid inside the container's pid namespace, as in
 * the names of CRIU's images. Addresses are those of the images: the server
 * alone knows where in the copy they have gone since (mremap).
 *
 * agent to server
 *   RANGES  u32 task, u32 0, then (u64 start, u64 pages) each: memory that the
 *           copy will lack. Ascending, disjoint, in one or several frames for
 *           a task. Every task that CRIU will restore is named, if without
 *           ranges. Only before LISTEN; until then a new connection begins
 *           anew, with nothing.
 *   LISTEN  empty: all ranges are known. CRIU finds the server from now on.
 *           From now on everything survives the connection.
 *   PAGES   u32 task, u32 count (1..256), u64 start, then the pages. In any
 *           order; what is not missing (any more) is passed over. Before
 *           RESTORED only pages that a FAULT has asked for have an effect: of
 *           the others the mapping may not be there yet, and they stay missing.
 *   ZEROS   as RANGES: pages of which every byte is zero.
 *   END     empty: everything was sent. If pages are missing all the same, the
 *           server says which, by a STATE.
 *
 * server to agent
 *   STATE      u32 version, u32 flags (1 listening, 2 restored, 4 failed),
 *              u32 0, u32 number of tasks, u32 each: those that CRIU has handed
 *              over. First on every connection. REMAINING frames follow, then
 *              STATE_END. Faults that wait are told again after it.
 *   REMAINING  as RANGES: missing in at least one address space of that task.
 *   STATE_END  empty.
 *   TASK       i32 task: CRIU has handed it over; negative: a zombie, without
 *              memory.
 *   RESTORED   empty: CRIU is done with all tasks, pages may come.
 *   FAILED     empty: CRIU has gone without that. The server stays until the
 *              tasks are dead.
 *   FAULT      u32 task, u32 0, u64 address: a thread waits for this page.
 *              Once for each address and connection.
 *   DROPPED    as RANGES: nobody needs these any more.
 *   PROGRESS   u64 pages placed, u64 faults, u64 threads that wait now,
 *              u64 longest wait of a fault, u64 sum of the waits of those that
 *              are over (both in microseconds), u64 how many are over. Four
 *              times a second at most, when something has changed.
 *   TROUBLE    UTF-8: the kernel refuses pages; the container has been frozen,
 *              the server goes on trying. Told again on every connection.
 *   REFUSED    UTF-8: what the agent has said makes no sense. The server closes
 *              the connection.
 *   DONE       empty: nothing is missing anywhere. The server lets go of the
 *              memory and ends.
 *
 * When it ends it leaves a file beside its control socket, with ".outcome" at
 * the end of the name: "done", "failed" (the restore failed and its tasks are
 * gone) or "stopped" (by SIGTERM, with nothing to lose). If it was killed, both
 * processes at once, systemd sees to it that there is "killed" (after.c).
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1

enum {
	MSG_RANGES = 1,
	MSG_LISTEN = 2,
	MSG_PAGES = 3,
	MSG_ZEROS = 4,
	MSG_END = 5,

	MSG_STATE = 64,
	MSG_REMAINING = 65,
	MSG_STATE_END = 66,
	MSG_TASK = 67,
	MSG_RESTORED = 68,
	MSG_FAILED = 69,
	MSG_FAULT = 70,
	MSG_DROPPED = 71,
	MSG_PROGRESS = 72,
	MSG_TROUBLE = 73,
	MSG_REFUSED = 74,
	MSG_DONE = 75,
};

#define STATE_LISTENING 1
#define STATE_RESTORED 2
#define STATE_FAILED 4

#define PAGE_BYTES 4096ull
#define MAX_PAGES_PER_FRAME 256
/* Of every payload, either way. */
#define MAX_PAYLOAD_BYTES (16 + MAX_PAGES_PER_FRAME * PAGE_BYTES)

struct frame_head {
	uint32_t type;
	uint32_t length;
};

/* Head of RANGES, ZEROS, REMAINING, DROPPED. */
struct ranges_head {
	uint32_t task;
	uint32_t unused;
};

struct wire_range {
	uint64_t start;
	uint64_t pages;
};

struct pages_head {
	uint32_t task;
	uint32_t count;
	uint64_t start;
};

struct fault_message {
	uint32_t task;
	uint32_t unused;
	uint64_t address;
};

struct progress_message {
	uint64_t placed_pages;
	uint64_t faults;
	uint64_t waiting;
	uint64_t longest_wait_us;
	uint64_t waits_us;
	uint64_t waits_over;
};

#endif

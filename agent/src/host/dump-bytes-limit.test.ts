import { expect, test } from "vitest";
import {
  broughtBytes,
  dumpBytesLimit,
  sharedBytesLimit,
  sharedBytesOn,
  type ProcessMemory,
  processMemory,
} from "./dump-bytes-limit.ts";

const MAPS = `55d0c0000000-55d0c0021000 r-xp 00001000 fe:00 1234                       /usr/bin/server
7f0000000000-7f0000400000 rw-s 00000000 00:01 77                         /dev/zero (deleted)
7f0000400000-7f0000500000 rw-s 00400000 00:01 77                         /dev/zero (deleted)
7f0001000000-7f0001021000 rw-p 00000000 00:00 0                          [heap]
`;
const STATUS =
  "Name:\tserver\nVmRSS:\t    9000 kB\nRssAnon:\t     100 kB\nRssFile:\t    4000 kB\nRssShmem:\t    4900 kB\nVmSwap:\t      20 kB\n";

test("private pages, swapped ones too, and what is mapped of shared memory", () => {
  const memory = processMemory(STATUS, MAPS);
  expect(memory.privateBytes).toBe(120 * 1024);
  expect(memory.sharedBytes).toBe(4900 * 1024);
  expect([...memory.extents]).toEqual([
    ["fe:00 1234", 0x1000 + 0x21000],
    ["00:01 77", 0x500000],
  ]);
});

test("huge pages count with what is shared: a dump leaves none where it is, and maps tell how far they reach", () => {
  const memory = processMemory(`${STATUS}HugetlbPages:\t    2048 kB\n`, MAPS);
  expect(memory.sharedBytes).toBe((4900 + 2048) * 1024);
});

test("a process that has ended has nothing", () => {
  expect(dumpBytesLimit([processMemory("", "")])).toBe(0);
});

test("what all share counts once, as far as it reaches", () => {
  const backend: ProcessMemory = {
    privateBytes: 10,
    lockedBytes: 0,
    sharedBytes: 800,
    extents: new Map([["00:01 77", 1000]]),
  };
  expect(dumpBytesLimit([backend])).toBe(810);
  // Without the private 10 of each.
  expect(sharedBytesLimit([backend])).toBe(800);
  expect(dumpBytesLimit(Array.from({ length: 100 }, () => backend))).toBe(100 * 10 + 1000);
});

test("what a dump brings in any case: what is shared, what is locked, and all of some processes", () => {
  const plain: ProcessMemory = {
    privateBytes: 100,
    lockedBytes: 0,
    sharedBytes: 800,
    extents: new Map([["00:01 77", 1000]]),
  };
  const locked = { ...plain, lockedBytes: 30 };
  const allLocked = { ...plain, lockedBytes: 900 };
  expect(broughtBytes([plain, locked, allLocked, plain], (index) => index === 3)).toBe(1000 + 30 + 100 + 100);
});

test("of what is shared, what lies on a file system", () => {
  const extents = new Map([
    ["00:39 5", 300],
    ["00:01 77", 400],
  ]);
  const process: ProcessMemory = { privateBytes: 10, lockedBytes: 0, sharedBytes: 650, extents };
  expect(sharedBytesOn([process, process], new Set(["0:57"]))).toBe(300);
  expect(sharedBytesOn([{ ...process, sharedBytes: 100 }], new Set(["0:57"]))).toBe(100);
  expect(sharedBytesOn([process], new Set(["0:39"]))).toBe(0);
});

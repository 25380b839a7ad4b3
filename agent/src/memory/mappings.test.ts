import { expect, test } from "vitest";
import { mappingsFromTheFinalDump, readMappings } from "./mappings.ts";

const MAPS = `55f0a0000000-55f0a0021000 r--p 00000000 fd:00 1312                       /usr/bin/redis-server
55f0a1000000-55f0a1100000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000200000 rw-p 00000000 00:0f 77                         /anon_hugepage (deleted)
7f1000000000-7f1000010000 rw-s 00002000 00:01 4711                       /dev/zero (deleted)
7f1000100000-7f1000110000 rw-s 00000000 00:01 4712                       /memfd:x (deleted)
7f1000180000-7f1000190000 rw-p 00000000 00:0f 4714                       /memfd:y (deleted)
7f1000200000-7f1000210000 rw-s 00000000 00:01 4713                       /SYSV00000000 (deleted)
7f1000300000-7f1000310000 rw-s 00000000 fd:00 99                         /data/file
7fff00000000-7fff00021000 rw-p 00000000 00:00 0                          [stack]
7fff00030000-7fff00034000 r--p 00000000 00:00 0                          [vvar]
7fff00034000-7fff00036000 r-xp 00000000 00:00 0                          [vdso]
`;

test("private memory, that of files apart, and shared memory objects with their place in them", () => {
  expect(readMappings(MAPS)).toEqual([
    { kind: "private", start: 0x55f0a0000000, end: 0x55f0a0021000, file: true },
    { kind: "private", start: 0x55f0a1000000, end: 0x55f0a1100000, file: false },
    { kind: "shared", start: 0x7f1000000000, end: 0x7f1000010000, inode: 4711 },
    { kind: "shared", start: 0x7f1000100000, end: 0x7f1000110000, inode: 4712 },
    { kind: "private", start: 0x7fff00000000, end: 0x7fff00021000, file: false },
  ]);
});

test("huge pages that only the process has, and what may be some, are left to the final dump", () => {
  expect(mappingsFromTheFinalDump(MAPS)).toEqual([
    expect.objectContaining({ start: 0x7f0000000000, end: 0x7f0000200000 }),
    expect.objectContaining({ start: 0x7f1000180000, end: 0x7f1000190000 }),
  ]);
});

test("lines that are none are passed over", () => {
  expect(readMappings("")).toEqual([]);
  expect(readMappings("nonsense\n\n")).toEqual([]);
});

import { expect, test } from "vitest";
import { sharedMappings } from "./open-inodes.ts";

const MAPS = `7f0000000000-7f0000001000 rw-s 00000000 00:39 17                 /dev/shm/ring
7f0000002000-7f0000003000 r--s 00000000 00:39 18                 /dev/shm/only read now
7f0000004000-7f0000005000 rw-p 00000000 00:39 19                 /dev/shm/private
7f0000006000-7f0000007000 rw-s 00000000 00:3a 20                 /elsewhere
7f0000008000-7f0000009000 rw-s 00000000 00:39 21                 /dev/shm/gone (deleted)
7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0                  [stack]
`;

test("files of that file system that are mapped shared, writable or not", () => {
  expect(sharedMappings(MAPS, "0:57")).toEqual([17n, 18n, 21n]);
  expect(sharedMappings(MAPS, "0:58")).toEqual([20n]);
  expect(sharedMappings("", "0:57")).toEqual([]);
});

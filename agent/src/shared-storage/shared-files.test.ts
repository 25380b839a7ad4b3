import { expect, test } from "vitest";
import { writableMappings } from "./shared-files.ts";

test("files that are mapped shared and writable, as the kernel names them elsewhere", () => {
  const maps = `00400000-00401000 rw-s 00000000 00:3a 77                                 /data/with space
7f0000000000-7f0000001000 rw-p 00000000 00:3a 77                         /data/private
7f0000001000-7f0000002000 r--s 00000000 00:3a 77                         /data/read only
7f0000002000-7f0000003000 rw-s 00000000 00:01 5                          /dev/zero (deleted)
7f0000003000-7f0000004000 rw-s 00000000 00:00 0 
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
`;
  expect(writableMappings(maps)).toEqual([
    { range: "400000-401000", device: "0:58", path: "/data/with space" },
    { range: "7f0000002000-7f0000003000", device: "0:1", path: "/dev/zero (deleted)" },
  ]);
});

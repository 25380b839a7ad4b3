import { expect, test } from "vitest";
import { parseRecord } from "./scan.ts";

test("a record of find", () => {
  const record = "f 12 1700000000.1234567890 1700000001.0000000000 42 2 4755 1000 33 a dir/ lead\nnewline";
  expect(parseRecord(record)).toEqual({
    path: "a dir/ lead\nnewline",
    entry: {
      type: "file",
      sizeBytes: 12,
      mtimeNs: 1_700_000_000_123_456_789n,
      ctimeNs: 1_700_000_001_000_000_000n,
      inode: 42n,
      links: 2,
      mode: 0o4755,
      uid: 1000,
      gid: 33,
      device: 0n,
    },
  });
  expect(parseRecord("d 4096 -1.5000000000 1.0000000000 1 2 755 0 0 ").path).toBe("");
});

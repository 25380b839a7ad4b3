import { expect, it } from "vitest";
import { cpioArchive } from "./cpio.ts";

/** Reads the format by its definition: a head of 110 bytes, the name, the content, each padded to four bytes. */
function entriesOf(archive: Buffer): { name: string; mode: number; content: string }[] {
  const entries = [];
  const align = (offset: number) => Math.ceil(offset / 4) * 4;
  for (let offset = 0; offset < archive.length; ) {
    const field = (index: number) =>
      Number.parseInt(archive.toString("latin1", offset + 6 + 8 * index, offset + 14 + 8 * index), 16);
    expect(archive.toString("latin1", offset, offset + 6)).toBe("070701");
    const [mode, size, nameLength] = [field(1), field(6), field(11)];
    const content = align(offset + 110 + nameLength);
    const name = archive.toString("latin1", offset + 110, offset + 110 + nameLength - 1);
    entries.push({ name, mode, content: archive.toString("utf8", content, content + size) });
    offset = align(content + size);
  }
  return entries;
}

it("has every directory once, before what is in it, and ends with the trailer", () => {
  const archive = cpioArchive([
    { path: "/node/etc/hostname", content: "n1\n", mode: 0o644 },
    { path: "/node/etc/lab/key", content: "secret", mode: 0o600 },
    { path: "/init", content: "#!/bin/busybox sh\n", mode: 0o755 },
  ]);
  expect(archive.length % 4).toBe(0);
  expect(entriesOf(archive)).toEqual([
    { name: "node", mode: 0o40755, content: "" },
    { name: "node/etc", mode: 0o40755, content: "" },
    { name: "node/etc/lab", mode: 0o40755, content: "" },
    { name: "node/etc/hostname", mode: 0o100644, content: "n1\n" },
    { name: "node/etc/lab/key", mode: 0o100600, content: "secret" },
    { name: "init", mode: 0o100755, content: "#!/bin/busybox sh\n" },
    { name: "TRAILER!!!", mode: 0, content: "" },
  ]);
});

import { describe, expect, test } from "vitest";
import { isImageName, isSystemVMemoryImage } from "./image-names.ts";

describe("names of CRIU's images", () => {
  test.each([
    ["ipcns-shm-9.img", true],
    ["ipcns-sem-9.img", false],
    ["pages-9.img", false],
  ])("%s holds System V shared memory: %s", (name, expected) => {
    expect(isSystemVMemoryImage(name)).toBe(expected);
  });

  test.each(["inventory.img", "core-17.img", "tcp-stream-5c01.img", "tmpfs-dev-42.tar.gz", "ghost-file-1.img"])(
    "%s is a name of an image",
    (name) => {
      expect(isImageName(name)).toBe(true);
    },
  );

  test.each(["", ".", "..", ".img", "a/b.img", "../core-1.img", "core-1.img\0", "a".repeat(129)])(
    "%j is none",
    (name) => {
      expect(isImageName(name)).toBe(false);
    },
  );
});

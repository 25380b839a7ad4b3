import { expect, test } from "vitest";
import { upperOfMountCommand } from "./layer-directory.ts";

test.each([
  [
    "mount -t overlay overlay /mnt -o index=off,workdir=/var/lib/c/snapshots/11/work,upperdir=/var/lib/c/snapshots/11/fs,lowerdir=/a:/b\n",
    "/var/lib/c/snapshots/11/fs",
  ],
  ["mount -t bind /var/lib/c/snapshots/3/fs /mnt -o rw,rbind\n", "/var/lib/c/snapshots/3/fs"],
  ["mount -t overlay overlay /mnt -o lowerdir=/a:/b\n", undefined],
  ["", undefined],
])("the upper directory in %j", (words, upper) => {
  expect(upperOfMountCommand(words)).toBe(upper);
});

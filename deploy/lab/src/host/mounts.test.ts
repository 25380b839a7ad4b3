import { expect, it } from "vitest";
import { mountsBelow } from "./mounts.ts";

it("finds the mounts of a directory, deepest first, and none of its namesakes", () => {
  const mountinfo = [
    "22 1 254:0 / / rw - ext4 /dev/vda rw",
    "40 22 0:40 / /srv/lab rw - overlay overlay rw",
    "41 40 0:41 / /srv/lab/a\\040b rw - tmpfs tmpfs rw",
    "42 22 0:42 / /srv/lab2 rw - tmpfs tmpfs rw",
  ].join("\n");
  expect(mountsBelow(mountinfo, "/srv/lab")).toEqual(["/srv/lab/a b", "/srv/lab"]);
  expect(mountsBelow(mountinfo, "/srv/la")).toEqual([]);
});

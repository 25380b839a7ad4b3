import { expect, test } from "vitest";
import { parseMountinfo } from "./mountinfo.ts";

test("reads a line with propagation and an escaped path", () => {
  const [mount] = parseMountinfo(
    "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue\n",
  );
  expect(mount).toEqual({
    id: 36,
    parentId: 35,
    device: "98:0",
    root: "/mnt1",
    mountPoint: "/mnt 2",
    options: ["rw", "noatime"],
    propagation: ["shared:1", "master:2"],
    type: "ext3",
    source: "/dev/root",
    superOptions: ["rw", "errors=continue"],
  });
});

test("reads a line without optional fields and skips what is none", () => {
  const mounts = parseMountinfo("1 0 0:1 / / rw - overlay overlay rw,upperdir=/a/b\n\nnonsense\n");
  expect(mounts.map((mount) => mount.superOptions[1])).toEqual(["upperdir=/a/b"]);
});

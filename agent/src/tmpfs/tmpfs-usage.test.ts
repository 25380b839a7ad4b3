import { expect, test } from "vitest";
import { parseMountinfo } from "../host/mountinfo.ts";
import { ownTmpfs } from "./tmpfs-usage.ts";

const CONTAINER = parseMountinfo(
  [
    "100 90 0:50 / / rw - overlay overlay rw",
    "103 100 0:53 / /dev/shm rw - tmpfs shm rw,size=65536k",
    "105 100 0:55 / /cache rw - tmpfs tmpfs rw",
    "106 105 0:55 /part /again rw - tmpfs tmpfs rw",
    "107 100 0:20 /x /run/x rw - tmpfs tmpfs rw",
  ].join("\n"),
);
const HOST = parseMountinfo("20 1 0:20 / /run rw - tmpfs tmpfs rw");

test("each of the container's own once, none of the host's", () => {
  expect([...ownTmpfs(CONTAINER, HOST).keys()]).toEqual(["0:53", "0:55"]);
});

import { expect, test } from "vitest";
import { type Mount, parseMountinfo } from "../host/mountinfo.ts";
import { carriedTmpfs } from "./carried-tmpfs.ts";

const TABLE = parseMountinfo(
  [
    "100 90 0:50 / / rw - overlay overlay rw,upperdir=/u",
    "101 100 0:51 / /proc rw - proc proc rw",
    "102 100 0:52 / /dev rw - tmpfs tmpfs rw,size=65536k,mode=755",
    "103 102 0:53 / /dev/shm rw - tmpfs shm rw,size=65536k,inode64",
    "104 101 0:54 / /proc/acpi ro - tmpfs tmpfs ro",
    "105 100 0:55 / /cache rw,noexec - tmpfs tmpfs rw,size=524288k,nr_inodes=1000,mode=1770,uid=5,noswap",
  ].join("\n"),
);
const HOST = parseMountinfo("20 1 0:20 / /run rw - tmpfs tmpfs rw");

const mount = (mountPoint: string, device: string, root = "/"): Mount => ({
  ...(TABLE.at(-1) as Mount),
  id: 200,
  mountPoint,
  device,
  root,
  type: device.startsWith("8:") ? "ext4" : "tmpfs",
});
const carried = (...more: Mount[]) => carriedTmpfs([...TABLE, ...more], HOST).map(({ mountPoint }) => mountPoint);

test("those of the container, and not those that every container has", () => {
  expect(carriedTmpfs(TABLE, HOST)).toEqual([
    { mountPoint: "/dev/shm", device: "0:53", source: "shm", options: ["size=65536k"] },
    { mountPoint: "/cache", device: "0:55", source: "tmpfs", options: ["size=524288k", "nr_inodes=1000", "noswap"] },
  ]);
});

test.each([
  ["that the host has mounted too", mount("/run/host", "0:20")],
  ["of which a part is mounted", mount("/part", "0:60", "/sub")],
  ["whose name CRIU's configuration could not hold", mount("/with space", "0:61")],
  ["whose name would end the key", mount("/a]:b", "0:62")],
])("not one %s", (_what, other) => {
  expect(carried(other)).toEqual(["/dev/shm", "/cache"]);
});

test("not one that is mounted twice, or in which or over which something is mounted", () => {
  expect(carried(mount("/again", "0:55"))).toEqual(["/dev/shm"]);
  expect(carried(mount("/cache/volume", "8:1"))).toEqual(["/dev/shm"]);
  expect(carried(mount("/cache", "8:1"))).toEqual(["/dev/shm"]);
  expect(carried(mount("/cache2", "8:1"))).toEqual(["/dev/shm", "/cache"]);
});

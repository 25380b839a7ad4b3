import { expect, test } from "vitest";
import { mount } from "../preflight/checks/fact-fixtures.ts";
import { directoryOfVolume, isSharedStorage, sameStorage, storageOf } from "./storage.ts";

const mounts = [
  mount("/", "ext4", { source: "/dev/sda1" }),
  mount("/srv", "nfs4", { source: "10.0.0.5:/export", root: "/team" }),
];

test("storage under a directory", () => {
  expect(storageOf("/srv/data", mounts)).toEqual({
    fileSystem: "nfs4",
    source: "10.0.0.5:/export",
    path: "/team/data",
  });
  expect(storageOf("/srvx", mounts)).toEqual({ fileSystem: "ext4", source: "/dev/sda1", path: "/srvx" });
  expect(storageOf("/srv", mounts)?.path).toBe("/team");
});

test("an export that does not name its server, as Docker mounts it", () => {
  const volume = mount("/v", "nfs", { source: ":/export", superOptions: ["rw", "vers=3", "addr=10.0.0.5"] });
  expect(storageOf("/v", [volume])?.source).toBe("10.0.0.5:/export");
});

test("where a volume is that is a directory of the host, whether it is mounted or not", () => {
  const Mountpoint = "/var/lib/docker/volumes/v/_data";
  const volume = { Name: "v", Driver: "local", Mountpoint, Options: { type: "none", o: "bind", device: "/srv/v" } };
  expect(directoryOfVolume(volume, mounts)).toBe("/srv/v");
  expect(directoryOfVolume(volume, [...mounts, mount(Mountpoint, "nfs4")])).toBe(Mountpoint);
  expect(directoryOfVolume({ ...volume, Options: null }, mounts)).toBe(Mountpoint);
});

test("storage is the same only if shared, under one name, and one directory", () => {
  const disk = { fileSystem: "ext4", source: "/dev/sda1", path: "/x" };
  expect(sameStorage(disk, disk)).toBe(false);
  const gluster = { fileSystem: "fuse.glusterfs", source: "localhost:/v", path: "/d", inode: "7" };
  expect(isSharedStorage(gluster)).toBe(true);
  expect(sameStorage(gluster, { ...gluster })).toBe(true);
  expect(sameStorage(gluster, { ...gluster, source: "localhost:/w" })).toBe(false);
  expect(sameStorage(gluster, { ...gluster, path: "/e" })).toBe(false);
  expect(sameStorage(gluster, { ...gluster, inode: "8" })).toBe(false);
  const cifs = { ...gluster, fileSystem: "cifs" };
  expect(sameStorage(cifs, { ...cifs, inode: "8" })).toBe(true);
});

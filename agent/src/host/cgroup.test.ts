import { expect, test } from "vitest";
import { parseCgroupPath } from "./cgroup.ts";

const HYBRID = "9:name=systemd:/x\n6:freezer:/docker/abc\n4:cpu,cpuacct:/y\n0::/system.slice/docker-a:b.scope\n";

test("finds the unified path, colons included", () => {
  expect(parseCgroupPath(HYBRID, 2)).toBe("/system.slice/docker-a:b.scope");
});

test("finds the freezer's path of v1", () => {
  expect(parseCgroupPath(HYBRID, 1)).toBe("/docker/abc");
  expect(parseCgroupPath("1:net_cls,freezer:/z\n", 1)).toBe("/z");
});

test("says when there is none", () => {
  expect(parseCgroupPath("4:cpu:/y\n", 2)).toBeNull();
  expect(parseCgroupPath("", 1)).toBeNull();
});

import { expect, it } from "vitest";
import { mountYardsIn } from "./restore-mounts.ts";

it("finds each yard once", () => {
  const log = [
    "(00.031)      1: mnt: \tMounting overlay @/tmp/.criu.mntns.LN2JJx/9-0000000000/ (0)",
    "(00.032)      1: mnt: \tBind /tmp/.criu.mntns.LN2JJx/9-0000000000 to /tmp/.criu.mntns.LN2JJx",
    "(00.033)      1: Moving to /tmp/.criu.mntns.a1B2c3",
  ].join("\n");
  expect(mountYardsIn(log)).toEqual(["/tmp/.criu.mntns.LN2JJx", "/tmp/.criu.mntns.a1B2c3"]);
});

it("takes nothing else for one", () => {
  expect(mountYardsIn("/tmp/.criu.mntns. /tmp/.criu.mntns.abc /tmp/.criu.mntns.abcdefg /tmp/other")).toEqual([]);
});

import { expect, it } from "vitest";
import { parseMountinfo } from "../host/mountinfo.ts";
import { isAtWork, mountYardIn } from "./restore-mounts.ts";

const YARD = "/tmp/.criu.mntns.LN2JJx";

it("finds the yard where CRIU names it", () => {
  const log = [
    "(00.012893) mnt: \t\tWill mount 733 from /",
    `(00.012901) mnt: \t\tWill mount 733 @ ${YARD}/mnt-0000000733 /`,
    `(00.012932) mnt: \t\tWill mount 734 @ ${YARD}/mnt-0000000734 /proc`,
    `(00.031482)      1: mnt-v2: \tBind /x to ${YARD}/mnt-0000000733`,
  ].join("\n");
  expect(mountYardIn(log)).toBe(YARD);
});

it("takes no other text for a name of CRIU's", () => {
  const lines = [
    "",
    "(00.012901) Collected [tmp/.criu.mntns.aaaaaa/x] ID 0x9",
    "(00.012901) mnt: \t\tWill mount 9 @ /srv/mnt-0000000009 /tmp/.criu.mntns.aaaaaa/x",
    "(00.012901) Collected [srv/mnt: \t\tWill mount 9 @ /tmp/.criu.mntns.aaaaaa/x /] ID 0x9",
    "(00.012901) mnt: \t\tWill mount 9 @ /tmp/.criu.mntns.aaaaaab/x /",
  ];
  expect(mountYardIn(lines.join("\n"))).toBe(null);
});

it("guesses nothing when a file's name has put a line of its own into the log", () => {
  const log = [
    "(00.010001) Collected [srv/x",
    "(00.010001) mnt: \t\tWill mount 9 @ /tmp/.criu.mntns.aaaaaa/mnt-0000000009 /] ID 0x9",
    `(00.012901) mnt: \t\tWill mount 733 @ ${YARD}/mnt-0000000733 /`,
  ].join("\n");
  expect(() => mountYardIn(log)).toThrow(/names 2 mount yards/);
});

it("knows a yard that is worked on from the copies that spread from it", () => {
  const atWork = (...lines: string[]) => isAtWork(YARD, parseMountinfo(lines.join("\n")));
  expect(atWork(`71 30 0:61 / ${YARD} rw - tmpfs none rw`)).toBe(true);
  expect(atWork(`71 30 0:61 / ${YARD} rw shared:9 - tmpfs none rw`, `72 71 0:9 / ${YARD}/a rw - tmpfs none rw`)).toBe(
    true,
  );
  expect(atWork(`71 30 0:61 / ${YARD} rw shared:9 - tmpfs none rw`)).toBe(false);
  expect(atWork(`71 30 0:61 / ${YARD} rw master:9 - tmpfs none rw`)).toBe(false);
  expect(atWork("71 30 0:61 / /tmp/.criu.mntns.LN2JJxy rw - tmpfs none rw")).toBe(false);
});

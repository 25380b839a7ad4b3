import { expect, test } from "vitest";
import { knowsIgnoreCgroups, parseCriuVersion, parseRuncVersion } from "./versions.ts";

test("CRIU's version", () => {
  expect(parseCriuVersion("Version: 4.2.1\n")).toBe(40_201);
  expect(parseCriuVersion("Version: 4.2\nGitID: v4.2\n")).toBe(40_200);
  expect(parseCriuVersion("criu: not found")).toBe(0);
});

test("runc's version", () => {
  expect(parseRuncVersion("runc version 1.3.6+ds1-1\nspec: 1.2.1\n")).toBe("1.3.6");
  expect(parseRuncVersion("runc version 1.1.15+ds1\ncommit: 1\n")).toBe("1.1.15");
  expect(parseRuncVersion("crun version 1.2")).toBe("");
});

test("which runc knows to leave cgroups alone", () => {
  expect(knowsIgnoreCgroups("1.1.15")).toBe(false);
  expect(knowsIgnoreCgroups("1.2.0")).toBe(true);
  expect(knowsIgnoreCgroups("2.0.0")).toBe(true);
  expect(knowsIgnoreCgroups("")).toBe(false);
});

import { expect, test } from "vitest";
import { knowsIgnoreCgroups, objectionIn, parseCriuVersion, parseRuncVersion } from "./versions.ts";

test("CRIU's version", () => {
  expect(parseCriuVersion("Version: 4.2.1\n")).toBe(40_201);
  expect(parseCriuVersion("Version: 4.2\nGitID: v4.2\n")).toBe(40_200);
  expect(parseCriuVersion("criu: not found")).toBe(0);
});

test("what CRIU has against a kernel: the first error, not what it warns of", () => {
  const text = `criu ended with 1: Warn  (criu/cr-check.c:824): Dirty tracking is OFF. Memory snapshot will not work.
Error (criu/cr-check.c:236): Kernel doesn't support PTRACE_PEEKSIGINFO
Error (criu/cr-check.c:263): System call kcmp is not supported
Does not look good.`;
  expect(objectionIn(text)).toBe("Error (criu/cr-check.c:236): Kernel doesn't support PTRACE_PEEKSIGINFO");
  expect(objectionIn("criu ended with 139: no output")).toBe("criu ended with 139: no output");
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

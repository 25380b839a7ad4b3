import { expect, test } from "vitest";
import { faultAt, faultPoint } from "./fault-point.ts";

test("the first line that names the point and a known action counts", () => {
  const text = "# note\nsaga.before-commit bogus\nsaga.before-commit kill\n saga.after-commit   error \n";
  expect(faultAt("saga.before-commit", text)).toBe("kill");
  expect(faultAt("saga.after-commit", text)).toBe("error");
  expect(faultAt("saga.before", text)).toBeNull();
});

test("a build without faults passes every point", async () => {
  await faultPoint("saga.before-commit");
});

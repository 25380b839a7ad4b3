import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { unlessGone } from "./unless-gone.ts";

const failing = (code: string) => Promise.reject(Object.assign(new Error(code), { code }));

test("a process that lives is read", async () => {
  expect(await unlessGone(readFile(`/proc/${process.pid}/comm`, "utf8"))).not.toBe("");
});

test.each(["ENOENT", "ESRCH"])("%s means that it has ended", async (code) => {
  expect(await unlessGone(failing(code))).toBeUndefined();
});

test("anything else is a failure", async () => {
  await expect(unlessGone(failing("EACCES"))).rejects.toThrow("EACCES");
});

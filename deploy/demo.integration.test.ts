import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

function demo(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(join(import.meta.dirname, "demo"), args, { encoding: "utf8" });
  return { status, stdout, stderr };
}

test.each([[["--help"]], [["-h"]], [["--megabytes", "5", "--help"]]])("says how it is used: %j", (args) => {
  const { status, stdout, stderr } = demo(args);
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^usage: deploy\/demo .*--megabytes/);
});

test.each([[["--nope"]], [["--megabytes", "many"]], [["--megabytes"]], [["something"]]])(
  "wrong usage ends with exit code 2 before anything is begun: %j",
  (args) => {
    const { status, stdout, stderr } = demo(args);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^demo: .+\n {2}remedy: .+\n$/);
  },
);

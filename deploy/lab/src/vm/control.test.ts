import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { ControlKeys, controlPort, remoteCommand } from "./control.ts";

it("hands every argument over as it is, through a shell", () => {
  const argv = ["printf", "%s\\n", "", "a b", "it's", '$HOME "x" `id`', "line\nend", "*", "-n", "~"];
  const [words = ""] = remoteCommand(argv).split("--pdeathsig TERM ").slice(-1);
  const { stdout } = spawnSync("/bin/sh", ["-c", words], { encoding: "utf8" });
  expect(stdout).toBe(`${argv.slice(2).join("\n")}\n`);
});

it("trusts the lab's own keys only, and asks nobody", () => {
  const argv = new ControlKeys("/lab with blank/control").sshArgv(controlPort("abcdef-n1"), ["true"], false);
  expect(argv).toEqual(expect.arrayContaining(["-F", "none", "-T", "BatchMode=yes", "root@fe80::2%vc-abcdef-n1"]));
  expect(argv).toContain('UserKnownHostsFile="/lab with blank/control/known_hosts"');
  expect(argv[argv.indexOf("-i") + 1]).toBe("/lab with blank/control/host");
});

it("has a port whose name Linux takes", () => {
  expect(controlPort("abcdef-n8").length).toBeLessThan(16);
});

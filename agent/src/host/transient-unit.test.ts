import { expect, test } from "vitest";
import { transientUnitArgv } from "./transient-unit.ts";

test("systemd expands nothing of the command", () => {
  const argv = transientUnitArgv(["/bin/sh", "-c", "echo $HOME $$", "${PATH}"], { unit: "some" });
  expect(argv.slice(argv.indexOf("--"))).toEqual(["--", "/bin/sh", "-c", "echo $$HOME $$$$", "$${PATH}"]);
});

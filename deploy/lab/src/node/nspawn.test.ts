import { expect, it } from "vitest";
import { nspawnArgv } from "./nspawn.ts";

it("boots a machine on the lab's bridge with Docker's directories from the host", () => {
  const argv = nspawnArgv({
    machine: "abcdef-n1",
    hostname: "n1",
    root: "/lab/n1/root",
    bridge: "dl-abcdef",
    binds: { "/var/lib/docker": "/lab/n1/docker" },
  });
  expect(argv[0]).toBe("systemd-nspawn");
  expect(argv.at(-1)).toBe("--boot");
  expect(argv).toEqual(
    expect.arrayContaining([
      "--machine=abcdef-n1",
      "--hostname=n1",
      "--network-bridge=dl-abcdef",
      "--bind=/lab/n1/docker:/var/lib/docker",
      "--capability=all",
      "--keep-unit",
      "--register=no",
    ]),
  );
});

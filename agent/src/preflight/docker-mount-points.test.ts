import { expect, it } from "vitest";
import type { ContainerInspect } from "../docker/types.ts";
import { dockerMountPoints } from "./docker-mount-points.ts";

const ALWAYS = ["/sbin/docker-init", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];
const told = (part: object): string[] =>
  dockerMountPoints({ Mounts: [], HostConfig: {}, ...part } as never as ContainerInspect);

it("names what every container may have", () => {
  expect(told({})).toEqual(ALWAYS);
});

it("names mounts, tmpfs and masked paths as they were told", () => {
  const HostConfig = { Tmpfs: { "/var/run/app": "" }, MaskedPaths: ["/proc/kcore"], ReadonlyPaths: null };
  expect(told({ Mounts: [{ Type: "volume", Destination: "/data" }], HostConfig })).toEqual([
    ...["/data", "/var/run/app", "/proc/kcore"],
    ...ALWAYS,
  ]);
});

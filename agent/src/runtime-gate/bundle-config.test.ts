import { expect, test } from "vitest";
import { bindSourcesOf, criuRestoreConfig, patchBundleConfig } from "./bundle-config.ts";

const PATCH = { criuConfigPath: "/s/criu.conf", networkHookPath: "/s/network-hook", bindSources: new Map() };
const OURS = { path: "/s/network-hook", args: ["/s/network-hook"], timeout: 30 };

test("puts our hook first and keeps everything else", () => {
  const docker = { path: "/proc/85/exe", args: ["libnetwork-setkey"] };
  const config = { ociVersion: "1.2.1", annotations: { a: "b" }, hooks: { prestart: [docker], poststop: [] } };
  const patched = JSON.parse(patchBundleConfig(JSON.stringify(config), PATCH));
  expect(patched).toEqual({
    ociVersion: "1.2.1",
    mounts: [],
    annotations: { a: "b", "org.criu.config": "/s/criu.conf" },
    hooks: { prestart: [OURS, docker], poststop: [] },
  });
});

test("works without hooks and annotations, and twice", () => {
  const once = patchBundleConfig("{}", PATCH);
  expect(JSON.parse(once)).toEqual({
    mounts: [],
    annotations: { "org.criu.config": "/s/criu.conf" },
    hooks: { prestart: [OURS] },
  });
  expect(patchBundleConfig(once, PATCH)).toBe(once);
});

test("binds what the links of the host lead to, and touches no other mount", () => {
  const tmpfs = { destination: "/cache", type: "tmpfs", source: "tmpfs", options: ["nosuid"] };
  const init = { destination: "/sbin/docker-init", type: "bind", source: "/usr/bin/docker-init", options: ["ro"] };
  const data = { destination: "/data", type: "bind", source: "/srv/data", options: ["rbind"] };
  const json = JSON.stringify({ mounts: [tmpfs, init, data] });
  expect(bindSourcesOf(json)).toEqual(["/usr/bin/docker-init", "/srv/data"]);
  const bindSources = new Map([["/usr/bin/docker-init", "/usr/bin/tini-static"]]);
  expect(JSON.parse(patchBundleConfig(json, { ...PATCH, bindSources }))).toMatchObject({
    mounts: [tmpfs, { ...init, source: "/usr/bin/tini-static" }, data],
  });
});

test("refuses what is no OCI configuration", () => {
  for (const broken of [
    "[]",
    "1",
    '{"hooks":[]}',
    '{"hooks":{"prestart":{}}}',
    '{"annotations":"x"}',
    '{"mounts":[1]}',
  ]) {
    expect(() => patchBundleConfig(broken, PATCH)).toThrow("OCI specification");
  }
});

test("CRIU's configuration leaves cgroups alone and ends with the caller's lines", () => {
  const config = criuRestoreConfig("/s/criu-action", ["ghost-limit 5"]);
  expect(config).toContain("action-script /s/criu-action\nmanage-cgroups=ignore\n");
  expect(config.endsWith("ghost-limit 5\n")).toBe(true);
});

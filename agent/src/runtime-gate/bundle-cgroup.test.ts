import { expect, test } from "vitest";
import { cgroupOfPath } from "./bundle-cgroup.ts";

test.each([
  ["system.slice:docker:abc", "/system.slice/docker-abc.scope"],
  ["team-web.slice:docker:abc", "/team.slice/team-web.slice/docker-abc.scope"],
  ["-.slice:docker:abc", "/docker-abc.scope"],
  ["/docker/abc", "/docker/abc"],
  ["docker/abc", "/docker/abc"],
])("%s", (path, directory) => {
  expect(cgroupOfPath(path)).toBe(directory);
});

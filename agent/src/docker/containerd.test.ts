import { expect, test } from "vitest";
import { containerdNamespace } from "./containerd.ts";

test("Docker's namespace, and the one of each mapping of user ids", () => {
  const SecurityOptions = ["name=seccomp,profile=builtin", "name=cgroupns"];
  expect(containerdNamespace({ DockerRootDir: "/var/lib/docker", SecurityOptions })).toBe("moby");
  expect(containerdNamespace({ DockerRootDir: "/var/lib/docker", SecurityOptions: null })).toBe("moby");
  const mapped = { DockerRootDir: "/data/docker/165536.165536", SecurityOptions: [...SecurityOptions, "name=userns"] };
  expect(containerdNamespace(mapped)).toBe("moby-165536.165536");
});

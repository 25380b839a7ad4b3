import { expect, test } from "vitest";
import { parseRuncState } from "./runc-state.ts";

test("cgroup v2 and v1", () => {
  const unified = {
    init_process_pid: 42,
    cgroup_paths: { "": "/sys/fs/cgroup/system.slice/docker-x.scope" },
    external_descriptors: ["/dev/null", "pipe:[1]", "pipe:[2]"],
  };
  expect(parseRuncState(JSON.stringify(unified))).toEqual({
    initPid: 42,
    cgroup: "/sys/fs/cgroup/system.slice/docker-x.scope",
    descriptors: ["/dev/null", "pipe:[1]", "pipe:[2]"],
  });
  const split = { init_process_pid: 42, cgroup_paths: { freezer: "/sys/fs/cgroup/freezer/docker/x", cpu: "/y" } };
  expect(parseRuncState(JSON.stringify(split))).toEqual({
    initPid: 42,
    cgroup: "/sys/fs/cgroup/freezer/docker/x",
    descriptors: null,
  });
});

test("no pid, no container", () => {
  expect(parseRuncState('{"init_process_pid":0,"cgroup_paths":{"":"/x"}}')).toBeNull();
  expect(parseRuncState('{"init_process_pid":5}')).toBeNull();
});

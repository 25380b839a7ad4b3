import { expect, test } from "vitest";
import { type CopyFacts, faultOfCopy } from "./prepared-copy.ts";

const HOST = "pid:[1]";
const OWN = "pid:[2]";
const process = (pid: number, parentPid: number, pidNamespace: string) => ({ pid, parentPid, pidNamespace });
const GOOD: CopyFacts = {
  initPid: 100,
  frozen: true,
  inside: [100, 101, 102],
  processes: [
    process(1, 0, HOST),
    process(50, 1, HOST),
    process(100, 50, OWN),
    process(101, 100, OWN),
    process(102, 101, "pid:[3]"),
  ],
  hostPidNamespace: HOST,
};

test("a whole frozen copy is in order", () => {
  expect(faultOfCopy(GOOD)).toBeNull();
});

test("a zombie has no namespaces and does not count", () => {
  expect(faultOfCopy({ ...GOOD, inside: [...GOOD.inside, 103] })).toBeNull();
});

test.each<[string, Partial<CopyFacts>, RegExp]>([
  ["not frozen", { frozen: false }, /not frozen/],
  ["init elsewhere", { inside: [101, 102] }, /init \(100\) is not in/],
  ["init gone", { processes: GOOD.processes.filter(({ pid }) => pid !== 100) }, /init is gone/],
  ["a task outside", { inside: [100, 102] }, /process 101 of the container is outside/],
  ["a task of a nested namespace outside", { inside: [100, 101] }, /process 102 of the container is outside/],
  ["CRIU inside", { inside: [50, ...GOOD.inside] }, /process 50 of the host is in/],
])("%s", (_, change, fault) => {
  expect(faultOfCopy({ ...GOOD, ...change })).toMatch(fault);
});

import { expect, test } from "vitest";
import type { HostFactsSource } from "../host-facts/host-facts.ts";
import { shouldPlaceLater } from "./place-later.ts";

const host = (...criuFeatures: string[]) =>
  ({ current: async () => ({ facts: { criuFeatures } }) }) as unknown as HostFactsSource;
const MUCH = { postCopy: false, hadRounds: true, memoryBytes: 2 ** 30, limitBytes: null, repeatedShare: 0.01 };

test.each([
  ["much memory that came in rounds", host("uffd-noncoop"), MUCH, true],
  ["a post-copy, which has a fault server anyway", host("uffd-noncoop"), { ...MUCH, postCopy: true }, false],
  ["memory that comes in the switch alone", host("uffd-noncoop"), { ...MUCH, hadRounds: false }, false],
  ["little memory", host("uffd-noncoop"), { ...MUCH, memoryBytes: 2 ** 20 }, false],
  ["processes that share what they were forked with", host("uffd-noncoop"), { ...MUCH, repeatedShare: 0.5 }, false],
  [
    "more than the container may have, each page for each process",
    host("uffd-noncoop"),
    { ...MUCH, limitBytes: 2 ** 29 },
    false,
  ],
  ["less than the container may have", host("uffd-noncoop"), { ...MUCH, limitBytes: 2 ** 31 }, true],
  ["a CRIU or kernel that cannot", host("pidfd_store"), MUCH, false],
])("%s", async (_what, facts, what, expected) => {
  expect(await shouldPlaceLater(facts, what)).toBe(expected);
});

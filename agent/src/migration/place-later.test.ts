import { expect, test } from "vitest";
import type { HostFactsSource } from "../host-facts/host-facts.ts";
import { placesLater } from "./place-later.ts";

const host = (...criuFeatures: string[]) =>
  ({ current: async () => ({ facts: { criuFeatures } }) }) as unknown as HostFactsSource;
const MUCH = { postCopy: false, hadRounds: true, memoryBytes: 2 ** 30, repeatedShare: 0.01 };

test.each([
  ["much memory that came in rounds", host("uffd-noncoop"), MUCH, true],
  ["a post-copy, which has a fault server anyway", host("uffd-noncoop"), { ...MUCH, postCopy: true }, false],
  ["memory that comes in the switch alone", host("uffd-noncoop"), { ...MUCH, hadRounds: false }, false],
  ["little memory", host("uffd-noncoop"), { ...MUCH, memoryBytes: 2 ** 20 }, false],
  ["processes that share what they were forked with", host("uffd-noncoop"), { ...MUCH, repeatedShare: 0.5 }, false],
  ["a CRIU or kernel that cannot", host("pidfd_store"), MUCH, false],
])("%s", async (_what, facts, what, expected) => {
  expect(await placesLater(facts, what)).toBe(expected);
});

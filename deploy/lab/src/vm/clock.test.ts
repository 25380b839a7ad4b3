import { expect, it } from "vitest";
import { offsetMs } from "./clock.ts";

it("trusts the answer that took the shortest", () => {
  const samples = [
    { askedMs: 1000, answeredMs: 1400, nodeMs: 1900 },
    { askedMs: 2000, answeredMs: 2010, nodeMs: 2505 },
    { askedMs: 3000, answeredMs: 3100, nodeMs: 3500 },
  ];
  expect(offsetMs(samples)).toBe(500);
});

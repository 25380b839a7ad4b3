import { randomFillSync } from "node:crypto";
import { expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { REPEAT_REACH_PAGES } from "../memory-image/written-pages.ts";
import { DIGEST_BYTES } from "../native/addon.ts";
import { RepeatedPages } from "./repeated-pages.ts";

const page = randomFillSync(Buffer.alloc(PAGE_BYTES));
const digest = randomFillSync(Buffer.alloc(DIGEST_BYTES));
const uniform = Buffer.alloc(PAGE_BYTES, 7);

test("a page refers to the earliest with its content, as long as the other side remembers that", () => {
  const repeated = new RepeatedPages();
  repeated.begin();
  const take = () => repeated.take(page, 0, digest, 0);
  expect(take()).toBeUndefined();
  expect(take()).toBe(0);
  for (let count = 2; count < REPEAT_REACH_PAGES; count++) repeated.take(uniform, 0, digest, 0);
  expect(take()).toBe(0);
  // Out of reach: it goes once more, and is the one that others refer to.
  expect(take()).toBeUndefined();
  expect(take()).toBe(REPEAT_REACH_PAGES + 1);
});

import { expect, test } from "vitest";
import { notFound } from "./not-found.ts";

test("says of what there is none, and where to look", () => {
  expect(notFound("node", "n9")).toMatchObject({
    reason: "NOT_FOUND",
    message: 'no node "n9"',
    remedy: "List what there is with `dray node ls`.",
  });
});

import { expect, it } from "vitest";
import { Listing } from "./listing.ts";

it("waits until the containers are published", async () => {
  const published = Promise.withResolvers<void>();
  const listing = new Listing();
  listing.by(() => published.promise);
  let isUpToDate = false;
  const waiting = listing.upToDate().then(() => {
    isUpToDate = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(isUpToDate).toBe(false);
  published.resolve();
  await waiting;
});

it("keeps nobody waiting for a node that is not registered, for a failure, or for long", async () => {
  const listing = new Listing(10);
  await listing.upToDate();
  listing.by(() => Promise.reject(new Error("the lease is lost")));
  await listing.upToDate();
  listing.by(() => new Promise(() => undefined));
  await listing.upToDate();
  listing.by(undefined);
  await listing.upToDate();
});

import { expect, test } from "vitest";
import { PageFetch } from "./page-fetch.ts";

test("without a fault server, as after a restart of the host, nothing is taken from the images, and nothing fails", async () => {
  const troubles: string[] = [];
  const fetch = new PageFetch({
    place: { migrationId: "0123456789ab", controlSocket: "/nowhere" },
    images: async () => "/nowhere",
    onTrouble: (message) => troubles.push(message),
  });
  await expect(fetch.takeFromImages("/nowhere")).resolves.toBeUndefined();
  expect(troubles).toEqual([]);
  expect(fetch.standing).toBe("unknown");
});

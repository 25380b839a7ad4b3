import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openIdentities } from "./identities.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);
const UUID = "0f8fad5b-d9cb-469f-a165-70867728950e";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "drayage-identities-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("an identity is made once and kept", async () => {
  const identities = await openIdentities(directory);
  expect(await identities.find(A)).toBeUndefined();
  const uuid = await identities.identityOf(A);
  expect(await identities.identityOf(A)).toBe(uuid);
  expect(await identities.identityOf(B)).not.toBe(uuid);
  expect(await (await openIdentities(directory)).find(A)).toBe(uuid);
  expect(await identities.dockerIdOf(uuid)).toBe(A);
});

test("first sights at the same time agree", async () => {
  const identities = await openIdentities(directory);
  const uuids = await Promise.all(Array.from({ length: 20 }, () => identities.identityOf(A)));
  expect(new Set(uuids).size).toBe(1);
  expect(readdirSync(directory)).toEqual([A]);
});

test("a copy takes over the identity, and it can be forgotten", async () => {
  const identities = await openIdentities(directory);
  await identities.identityOf(A);
  await identities.adopt(A, UUID);
  expect(await identities.all()).toEqual(new Map([[A, UUID]]));
  await identities.forget(A);
  await identities.forget(A);
  expect(await identities.find(A)).toBeUndefined();
});

test("what a crash left is cleared, and damage is an error", async () => {
  writeFileSync(join(directory, ".new-1"), "half");
  writeFileSync(join(directory, A), "");
  const identities = await openIdentities(directory);
  expect(readdirSync(directory)).toEqual([A]);
  await expect(identities.identityOf(A)).rejects.toMatchObject({ reason: "INTERNAL" });
  await expect(identities.find("../etc/passwd")).rejects.toMatchObject({ reason: "BAD_REQUEST" });
});

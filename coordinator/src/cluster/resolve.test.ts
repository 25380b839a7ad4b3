import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { describe, expect, test } from "vitest";
import { inventoryRecord } from "../test-support/records.ts";
import { resolveContainer } from "./resolve.ts";

const redis = inventoryRecord({ uuid: "11111111-aaaa", dockerId: `ab12${"0".repeat(60)}`, name: "redis" });
const web = inventoryRecord({ uuid: "22222222-bbbb", dockerId: `ab34${"0".repeat(60)}`, name: "web" });
const all = [redis, web];
const nobody = () => undefined;

function reasonOf(run: () => unknown): string {
  try {
    run();
    return "none";
  } catch (thrown) {
    return thrown instanceof DrayError ? thrown.reason : String(thrown);
  }
}

describe("resolveContainer", () => {
  test.each(["redis", "/redis", redis.uuid, redis.dockerId, "ab12", "1111", "AB12"])("%s is redis", (text) => {
    expect(resolveContainer(text, all, nobody)).toBe(redis);
  });

  test("an exact name goes before prefixes", () => {
    const named = inventoryRecord({ uuid: "33333333-cccc", dockerId: "f".repeat(64), name: "ab" });
    expect(resolveContainer("ab", [...all, named], nobody)).toBe(named);
  });

  test("several are ambiguous, none are not found", () => {
    expect(reasonOf(() => resolveContainer("ab", all, nobody))).toBe("AMBIGUOUS");
    expect(reasonOf(() => resolveContainer("redis", [redis, { ...web, name: "redis", node: "n2" }], nobody))).toBe(
      "AMBIGUOUS",
    );
    expect(reasonOf(() => resolveContainer("nothing", all, nobody))).toBe("NOT_FOUND");
    expect(reasonOf(() => resolveContainer("", all, nobody))).toBe("NOT_FOUND");
    expect(reasonOf(() => resolveContainer("a", all, nobody))).toBe("NOT_FOUND");
  });

  test("in a migration the owner's entry counts", () => {
    const copy = { ...redis, node: "n2", dockerId: "c".repeat(64), state: "created" };
    const owner: OwnerRecord = { uuid: redis.uuid, node: "n2", epoch: 2, state: "running", migrationId: "m" };
    expect(resolveContainer("redis", [redis, copy], nobody)).toBe(redis);
    expect(resolveContainer("redis", [redis, copy], () => owner)).toBe(copy);
  });
});

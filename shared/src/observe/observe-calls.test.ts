import { expect, it } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { observeCalls } from "./observe-calls.ts";

class Port {
  readonly #secret = 7;
  async read(add: number) {
    return this.#secret + add;
  }
  async fail() {
    throw new DrayError("TIMEOUT", "too slow");
  }
  plain() {
    return this.#secret;
  }
}

it("reports each call when it settles and changes nothing else", async () => {
  const seen: [string, string][] = [];
  const port = observeCalls(new Port(), ["read", "fail"], (operation, seconds, code) => {
    expect(seconds).toBeGreaterThanOrEqual(0);
    seen.push([operation, code]);
  });
  expect(await port.read(1)).toBe(8);
  await expect(port.fail()).rejects.toThrow("too slow");
  expect(port.plain()).toBe(7);
  expect(seen).toEqual([
    ["read", "OK"],
    ["fail", "TIMEOUT"],
  ]);
});

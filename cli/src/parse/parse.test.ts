import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { Mode } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { parseConstraint } from "./constraint.ts";
import { parseDurationMs } from "./duration.ts";
import { MODES, modeName, parseMode } from "./mode.ts";
import { parseBytesPerSecond } from "./rate.ts";

const refused = expect.objectContaining({ reason: "BAD_REQUEST" });

describe("parseDurationMs", () => {
  it.each([
    ["300ms", 300],
    ["1s", 1_000],
    ["1.5s", 1_500],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["0.4ms1s", 1_000],
  ])("%s is %d ms", (text, expected) => expect(parseDurationMs(text)).toBe(expected));

  it.each(["", "5", "0s", "-1s", "1 s", "s", "1d", "1s!", "0.1ms", "2000h", "1s 2s", "١s"])("refuses %j", (text) =>
    expect(() => parseDurationMs(text)).toThrow(refused),
  );

  it.each([
    ["0s", "too short"],
    ["0.1ms", "too short"],
    ["2000h", "too long"],
    ["5", "not a duration"],
  ])("says of %s that it is %s", (text, what) => expect(() => parseDurationMs(text)).toThrow(what));

  it("takes every sum of units", () => {
    fc.assert(
      fc.property(fc.nat(99), fc.nat(59), fc.nat(59), fc.integer({ min: 1, max: 999 }), (h, m, s, ms) => {
        expect(parseDurationMs(`${h}h${m}m${s}s${ms}ms`)).toBe(((h * 60 + m) * 60 + s) * 1_000 + ms);
      }),
    );
  });
});

describe("parseBytesPerSecond", () => {
  it.each([
    ["1", 1],
    ["500M", 500e6],
    ["500MB/s", 500e6],
    ["1.5g", 1.5e9],
    ["64KiB", 65_536],
    ["1Gi", 2 ** 30],
    ["1gbit", 125e6],
    ["100Mbps", 100e6],
    ["8mbit/s", 1e6],
  ])("%s is %d bytes per second", (text, expected) => expect(parseBytesPerSecond(text)).toBe(expected));

  it.each(["", "0", "fast", "-1M", "1X", "1e9", "9999999T", "M", "4bit/m"])("refuses %j", (text) =>
    expect(() => parseBytesPerSecond(text)).toThrow(refused),
  );
});

test("a rate of nothing has its own words", () => expect(() => parseBytesPerSecond("0")).toThrow("moves nothing"));

describe("parseMode", () => {
  it("knows its own names", () => {
    for (const name of Object.keys(MODES)) expect(modeName(parseMode(name))).toBe(name);
    expect(modeName(Mode.MODE_UNSPECIFIED)).toBe("auto");
    expect(modeName(Mode.UNRECOGNIZED)).toBe("unknown");
    expect(() => parseMode("toString")).toThrow(refused);
  });
});

describe("parseConstraint", () => {
  it("takes labels and names", () => {
    expect(parseConstraint("node.labels.zone == b")).toBe("node.labels.zone==b");
    expect(parseConstraint("node.name!=n1")).toBe("node.name!=n1");
  });

  it.each(["zone==b", "node.labels.zone", "node.labels.zone=b", "node.labels.==b"])("refuses %j", (text) =>
    expect(() => parseConstraint(text)).toThrow(refused),
  );
});

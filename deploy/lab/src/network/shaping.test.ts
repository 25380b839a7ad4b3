import { describe, expect, it } from "vitest";
import { parseRate, shapeArgv } from "./shaping.ts";

describe("link rates", () => {
  it.each([
    ["1gbit", 1e9],
    ["100mbit", 1e8],
    ["1.5mbit", 1.5e6],
    ["512Kbit", 512e3],
    ["none", undefined],
  ])("%s", (text, bitsPerSecond) => {
    expect(parseRate(text)).toBe(bitsPerSecond);
  });

  it.each(["", "fast", "10", "-1mbit", "1gbps", "100bit"])("%j is refused", (text) => {
    expect(() => parseRate(text)).toThrow(/not a rate/);
  });

  it("become a token bucket with a burst that grows with the rate", () => {
    expect(shapeArgv("vb-x-n1", 1e9).join(" ")).toBe(
      "tc qdisc replace dev vb-x-n1 root tbf rate 1000000000bit burst 500000b latency 50ms",
    );
    expect(shapeArgv("vb-x-n1", 1e6)).toContain("131072b");
    expect(shapeArgv("vb-x-n1", undefined).slice(0, 3)).toEqual(["tc", "qdisc", "delete"]);
  });
});

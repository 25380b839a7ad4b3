import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatAddress, overlaps, parseNetwork } from "./cidr.ts";

const network = fc.record({
  address: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  prefixLength: fc.integer({ min: 0, max: 32 }),
});

describe("networks", () => {
  it("are read and written", () => {
    expect(parseNetwork("10.64.3.0/24")).toEqual({ address: 0x0a400300, prefixLength: 24 });
    expect(parseNetwork("192.0.2.7")).toEqual({ address: 0xc0000207, prefixLength: 32 });
    fc.assert(
      fc.property(network, ({ address, prefixLength }) => {
        expect(parseNetwork(`${formatAddress(address)}/${prefixLength}`)).toEqual({ address, prefixLength });
      }),
    );
  });

  it.each(["default", "10.0.0.0/33", "10.0.0.256/8", "10.0.0", "fd00::/8", ""])("are not %j", (text) => {
    expect(parseNetwork(text)).toBeUndefined();
  });

  it("overlap in either order, and always with themselves and with everything", () => {
    fc.assert(
      fc.property(network, network, (a, b) => {
        expect(overlaps(a, b)).toBe(overlaps(b, a));
        expect(overlaps(a, a)).toBe(true);
        expect(overlaps(a, { address: 0, prefixLength: 0 })).toBe(true);
      }),
    );
  });

  it("do not overlap with their neighbours", () => {
    const [a, b] = [parseNetwork("10.64.3.0/24"), parseNetwork("10.64.4.0/24")];
    expect(a !== undefined && b !== undefined && overlaps(a, b)).toBe(false);
  });
});

import { expect, it } from "vitest";
import { parsePlace } from "./exec.ts";

it("tells a path in a node from one on the host", () => {
  expect(parsePlace("n1:/etc/hosts")).toEqual({ node: "n1", path: "/etc/hosts" });
  expect(parsePlace("/tmp/a:b")).toEqual({ node: undefined, path: "/tmp/a:b" });
  expect(parsePlace("./x").node).toBeUndefined();
  expect(() => parsePlace("n1:etc/hosts")).toThrow(/absolute/);
});

import { expect, it } from "vitest";
import { quote } from "../cluster/client.ts";
import { labLayout } from "./layout.ts";

it.each(["", "../x", "A", "a b", "-x", "a".repeat(32)])("refuses %j as a name", (name) => {
  expect(() => labLayout(name)).toThrow(/not a name/);
});

it("quotes what a shell would take apart, and nothing else", () => {
  expect(quote("/a/b-c_d.e")).toBe("/a/b-c_d.e");
  expect(quote("/a b/it's")).toBe(`'/a b/it'\\''s'`);
});

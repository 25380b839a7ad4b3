import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layOutPairs, layOutTable } from "./table.ts";
import { fillTemplate, parseFormat } from "./template.ts";
import { showBytes, showDuration, showTime } from "./units.ts";

/** With all control characters of both blocks. */
const latin = fc.integer({ min: 0, max: 0x24f }).map((code) => String.fromCodePoint(code));

describe("layOutTable", () => {
  it("aligns and trims", () => {
    expect(
      layOutTable(
        ["NAME", "STATE"],
        [
          ["a", "ready"],
          ["longer", ""],
        ],
      ),
    ).toEqual(["NAME     STATE", "a        ready", "longer"]);
    expect(layOutTable(["NAME"], [])).toEqual(["NAME"]);
  });

  it("lets no cell break a line or move the cursor", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: latin }), fc.string()), { maxLength: 4 }), (rows) => {
        const lines = layOutTable(["A", "B"], rows);
        expect(lines).toHaveLength(rows.length + 1);
        expect(lines.join("")).not.toMatch(/\p{Cc}/u);
      }),
    );
  });
});

describe("layOutPairs", () => {
  it("aligns values", () =>
    expect(
      layOutPairs([
        ["id", "1"],
        ["source", "n1"],
      ]),
    ).toEqual(["id:      1", "source:  n1"]));
});

describe("a template", () => {
  const example = { name: "", host: { kernel: "" }, labels: {}, addresses: [""], rounds: [{ bytes: 0 }], n: 0 };
  const document = { ...example, name: "web", labels: { zone: "b" }, addresses: ["a"], n: 3 };
  it.each([
    ["{{.name}} in {{ .labels.zone }}", "web in b"],
    ["{{.addresses}}/{{.n}}", '["a"]/3'],
    ["{{.addresses.0}}{{.addresses.1}}", "a"],
    ["{{.labels.rack}}|{{.rounds.0.bytes}}|{{.rounds.7.bytes}}", "|0|"],
  ])("is filled: %s", (template, expected) =>
    expect(fillTemplate(parseFormat(template, example), document)).toBe(expected),
  );

  it("that asks below what is null, is told so", () =>
    expect(fillTemplate("{{.host.kernel}}", { ...document, host: null })).toBe("null"));

  it.each([
    ["{{name}}", "is not a field", "{{.name}} {{.host}}"],
    ["{{.nope}}", 'no field "nope"', "There are name, host, labels, addresses, rounds, n."],
    ["{{.host.nope}}", 'no field "host.nope"', "host has kernel."],
    ["{{.name.length}}", 'no field "name.length"', "name has nothing below it."],
    ["{{.rounds.first}}", 'no field "rounds.first"', "rounds has 0, 1 and so on below it."],
    ["{{.constructor}}", 'no field "constructor"', "There are name"],
    ["{{.name", "braces without their pair", "table, json, or a template"],
    ["{{.name}} {{", "braces without their pair", "table, json, or a template"],
    ["jsno", "has no field", "table, json, or a template"],
    ["", "has no field", "table, json, or a template"],
  ])("that cannot be filled is refused: %s", (template, message, remedy) =>
    expect(() => parseFormat(template, example)).toThrow(
      expect.objectContaining({
        reason: "BAD_REQUEST",
        message: expect.stringContaining(message),
        remedy: expect.stringContaining(remedy),
      }),
    ),
  );

  it("may always be one of the two words", () =>
    expect([parseFormat("table", example), parseFormat("json", example)]).toEqual(["table", "json"]));
});

describe("units", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1_000, "1.0 kB"],
    [999_600, "1.0 MB"],
    [214_000_000, "214 MB"],
    [1.02e9, "1.0 GB"],
  ])("%d bytes are %s", (bytes, expected) => expect(showBytes(bytes)).toBe(expected));

  it.each([
    [0, "0 ms"],
    [411.6, "412 ms"],
    [999.9, "1.00 s"],
    [12_345, "12.3 s"],
    [125_000, "2 min 5 s"],
    [12_000_000, "3 h 20 min"],
    [200_000_000, "2 d 8 h"],
  ])("%d ms are %s", (milliseconds, expected) => expect(showDuration(milliseconds)).toBe(expected));

  it("times are local", () => expect(showTime(new Date(2026, 4, 1, 14, 3, 22).getTime())).toBe("2026-05-01 14:03:22"));
});

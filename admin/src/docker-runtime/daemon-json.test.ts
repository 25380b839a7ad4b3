import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  explicitly,
  makeDefault,
  parseDaemonJson,
  register,
  retire,
  RUNTIME_PATH,
  undoDefault,
  unregister,
} from "./daemon-json.ts";
import { removeMember, setMember } from "./json-edit.ts";

const key = fc.oneof(
  fc.constantFrom("debug", "data-root", "log-opts", 'a"b', "ünï", "x\\"),
  fc.string({ maxLength: 6 }),
);
const document = fc.dictionary(key, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 }).chain((rest) =>
  fc
    .option(fc.dictionary(fc.string({ maxLength: 6 }), fc.record({ path: fc.string() }), { maxKeys: 3 }), {
      nil: undefined,
    })
    .map((runtimes) => (runtimes ? { ...rest, runtimes } : withoutKey(rest, "runtimes"))),
);
const spelling = fc.constantFrom<string | number | undefined>(undefined, 1, 2, 4, "\t");
const daemonJson = fc
  .tuple(document, spelling, fc.constantFrom("", "\n", "\r\n"), fc.constantFrom("", "\uFEFF", " "))
  .map(([value, indent, end, begin]) => begin + JSON.stringify(value, undefined, indent) + end);

describe("setMember and removeMember", () => {
  it("change that member alone", () => {
    fc.assert(
      fc.property(daemonJson, fc.jsonValue(), (text, value) => {
        const set = setMember(text, ["runtimes", "drayage"], value);
        const parsed = parse(text);
        const runtimes = typeof parsed.runtimes === "object" ? parsed.runtimes : {};
        expect(parse(set)).toEqual({
          ...parsed,
          runtimes: { ...runtimes, drayage: JSON.parse(JSON.stringify(value)) },
        });
        expect(parse(removeMember(set, ["runtimes", "drayage"])).runtimes).toEqual(
          withoutKey({ ...runtimes }, "drayage"),
        );
      }),
    );
  });

  it("keep every other byte", () => {
    const text =
      '{\n  "debug": true,\n  "max": 1e3, "big": 12345678901234567890,\n  "runtimes": {\n    "k": { "path": "/k" }\n  }\n}\n';
    expect(setMember(text, ["runtimes", "drayage"], { path: "/d" })).toBe(
      '{\n  "debug": true,\n  "max": 1e3, "big": 12345678901234567890,\n  "runtimes": {\n    "k": { "path": "/k" },\n    "drayage": {\n      "path": "/d"\n    }\n  }\n}\n',
    );
    expect(setMember('{\n\t"debug": true\n}', ["runtimes", "drayage"], 1)).toBe(
      '{\n\t"debug": true,\n\t"runtimes": {\n\t\t"drayage": 1\n\t}\n}',
    );
    expect(setMember('{"a":1}', ["b"], { c: 2 })).toBe('{"a":1,"b": {"c":2}}');
  });

  it("remove a key that stands twice", () => {
    expect(parse(removeMember('{"a":1,"b":2,"a":3}', ["a"]))).toEqual({ b: 2 });
  });
});

describe("register", () => {
  it("adds the runtime and nothing else", () => {
    fc.assert(
      fc.property(daemonJson, (text) => {
        const { text: after } = register(text, null);
        const before = parse(text);
        expect(parse(after)).toEqual({
          ...before,
          runtimes: { ...asObject(before.runtimes), drayage: { path: RUNTIME_PATH } },
        });
      }),
    );
  });

  it("is idempotent", () => {
    fc.assert(
      fc.property(fc.option(daemonJson), (text) => {
        const once = register(text, null);
        expect(register(once.text, once.state)).toEqual(once);
      }),
    );
  });

  it("makes a file where there is none, and an empty one counts as empty", () => {
    const expected =
      '{\n    "runtimes": {\n        "drayage": {\n            "path": "/usr/bin/drayage-runc"\n        }\n    }\n}\n';
    expect(register(null, null).text).toBe(expected);
    expect(register("\n", null).text).toBe(expected);
  });

  it.each(["{", "[]", "// comment\n{}", '{"runtimes": []}', '{"a": 1,}', "\u0000"])("refuses %j", (text) => {
    expect(() => register(text, null)).toThrow(expect.objectContaining({ reason: "BAD_CONFIG" }));
  });
});

describe("unregister", () => {
  it("gives back the same bytes when nobody else wrote", () => {
    fc.assert(
      fc.property(fc.option(daemonJson), fc.boolean(), fc.boolean(), (text, asDefault, retired) => {
        let current = register(text, null);
        if (asDefault) current = makeDefault(current.text, current.state);
        if (retired) {
          current = retire(current.text, current.state, "/usr/bin/runc");
          if (asDefault) current = register(current.text, current.state);
        }
        expect(unregister(current.text, current.state)).toBe(text);
      }),
    );
  });

  it("keeps what others changed meanwhile", () => {
    fc.assert(
      fc.property(daemonJson, fc.boolean(), (text, asDefault) => {
        let current = register(text, null);
        if (asDefault) current = makeDefault(current.text, current.state);
        const changed = setMember(setMember(current.text, ["their-own"], 1), ["runtimes", "theirs"], { path: "/t" });
        const undone = parse(unregister(changed, current.state) ?? "null");
        const before = parse(text);
        const { drayage, ...runtimes } = asObject(before.runtimes);
        const kept = drayage && asObject(drayage).path !== RUNTIME_PATH ? { drayage } : {};
        expect(undone).toEqual({
          ...before,
          "their-own": 1,
          runtimes: { ...runtimes, ...kept, theirs: { path: "/t" } },
        });
      }),
    );
  });

  it("never leaves a default that does not exist", () => {
    const { text, state } = register('{"debug": true}', null);
    const chosen = setMember(text, ["default-runtime"], "drayage");
    expect(parse(unregister(chosen, state) ?? "null")).toEqual({ debug: true });
  });

  it("puts a foreign entry of the same name back", () => {
    const { text, state } = register('{"runtimes": {"drayage": {"path": "/opt/x"}}}', null);
    const changed = setMember(text, ["debug"], true);
    expect(parse(unregister(changed, state) ?? "null").runtimes).toEqual({ drayage: { path: "/opt/x" } });
  });

  it("removes the file only if it made it and nothing else stands in it", () => {
    const made = register(null, null);
    expect(unregister(`${made.text} `, made.state)).toBeNull();
    expect(unregister(setMember(made.text, ["debug"], true), made.state)).not.toBeNull();
    const empty = register("{}", null);
    expect(unregister(`${empty.text} `, empty.state)).not.toBeNull();
  });
});

describe("an entry left from an earlier installation", () => {
  it("is taken up, and goes when Drayage goes", () => {
    const taken = register('{"debug":true,"runtimes":{"drayage":{"path":"/usr/bin/runc"}}}', null);
    expect(parse(taken.text).runtimes).toEqual({ drayage: { path: RUNTIME_PATH } });
    expect(parse(unregister(taken.text, taken.state) ?? "null")).toEqual({ debug: true });
  });
});

describe("retire", () => {
  it("points the name to plain runc, and registering takes it up again", () => {
    const registered = makeDefault(register('{"default-runtime": "crun"}', null).text, register("{}", null).state);
    const retired = retire(registered.text, registered.state, "/usr/bin/runc");
    expect(parse(retired.text)).toEqual({
      "default-runtime": "crun",
      runtimes: { drayage: { path: "/usr/bin/runc" } },
    });
    expect(parse(register(retired.text, null).text).runtimes).toEqual({ drayage: { path: RUNTIME_PATH } });
  });
});

describe("explicitly", () => {
  it("says what dockerd would otherwise keep", () => {
    expect(parse(explicitly(null, "drayage"))).toEqual({ runtimes: {}, "default-runtime": "runc" });
    expect(explicitly('{"runtimes":{},"default-runtime":"x"}', "drayage")).toBe(
      '{"runtimes":{},"default-runtime":"x"}',
    );
    expect(parse(explicitly('{"debug":true}', "runc"))).toEqual({ debug: true, runtimes: {} });
  });
});

describe("makeDefault", () => {
  it("is undone to what was there, unless somebody chose another", () => {
    const first = register('{"default-runtime": "crun"}', null);
    const chosen = makeDefault(first.text, first.state);
    expect(parse(chosen.text)["default-runtime"]).toBe("drayage");
    expect(undoDefault(chosen.text, chosen.state).text).toBe(first.text);
    const other = setMember(chosen.text, ["default-runtime"], "kata");
    expect(undoDefault(other, chosen.state).text).toBe(other);
  });
});

function parse(text: string): Record<string, unknown> {
  return { ...parseDaemonJson(text) };
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function withoutKey(value: Record<string, unknown>, key: string): Record<string, unknown> {
  const { [key]: _, ...rest } = value;
  return rest;
}

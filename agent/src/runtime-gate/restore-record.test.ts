import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeRecord, encodeRecord, RECORD_HEAD, type RestoreRecord } from "./restore-record.ts";
import type { SessionState } from "./session-state.ts";

const text = fc.string({ unit: "binary" });
const restore = fc.record({
  bundle: text,
  runcRoot: text,
  imageDirectory: text,
  workDirectory: text,
  claim: text,
  cgroup: text,
  argv: fc.array(text),
});
const copy = fc.record({
  initPid: fc.integer({ min: 1, max: 4_194_304 }),
  cgroup: text,
  tasks: fc.nat(),
  preparedAtMs: fc.nat(),
  startClaim: text,
});
const state: fc.Arbitrary<SessionState> = fc.oneof(
  fc.constant<SessionState>({ name: "armed" }),
  fc.record({ name: fc.constant("released" as const), restore }),
  fc.record({ name: fc.constant("prepared" as const), restore, copy }),
  fc.record({ name: fc.constant("committing" as const), restore, copy }),
  fc.record({ name: fc.constant("committed" as const), restore, copy, thawedAtMs: fc.nat() }),
  fc.record({
    name: fc.constant("failed" as const),
    reason: text,
    restore: fc.option(restore),
    copy: fc.option(copy),
  }),
);
const hex = (length: number) =>
  fc.array(fc.constantFrom(..."0123456789abcdef"), { minLength: length, maxLength: length }).map((all) => all.join(""));
const record: fc.Arbitrary<RestoreRecord> = fc.record({
  dockerId: hex(64),
  migrationId: hex(12),
  deadlineMs: fc.nat(),
  state,
});

test("what is written is read back", () => {
  fc.assert(
    fc.property(record, (each) => {
      expect(decodeRecord(encodeRecord(each))).toEqual(each);
    }),
  );
});

test("drayage-runc finds state, deadline and reason on lines of their own, whatever they hold", () => {
  fc.assert(
    fc.property(record, (each) => {
      const lines = encodeRecord(each).split("\n");
      expect(lines[0]).toBe(RECORD_HEAD);
      expect(lines[1]).toBe(`state ${each.state.name}`);
      expect(lines[2]).toBe(`deadline-ms ${each.deadlineMs}`);
      expect(lines.length).toBe(each.state.name === "failed" ? 6 : 5);
      expect(lines.at(-2)).toMatch(/^session /);
    }),
  );
});

test("refuses what is no record", () => {
  for (const broken of ["", "x", RECORD_HEAD, `${RECORD_HEAD}\nsession {}`, `${RECORD_HEAD}\nsession {`]) {
    expect(() => decodeRecord(broken)).toThrow("cannot be read");
  }
});

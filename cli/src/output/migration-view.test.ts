import { Migration, Outcome } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { expect, test } from "vitest";
import type { Terminal } from "../terminal.ts";
import { liveView } from "./live-view.ts";
import { endLine, phaseLines, phaseRows } from "./migration-view.ts";

const time = (name: string, startedAtMs: number, durationMs: number, node = "n1") => ({
  name,
  startedAtMs,
  durationMs,
  node,
});

test("phases stand by their beginning, and below each what the agents did in it", () => {
  const migration = Migration.fromPartial({
    startedAtMs: 1000,
    // As they ended.
    phases: [time("dump", 1300, 80, "n2"), time("sync", 1010, 200), time("switch", 1300, 1000)],
  });
  expect(phaseRows(migration)).toEqual([
    ["sync", "n1 (coordinator)", "+10 ms", "200 ms"],
    ["switch", "n1 (coordinator)", "+300 ms", "1.00 s"],
    ["  dump", "n2", "+300 ms", "80 ms"],
  ]);
});

test("the phase that runs now stands last", () => {
  const running = {
    phase: "switch",
    startedAtMs: 1000,
    phaseStartedAtMs: 1300,
    phases: [time("sync", 1010, 200)],
  };
  expect(phaseRows(Migration.fromPartial(running)).slice(1)).toEqual([["switch", "", "+300 ms", "runs"]]);
  // Between two phases, and after the last.
  const ended = { ...running, phases: [...running.phases, time("switch", 1300, 90)] };
  expect(phaseRows(Migration.fromPartial(ended))).toHaveLength(2);
  expect(phaseRows(Migration.fromPartial({ ...running, phase: "done" }))).toHaveLength(1);
});

test("a container that was moved in vain has stood still for as long as is known", () => {
  const rolledBack = { container: "web", source: "n1", outcome: Outcome.OUTCOME_ROLLED_BACK };
  expect(endLine(Migration.fromPartial(rolledBack))).toBe("web was not migrated; it runs on n1 as before");
  expect(endLine(Migration.fromPartial({ ...rolledBack, frozenMs: 0 }))).not.toContain("stood still");
  expect(endLine(Migration.fromPartial({ ...rolledBack, frozenMs: 412.4 }))).toBe(
    "web was not migrated; it runs on n1 as before, after it had stood still for 412 ms",
  );
});

test("what somebody called off has not failed", () => {
  const migration = Migration.fromPartial({
    phase: "abort",
    phases: [time("preflight", 1000, 10)],
    error: { reason: "CANCELLED", phase: "sync" },
  });
  expect(phaseLines(migration).map(({ name, state }) => `${name} ${state}`)).toEqual([
    "preflight done",
    "sync cancelled",
    "abort running",
  ]);
});

test("a log tells the end of a phase before the beginning of the next", () => {
  const told: string[] = [];
  const terminal = { canRedraw: false, note: (line: string) => told.push(line) } as unknown as Terminal;
  const view = liveView(terminal);
  const phases = ["preflight", "reserve", "sync", "switch"].map((name) => time(name, 0, 5));
  const at = (phase: string, more: typeof phases = []) =>
    view.update(Migration.fromPartial({ phase, phases: [...phases, ...more] }));
  at("commit");
  at("activate");
  at("activate", [time("commit", 0, 7)]);
  expect(told.slice(-3)).toEqual(["commit: begins", "commit: done in 7 ms", "activate: begins"]);
  at("finish", [time("commit", 0, 7)]);
  at("finish", [time("commit", 0, 7)]);
  expect(told.at(-1)).toBe("finish: begins");
});

test("a log tells what a roll-back waits for, once", () => {
  const told: string[] = [];
  const terminal = { canRedraw: false, note: (line: string) => told.push(line) } as unknown as Terminal;
  const view = liveView(terminal);
  const error = { reason: "TIMEOUT", phase: "sync" };
  const at = (message: string) =>
    view.update(Migration.fromPartial({ phase: "abort", error, progress: { step: "abort", message } }));
  at("");
  at("waits up to 30 s for n2");
  at("waits up to 30 s for n2");
  expect(told.slice(-2)).toEqual(["abort: begins", "abort: waits up to 30 s for n2"]);
});

test("a line of its own stands above what is redrawn", () => {
  let screen = "";
  const terminal: Terminal = {
    canRedraw: true,
    columns: 80,
    data: () => undefined,
    paint: (_, text) => text,
    note: (line) => {
      screen += `${line}\n`;
    },
    // What the erasing sequence does: so many lines up, and everything from there.
    raw: (text) => {
      const up = Number(/^.\[(\d+)A/.exec(text)?.[1] ?? 0);
      screen =
        up > 0
          ? `${screen
              .split("\n")
              .slice(0, -1 - up)
              .join("\n")}\n`.replace(/^\n$/, "")
          : screen + text;
    },
  };
  const view = liveView(terminal);
  view.update(Migration.fromPartial({ container: "web", phase: "sync" }));
  view.note("c1 does not answer");
  view.update(Migration.fromPartial({ container: "web", phase: "switch" }));
  const lines = screen.split("\n");
  expect(lines[0]).toBe("c1 does not answer");
  expect(lines.filter((line) => line.startsWith("web:"))).toHaveLength(1);
});

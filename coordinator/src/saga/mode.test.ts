import { OnStall } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { Mode } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { expect, test } from "vitest";
import { chooseMode, type ModeQuestion, preCopyOrder } from "./mode.ts";

const GIGABYTE = 1e9;
const question: ModeQuestion = {
  asked: Mode.MODE_AUTO,
  memoryBytes: GIGABYTE,
  bandwidthBytesPerSecond: 0,
  maxDowntimeMs: 0,
  noPostCopy: "",
};

test.each([
  ["little memory is copied while it stands still", { memoryBytes: 10e6 }, "stop-copy"],
  ["much is not: rounds show what follows", {}, "auto"],
  ["little is much over a slow line", { memoryBytes: 10e6, bandwidthBytesPerSecond: 1e6 }, "auto"],
  ["a cap above what is ordinary makes no line faster", { bandwidthBytesPerSecond: 10e9 }, "auto"],
  ["little is much when the downtime is to be short", { memoryBytes: 30e6, maxDowntimeMs: 100 }, "auto"],
  ["a wish is met on a slow line, too, which only rounds show", { memoryBytes: 65e6, maxDowntimeMs: 3000 }, "auto"],
  ["what even a slow line carries needs no rounds", { memoryBytes: 10e6, maxDowntimeMs: 3000 }, "stop-copy"],
  ["without userfaultfd there are rounds and no post-copy", { noPostCopy: "n2 lacks it" }, "pre-copy"],
] as const)("auto: %s", (_, more, mode) => {
  const choice = chooseMode({ ...question, ...more });
  expect(choice.mode).toBe(mode);
  // It says why, with the numbers.
  expect(choice.reason).toMatch(/\d+ MB of memory .*\d+ ms at an assumed \d+ MB\/s/);
});

test.each([
  [Mode.MODE_STOP_COPY, "stop-copy"],
  [Mode.MODE_PRE_COPY, "pre-copy"],
  [Mode.MODE_POST_COPY, "post-copy"],
  [Mode.MODE_HYBRID, "hybrid"],
] as const)("%s is done as asked for", (asked, mode) => {
  expect(chooseMode({ ...question, asked })).toEqual({ mode, reason: `${mode}: as asked for` });
});

test.each([Mode.MODE_POST_COPY, Mode.MODE_HYBRID])(
  "%s is refused where the destination cannot, with the reason",
  (asked) => {
    expect(() => chooseMode({ ...question, asked, noPostCopy: "CRIU on n2 lacks uffd-noncoop" })).toThrow(
      /CRIU on n2 lacks uffd-noncoop/,
    );
  },
);

test.each([
  ["stop-copy", 0, undefined],
  ["post-copy", 500, undefined],
  ["pre-copy", 0, OnStall.ON_STALL_SWITCH],
  ["pre-copy", 500, OnStall.ON_STALL_GIVE_UP],
  ["hybrid", 500, OnStall.ON_STALL_POST_COPY],
  ["auto", 0, OnStall.ON_STALL_POST_COPY],
] as const)("rounds of %s with %i ms: what follows when they bring nothing", (mode, maxDowntimeMs, onStall) => {
  expect(preCopyOrder({ mode, maxDowntimeMs, autoConverge: false })?.onStall).toBe(onStall);
});

import { expect, test } from "vitest";
import { chart, judge, markdown, summarise } from "./report.ts";

const samples = (extraMs: number) => {
  const runc = Array.from({ length: 21 }, (_, n) => 50 + n);
  return { runc, drayage: runc.map((ms) => ms + extraMs) };
};

test("the difference of the medians is judged, its limit excluded", () => {
  const line = summarise("the agent runs", samples(2));
  expect(line).toMatchObject({ runs: 21, runcMs: { value: 60 }, drayageMs: { value: 62 }, extraMs: { value: 2 } });
  expect(judge([line])).toMatchObject([{ reached: true }]);
  expect(judge([summarise("the agent runs", samples(3))])).toMatchObject([{ reached: false }]);
});

test("the table has a row for each condition", () => {
  const lines = [summarise("the agent runs", samples(1)), summarise("the agent is stopped", samples(4))];
  const table = markdown(lines, judge(lines));
  expect(table).toContain("| the agent runs | 60.00 ms");
  expect(table).toContain("- Missed: docker exec 4.00 ms");
  expect(chart(lines).match(/class="bar/g)).toHaveLength(4);
});

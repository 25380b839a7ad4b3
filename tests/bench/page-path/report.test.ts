import { expect, test } from "vitest";
import { chart, judge, markdown, type Sample, summarise, WAYS } from "./report.ts";

/** The page path at this share of a plain socket with 1000 MiB/s. */
function samples(share: number): Sample[] {
  return WAYS.flatMap((way) =>
    [0, 1, 2].map((round) => {
      const mibPerSecond = way.startsWith("page") ? 1000 * share : 1000;
      return {
        way,
        round,
        mibPerSecond,
        senderCpuMs: 900,
        senderMainCpuMs: 700,
        receiverCpuMs: 1200,
        receiverMainCpuMs: 800,
      };
    }),
  );
}

test("the goal is reached from its limit on", () => {
  expect(judge(summarise(samples(0.8)))).toMatchObject([{ reached: true }]);
  expect(judge(summarise(samples(0.79)))).toMatchObject([{ reached: false }]);
});

test("the table has a row for each way, the chart a bar", () => {
  const lines = summarise(samples(0.85));
  const table = markdown(lines, judge(lines));
  expect(table).toContain("| `node:tls` | thrown away | 1000 |  | 0.90 s, 0.70 s | 1.20 s, 0.80 s |");
  expect(table).toContain("| page path | written to tmpfs | 850 | 85 % (85 to 85) | 0.90 s, 0.70 s | 1.20 s, 0.80 s |");
  expect(table).toContain("- Reached: page path: 85 %");
  expect(chart(lines).match(/class="bar/g)).toHaveLength(4);
});

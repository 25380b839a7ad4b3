import { expect, test } from "vitest";
import { parseMetrics, sumOf } from "./prometheus.ts";

const TEXT = `# HELP drayage_migrations_total Migrations.
# TYPE drayage_migrations_total counter
drayage_migrations_total{outcome="completed",mode="stop-copy"} 3
drayage_migrations_total{outcome="rolled_back",mode="stop-copy"} 1
drayage_leader 1
odd{text="a \\"quoted\\" \\n, b"} +Inf
`;

test("reads names, labels and values", () => {
  const samples = parseMetrics(TEXT);
  expect(samples).toHaveLength(4);
  expect(samples[3]).toEqual({ name: "odd", labels: { text: 'a "quoted" \n, b' }, value: Number.POSITIVE_INFINITY });
  expect(sumOf(samples, "drayage_migrations_total")).toBe(4);
  expect(sumOf(samples, "drayage_migrations_total", { outcome: "completed" })).toBe(3);
  expect(sumOf(samples, "drayage_leader")).toBe(1);
  expect(() => parseMetrics("what is this")).toThrow("not a sample");
});

/** Reading metrics in Prometheus' text format. Pure, but for the one request. */
import type { TestLab } from "./test-lab.ts";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)",?/g;

/** Throws on a line that is neither a sample nor a comment. */
export function parseMetrics(text: string): Sample[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const match = LINE.exec(line);
      if (match === null) throw new Error(`not a sample: ${line}`);
      const [, name = "", labels = "", value = ""] = match;
      const pairs = [...labels.matchAll(LABEL)].map(([, key = "", quoted = ""]) => [key, unquoted(quoted)] as const);
      return { name, labels: Object.fromEntries(pairs), value: numberOf(value) };
    });
}

/** Sum over all samples of the name whose labels include these. */
export function sumOf(samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number {
  return samples
    .filter(
      (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0);
}

export async function metricsOf(lab: TestLab, node: string, part: "agent" | "coordinator"): Promise<Sample[]> {
  const port = part === "agent" ? 7402 : 7412;
  return parseMetrics(
    await lab.exec(node, ["curl", "--silent", "--show-error", "--fail", `http://127.0.0.1:${port}/metrics`]),
  );
}

function unquoted(quoted: string): string {
  return quoted.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
}

function numberOf(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}

/** Estimates as an SVG of horizontal bars with their intervals, in groups on one scale. Pure. */
import type { Estimate } from "./bootstrap.ts";

export interface Bar {
  readonly label: string;
  readonly estimate: Estimate;
  /** Drayage's own, not what it is compared with. */
  readonly isOurs: boolean;
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

export interface BarChart {
  readonly title: string;
  /** Linear from 0, logarithmic from the power of ten below the least. */
  readonly scale: "linear" | "logarithmic";
  readonly groups: readonly BarGroup[];
  /** What the axis and the bars say of a value. */
  readonly format: (value: number) => string;
}

interface Scale {
  /** Where the bars begin. */
  readonly from: number;
  readonly ticks: readonly number[];
  /** 0 to 1 from the beginning of the axis to its end. */
  readonly share: (value: number) => number;
}

const WIDTH = 760;
const LEFT = 170;
const RIGHT = 110;
const TOP = 56;
const BAR = 20;
const STEP = 30;
const GROUP_HEAD = 26;

const STYLE = [
  "text{font:13px system-ui,sans-serif;fill:#24292f}",
  ".head{font-weight:600}",
  ".note,.tick{font-size:11px;fill:#6e7781}",
  ".grid{stroke:#d0d7de}",
  ".bar{fill:#afb8c1}",
  ".bar.ours{fill:#0969da}",
  ".interval{stroke:#24292f;stroke-width:1.5}",
  "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.note,.tick{fill:#9198a1}.grid{stroke:#3d444d}.bar{fill:#656c76}.bar.ours{fill:#4493f8}.interval{stroke:#e6edf3}}",
].join("");

export function barChart({ title, scale: kind, groups, format }: BarChart): string {
  const estimates = groups.flatMap(({ bars }) => bars.map(({ estimate }) => estimate));
  const scale = kind === "linear" ? linear(estimates) : logarithmic(estimates);
  const x = (value: number) => LEFT + scale.share(value) * (WIDTH - LEFT - RIGHT);
  const body: string[] = [];
  let y = TOP;
  for (const group of groups) {
    body.push(`<text class="head" x="12" y="${y + 14}">${escapeText(group.title)}</text>`);
    y += GROUP_HEAD;
    for (const bar of group.bars) {
      body.push(...drawn(bar, y, x, x(scale.from), format));
      y += STEP;
    }
    y += 8;
  }
  const height = y + 12;
  const grid = scale.ticks.flatMap((value) => [
    `<line class="grid" x1="${round(x(value))}" x2="${round(x(value))}" y1="${TOP - 6}" y2="${height - 12}"/>`,
    `<text class="tick" text-anchor="middle" x="${round(x(value))}" y="${TOP - 12}">${escapeText(format(value))}</text>`,
  ]);
  const head = `<text class="head" x="12" y="20">${escapeText(title)}</text>`;
  const about = `median, 95 % interval${kind === "linear" ? "" : "; logarithmic"}`;
  const note = `<text class="note" x="${WIDTH - 12}" y="20" text-anchor="end">${about}</text>`;
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}><style>${STYLE}</style>\n${[head, note, ...grid, ...body].join("\n")}\n</svg>\n`;
}

/** "950 ms", "1.25 s", "12.5 s". */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(ms < 10_000 ? 2 : 1))} s`;
}

function logarithmic(estimates: readonly Estimate[]): Scale {
  const first = Math.floor(Math.log10(Math.min(...estimates.map(({ low }) => low))));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...estimates.map(({ high }) => high)))));
  return {
    from: 10 ** first,
    ticks: Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index)),
    share: (value) => (Math.log10(value) - first) / (last - first),
  };
}

function linear(estimates: readonly Estimate[]): Scale {
  const most = Math.max(...estimates.map(({ high }) => high));
  const raw = most / 4;
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = decade * ([1, 2, 5, 10].find((factor) => factor * decade >= raw) ?? 10);
  const steps = Math.ceil(most / step);
  return {
    from: 0,
    ticks: Array.from({ length: steps + 1 }, (_, index) => index * step),
    share: (value) => value / (steps * step),
  };
}

function drawn(
  { label, estimate, isOurs }: Bar,
  y: number,
  x: (value: number) => number,
  from: number,
  format: (value: number) => string,
): string[] {
  const { value, low, high } = estimate;
  const middle = y + BAR / 2;
  return [
    `<text x="${LEFT - 10}" y="${y + 15}" text-anchor="end">${escapeText(label)}</text>`,
    `<rect class="bar${isOurs ? " ours" : ""}" x="${round(from)}" y="${y}" width="${round(x(value) - from)}" height="${BAR}" rx="2"/>`,
    `<line class="interval" x1="${round(x(low))}" x2="${round(x(high))}" y1="${middle}" y2="${middle}"/>`,
    `<text x="${round(x(high) + 8)}" y="${y + 15}">${escapeText(format(value))}</text>`,
  ];
}

function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function round(value: number): string {
  return value.toFixed(1);
}

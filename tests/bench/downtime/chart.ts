/** Downtimes as an SVG of horizontal bars on a logarithmic scale, with their intervals. Pure. */
import type { Line } from "./report.ts";
import { isMode, type WayName } from "./way.ts";

const NAMES: Readonly<Record<WayName, string>> = {
  docker: "docker checkpoint",
  podman: "podman export/import",
  runc: "runc script",
  auto: "Drayage",
  "stop-copy": "Drayage stop-copy",
  "pre-copy": "Drayage pre-copy",
  hybrid: "Drayage hybrid",
  "post-copy": "Drayage post-copy",
};
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

export function chart(lines: readonly Line[]): string {
  const sizes = [...new Set(lines.map(({ megabytes }) => megabytes))];
  const longestMs = Math.max(...lines.map(({ downtimeMs }) => downtimeMs.high));
  const shortestMs = Math.min(...lines.map(({ downtimeMs }) => downtimeMs.low));
  const first = Math.floor(Math.log10(shortestMs));
  const last = Math.max(first + 1, Math.ceil(Math.log10(longestMs)));
  const x = (ms: number) => LEFT + ((Math.log10(ms) - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const body: string[] = [];
  let y = TOP;
  for (const megabytes of sizes) {
    body.push(`<text class="head" x="12" y="${y + 14}">Redis with ${megabytes} MB</text>`);
    y += GROUP_HEAD;
    for (const line of lines.filter((candidate) => candidate.megabytes === megabytes)) {
      body.push(...bar(line, y, x, first));
      y += STEP;
    }
    y += 8;
  }
  const height = y + 12;
  const decades = Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
  const grid = decades.flatMap((ms) => [
    `<line class="grid" x1="${round(x(ms))}" x2="${round(x(ms))}" y1="${TOP - 6}" y2="${height - 12}"/>`,
    `<text class="tick" text-anchor="middle" x="${round(x(ms))}" y="${TOP - 12}">${duration(ms)}</text>`,
  ]);
  const title = `<text class="head" x="12" y="20">Downtime of a move between two nodes</text>`;
  const note = `<text class="note" x="${WIDTH - 12}" y="20" text-anchor="end">median, 95 % interval; logarithmic</text>`;
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}><style>${STYLE}</style>\n${[title, note, ...grid, ...body].join("\n")}\n</svg>\n`;
}

function bar({ way, downtimeMs }: Line, y: number, x: (ms: number) => number, first: number): string[] {
  const from = x(10 ** first);
  const { value, low, high } = downtimeMs;
  const middle = y + BAR / 2;
  return [
    `<text x="${LEFT - 10}" y="${y + 15}" text-anchor="end">${NAMES[way]}</text>`,
    `<rect class="bar${isMode(way) ? " ours" : ""}" x="${round(from)}" y="${y}" width="${round(x(value) - from)}" height="${BAR}" rx="2"/>`,
    `<line class="interval" x1="${round(x(low))}" x2="${round(x(high))}" y1="${middle}" y2="${middle}"/>`,
    `<text x="${round(x(high) + 8)}" y="${y + 15}">${duration(value)}</text>`,
  ];
}

function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(ms < 10_000 ? 2 : 1))} s`;
}

function round(value: number): string {
  return value.toFixed(1);
}

/** What a layer of a hundred thousand files costs the process that scans, compares, packs and applies it. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const FILES = 100_000;
const MIB = 2 ** 20;
/** A Node that has done nothing yet takes about 90 of these. */
const PEAK_LIMIT_BYTES = 240 * MIB;

let base = "";
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "drayage-layer-memory-"));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

/** In a process of its own, so that the peak is that of the layer alone. */
const WHOLE_WAY = `
const [, layer, source, target] = process.argv;
const { applyLayer, diffLayer, EMPTY_MANIFEST, packLayer, scanLayer } = await import(layer);
const first = await scanLayer(source);
const all = diffLayer(EMPTY_MANIFEST, first);
await applyLayer({ kind: "upper", directory: target }, packLayer(source, all, { live: false }));
const second = await scanLayer(source);
const rest = diffLayer(first, second, new Set());
console.log(JSON.stringify({
  all: all.changed.length,
  rest: rest.changed.length,
  peakBytes: process.resourceUsage().maxRSS * 1024,
}));
`;

test("a hundred thousand files with long names", { timeout: 240_000 }, () => {
  const [source, target] = [join(base, "source"), join(base, "target")];
  mkdirSync(target, { recursive: true });
  const long = "d".repeat(60);
  for (let n = 0; n < 100; n++) mkdirSync(join(source, "data", long, `${n}`, long), { recursive: true });
  const names = Array.from({ length: FILES }, (_, n) => `data/${long}/${n % 100}/${long}/file-${n}-with-a-long-name\n`);
  execFileSync("xargs", ["touch", "--date=2020-01-01"], { cwd: source, input: names.join("") });
  const layer = new URL("./layer.ts", import.meta.url).href;
  const argv = ["--input-type=module", "--eval", WHOLE_WAY, layer, source, target];
  const answer = JSON.parse(execFileSync(process.execPath, argv, { encoding: "utf8" })) as Record<string, number>;
  // The root, data, the long directory, and 100 times two more.
  const everything = FILES + 3 + 200;
  expect(answer["all"]).toBe(everything);
  // They were made just now; what changed shortly before the first scan counts as changed.
  expect(answer["rest"]).toBeLessThanOrEqual(everything);
  const applied = execFileSync("find", [target, "-type", "f", "-printf", "."]).length;
  expect(applied).toBe(FILES);
  expect(answer["peakBytes"]).toBeLessThan(PEAK_LIMIT_BYTES);
});

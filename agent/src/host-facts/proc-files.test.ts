import { expect, test } from "vitest";
import { parseAppArmorProfiles, parseCpuFlags, parseMeminfo } from "./proc-files.ts";

test("cpu flags, x86 and arm64", () => {
  expect(parseCpuFlags("processor\t: 0\nflags\t\t: sse avx fpu sse\nbugs\t\t: x\nflags\t\t: other\n")).toEqual([
    "avx",
    "fpu",
    "sse",
  ]);
  expect(parseCpuFlags("Features\t: fp asimd\n")).toEqual(["asimd", "fp"]);
  expect(parseCpuFlags("")).toEqual([]);
});

test("memory", () => {
  const meminfo = "MemTotal:       24612880 kB\nMemFree:         1000 kB\nMemAvailable:   20000000 kB\n";
  expect(parseMeminfo(meminfo)).toEqual({ totalBytes: 24_612_880 * 1024, availableBytes: 20_000_000 * 1024 });
});

test("AppArmor profiles", () => {
  expect(parseAppArmorProfiles("docker-default (enforce)\n/usr/bin/with space (complain)\n")).toEqual([
    "docker-default",
    "/usr/bin/with space",
  ]);
});

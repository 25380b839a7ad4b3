/** Files of /proc and /sys that say what a host is. Pure. */

/** Sorted, each once. x86 calls them flags, arm64 features. */
export function parseCpuFlags(cpuinfo: string): string[] {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? "";
  return [...new Set(line.split(/\s+/).filter((flag) => flag !== ""))].sort();
}

export function parseMeminfo(meminfo: string): { readonly totalBytes: number; readonly availableBytes: number } {
  const field = (name: string): number => {
    const kibibytes = new RegExp(`^${name}:\\s+([0-9]+) kB$`, "m").exec(meminfo)?.[1];
    return kibibytes === undefined ? 0 : Number(kibibytes) * 1024;
  };
  return { totalBytes: field("MemTotal"), availableBytes: field("MemAvailable") };
}

/** Lines are "name (mode)"; names may hold spaces. */
export function parseAppArmorProfiles(profiles: string): string[] {
  return profiles.split("\n").flatMap((line) => {
    const name = /^(.*) \([a-z]+\)$/.exec(line)?.[1];
    return name === undefined ? [] : [name];
  });
}

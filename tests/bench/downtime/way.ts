/** One way to move a running Redis from the first node of the lab to the second. */
export interface Measurement {
  /** Milliseconds without service; `DOWNTIME` says how it is seen. */
  readonly downtimeMs: number;
  /** From the first command to the first reply at the new place, or the end of the last command if that is later. */
  readonly totalMs: number;
}

export interface Way {
  readonly name: WayName;
  /** Once, before all runs. */
  prepare(): Promise<void>;
  /** One run from a fresh Redis with that much data; calls `beforeMove` when all is ready for the move. Leaves nothing behind. */
  measure(megabytes: number, beforeMove: () => Promise<void>): Promise<Measurement>;
  /** Once, after all runs. */
  cleanUp(): Promise<void>;
}

/** Drayage's own: its modes. `auto` is what it does unless it is told otherwise. */
export const MODES = ["auto", "stop-copy", "pre-copy", "hybrid", "post-copy"] as const;
export type ModeName = (typeof MODES)[number];

export const WAYS = ["docker", "podman", "runc", ...MODES] as const;
export type WayName = (typeof WAYS)[number];

export function isMode(way: WayName): way is ModeName {
  return (MODES as readonly string[]).includes(way);
}

export const LABELS: Readonly<Record<WayName, string>> = {
  docker: "`docker checkpoint`, copy, `docker start --checkpoint`",
  podman: "`podman container checkpoint --export`, copy, `restore --import`",
  runc: "`runc checkpoint`, copy, `runc restore` in a script",
  auto: "`dray migrate`, the connection lives on",
  "stop-copy": "`dray migrate --mode stop-copy`, the same",
  "pre-copy": "`dray migrate --mode pre-copy`, the same",
  hybrid: "`dray migrate --mode hybrid`, the same",
  "post-copy": "`dray migrate --mode post-copy`, the same",
};

export const SHORT_LABELS: Readonly<Record<WayName, string>> = {
  docker: "docker checkpoint",
  podman: "podman export/import",
  runc: "runc script",
  auto: "Drayage",
  "stop-copy": "Drayage stop-copy",
  "pre-copy": "Drayage pre-copy",
  hybrid: "Drayage hybrid",
  "post-copy": "Drayage post-copy",
};

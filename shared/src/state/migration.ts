/** The durable record of a migration, written by the leader alone. */
import { z } from "zod";

/** Phases of the saga in order; `abort` replaces what remains after a failure. */
export const SAGA_PHASES = ["preflight", "reserve", "sync", "switch", "commit", "activate", "fetch", "finish"] as const;
export const MIGRATION_PHASES = [...SAGA_PHASES, "abort", "done"] as const;
export type MigrationPhase = (typeof MIGRATION_PHASES)[number];

export const OUTCOMES = ["completed", "rolled_back", "failed", "unknown"] as const;
export type MigrationOutcome = (typeof OUTCOMES)[number];

export const MODES = ["auto", "stop-copy", "pre-copy", "post-copy", "hybrid"] as const;
export type MigrationMode = (typeof MODES)[number];

export const PhaseTimeRecord = z.object({
  name: z.string(),
  startedAtMs: z.number(),
  durationMs: z.number(),
  node: z.string(),
});
export type PhaseTimeRecord = z.infer<typeof PhaseTimeRecord>;

export const RoundRecord = z.object({
  bytes: z.number(),
  pages: z.number(),
  durationMs: z.number(),
  dirtyBytes: z.number(),
  wireBytes: z.number().default(0),
  stillMs: z.number().default(0),
});
export type RoundRecord = z.infer<typeof RoundRecord>;

export const FindingRecord = z.object({
  code: z.string(),
  severity: z.enum(["note", "needs-flag", "blocking"]),
  node: z.string(),
  message: z.string(),
  remedy: z.string(),
  allowFlag: z.string(),
});
export type FindingRecord = z.infer<typeof FindingRecord>;

export const MigrationErrorRecord = z.object({
  reason: z.string(),
  message: z.string(),
  remedy: z.string(),
  phase: z.string(),
  node: z.string(),
});

export const MigrationRecord = z.object({
  id: z.string(),
  requestId: z.string(),
  containerUuid: z.string(),
  container: z.string(),
  sourceDockerId: z.string(),
  source: z.string(),
  destination: z.string(),
  mode: z.enum(MODES),
  /** Owner epoch E in which the switch happens. */
  epoch: z.number().int(),
  phase: z.enum(MIGRATION_PHASES),
  /** The leader's wall clock; null before the first that the saga runs. */
  phaseStartedAtMs: z.number().nullable().default(null),
  /** Absent while under way. */
  outcome: z.enum(OUTCOMES).nullable(),
  reason: z.string(),
  allowFlags: z.array(z.string()),
  timeoutMs: z.number(),
  bandwidthBytesPerSecond: z.number(),
  maxDowntimeMs: z.number(),
  autoConverge: z.boolean().default(false),
  startedAtMs: z.number(),
  /** The source node's wall clock at its network lock; what downtimeMs is counted from. */
  lockedAtMs: z.number().nullable().default(null),
  /** Thaw on the destination minus lock on the source: two wall clocks, off by their difference. */
  downtimeMs: z.number().nullable(),
  /** How long the container stood still on the source before it ran there again; null if that is not known. */
  frozenMs: z.number().nullable().default(null),
  totalMs: z.number().nullable(),
  rounds: z.array(RoundRecord),
  /** What was decided on the way, for people. */
  decisions: z.array(z.string()).default([]),
  /** The copy fetches private memory after it runs. Known before the switch. */
  postCopy: z.boolean().default(false),
  memoryBytes: z.number(),
  wireBytes: z.number(),
  phases: z.array(PhaseTimeRecord),
  findings: z.array(FindingRecord),
  error: MigrationErrorRecord.nullable(),
  cancelRequested: z.boolean(),
});
export type MigrationRecord = z.infer<typeof MigrationRecord>;

export const EventRecord = z.object({
  atMs: z.number(),
  type: z.string(),
  node: z.string(),
  container: z.string(),
  migrationId: z.string(),
  message: z.string(),
});
export type EventRecord = z.infer<typeof EventRecord>;

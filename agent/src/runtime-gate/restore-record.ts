/**
 * The restore record: lines of "name value" that drayage-runc reads (record.c),
 * the last of them everything that the agent needs to take the session up again.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { z } from "zod";
import type { SessionState } from "./session-state.ts";

export const RECORD_HEAD = "drayage-restore 1";
/** drayage-runc reads no more of it. */
const REASON_LIMIT = 1000;

const Released = z.object({
  bundle: z.string(),
  runcRoot: z.string(),
  imageDirectory: z.string(),
  workDirectory: z.string(),
  cgroup: z.string(),
  claim: z.string(),
  argv: z.array(z.string()),
});

const Copy = z.object({
  initPid: z.number().int().positive(),
  cgroup: z.string(),
  tasks: z.number().int(),
  preparedAtMs: z.number(),
  startClaim: z.string(),
});

const State: z.ZodType<SessionState> = z.discriminatedUnion("name", [
  z.object({ name: z.literal("armed") }),
  z.object({ name: z.literal("released"), restore: Released }),
  z.object({ name: z.literal("prepared"), restore: Released, copy: Copy }),
  z.object({ name: z.literal("committing"), restore: Released, copy: Copy }),
  z.object({ name: z.literal("committed"), restore: Released, copy: Copy, thawedAtMs: z.number() }),
  z.object({ name: z.literal("failed"), reason: z.string(), restore: Released.nullable(), copy: Copy.nullable() }),
]);

const Session = z.object({
  dockerId: z.string().regex(/^[0-9a-f]{64}$/),
  migrationId: z.string().regex(/^[0-9a-f]{1,32}$/),
  /** Boot-time clock after which `create` gives up, milliseconds. */
  deadlineMs: z.number().int().nonnegative(),
  state: State,
});

export interface RestoreRecord {
  readonly dockerId: string;
  readonly migrationId: string;
  readonly deadlineMs: number;
  readonly state: SessionState;
}

export function encodeRecord(record: RestoreRecord): string {
  const lines = [RECORD_HEAD, `state ${record.state.name}`, `deadline-ms ${record.deadlineMs}`];
  if (record.state.name === "failed") lines.push(`reason ${oneLine(record.state.reason)}`);
  lines.push(`session ${JSON.stringify(record)}`, "");
  return lines.join("\n");
}

/** Throws DrayError CORRUPT_STREAM if it is no record. */
export function decodeRecord(text: string): RestoreRecord {
  const lines = text.split("\n");
  const session = lines.find((line) => line.startsWith("session "));
  if (lines[0] !== RECORD_HEAD || session === undefined) throw broken(undefined);
  try {
    return Session.parse(JSON.parse(session.slice("session ".length)));
  } catch (cause) {
    throw broken(cause);
  }
}

function broken(cause: unknown): DrayError {
  return new DrayError("CORRUPT_STREAM", "a restore record cannot be read", {
    remedy: "Remove the container that it names, then the record.",
    cause,
  });
}

function oneLine(text: string): string {
  return text
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim()
    .slice(0, REASON_LIMIT);
}

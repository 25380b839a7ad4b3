/** What the journal holds of a migration, by role. */
import { z } from "zod";

const SOURCE_STATES = [
  "syncing",
  "synced",
  "switching",
  "sent",
  "finishing",
  "finished",
  "aborting",
  "aborted",
] as const;
export type SourceState = (typeof SOURCE_STATES)[number];

const DESTINATION_STATES = [
  "reserving",
  "reserved",
  "holding",
  "prepared",
  "activating",
  "fetching",
  "running",
  "finished",
  "declining",
  "aborting",
  "aborted",
] as const;
export type DestinationState = (typeof DESTINATION_STATES)[number];

const RestartPolicy = z.object({ Name: z.string(), MaximumRetryCount: z.number().int() });

const common = {
  migrationId: z.string(),
  uuid: z.string(),
  containerName: z.string(),
  /** Owner epoch E in which the migration runs. */
  epoch: z.number().int(),
  peerNode: z.string(),
  atMs: z.number(),
  /** Last error, for people; empty if none. */
  error: z.string(),
};

export const SourceEntry = z.object({
  ...common,
  role: z.literal("source"),
  state: z.enum(SOURCE_STATES),
  dockerId: z.string(),
  /** Known from the switch on; what unlocking needs. */
  frozen: z
    .object({
      pid: z.number().int(),
      macs: z.array(z.string()),
      restartPolicy: RestartPolicy,
      lockedAtMs: z.number(),
    })
    .nullable(),
  /** How the copy is reached that fetches its memory from here; null if everything was sent before. */
  postCopy: z
    .object({
      transferToken: z.string(),
      pageAddresses: z.array(z.string()),
      bandwidthBytesPerSecond: z.number(),
    })
    .nullable()
    .default(null),
  /** It was set going after its dump: what it has in memory is no more what its copy lacks. */
  ranOn: z.boolean().default(false),
  /** How long the container stood still before it ran here again; known when `aborted`. */
  frozenMs: z.number().default(0),
});
export type SourceEntry = z.infer<typeof SourceEntry>;

export const DestinationEntry = z.object({
  ...common,
  role: z.literal("destination"),
  state: z.enum(DESTINATION_STATES),
  /** Docker id of the copy; empty until it was created. */
  dockerId: z.string(),
  /** Policy to set when all is over. */
  restartPolicy: RestartPolicy,
  macs: z.array(z.string()),
  imageDirectory: z.string(),
  /** The source's description, JSON, for a restart in the middle. */
  descriptionJson: z.string(),
  thawedAtMs: z.number().nullable(),
  /** The copy fetches private memory after it runs: what the source shows when it comes to bring it. Null if it has all. */
  postCopy: z.object({ transferToken: z.string() }).nullable().default(null),
  /** All private memory is in the images, and is brought into the copy when that runs. */
  placesLater: z.boolean().default(false),
});
export type DestinationEntry = z.infer<typeof DestinationEntry>;

export const JournalEntry = z.discriminatedUnion("role", [SourceEntry, DestinationEntry]);
export type JournalEntry = z.infer<typeof JournalEntry>;

/** True if nothing remains to be done for this entry. */
export function isEnded(entry: JournalEntry): boolean {
  return entry.state === "finished" || entry.state === "aborted";
}

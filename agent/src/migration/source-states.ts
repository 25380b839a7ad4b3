/**
 * The states of the source's side of a migration, and the only ways from one
 * to the next.
 *
 *   syncing ──► synced ──► switching ──► sent ──────► finishing ──► finished
 *      │           │           │           │   verdict: committed and running
 *      └───────────┴───────────┴───────────┴──► aborting ──► aborted
 *                                   own transaction, or nothing entered
 *
 * From `switching` on the container is locked, then frozen; it runs again only
 * after this agent's own transaction on the owner key. In `sent` it stays
 * frozen until etcd says who owns it, however long that takes and whichever
 * process of the agent is asked.
 */
import type { SourceState } from "../journal/entry.ts";
import type { Transitions } from "../journal/transitions.ts";

export const SOURCE_TRANSITIONS: Transitions<SourceState> = {
  syncing: ["synced", "aborting"],
  synced: ["switching", "aborting"],
  switching: ["sent", "aborting"],
  sent: ["finishing", "aborting"],
  finishing: ["finished"],
  finished: [],
  aborting: ["aborted"],
  aborted: [],
};

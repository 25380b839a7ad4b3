/**
 * The states of the destination's side of a migration, and the only ways from
 * one to the next.
 *
 *                                          verdict: committed
 *                                                 ↓
 *   reserving ─► reserved ─► holding ─► prepared ─► activating ─► running ─► finished
 *       │            │          │          │            │            │
 *       └────────────┴──────────┴──────────┴────────────┴────────────┴─► aborting ─► aborted
 *                                   verdict: aborted (from prepared on), or any failure before
 *
 *   activating ─► fetching: thawed, and private memory is still with the source (post-copy)
 *   fetching ─► running: all of it is here
 *
 *   prepared ─► declining ─► aborting: committed, but the copy has died before it was thawed
 *   activating ─► declining: the same, seen by an agent that was restarted before the thaw
 *   activating ─► aborting, fetching ─► aborting: the copy is lost, and an operator has given up what it may have done
 *
 * In `prepared` a whole restored copy stands frozen; it is thawed only when
 * the owner key names this node, and killed only when it names the source.
 * Neither needs an order: the agent watches the key by itself.
 */
import type { DestinationState } from "../journal/entry.ts";
import type { Transitions } from "../journal/transitions.ts";

export const DESTINATION_TRANSITIONS: Transitions<DestinationState> = {
  reserving: ["reserved", "aborting"],
  reserved: ["holding", "aborting"],
  holding: ["prepared", "aborting"],
  prepared: ["activating", "declining", "aborting"],
  activating: ["running", "declining", "fetching", "aborting"],
  fetching: ["running", "aborting"],
  running: ["finished", "aborting"],
  finished: [],
  declining: ["aborting"],
  aborting: ["aborted"],
  aborted: [],
};

/** What the source's own transaction on the owner key allows. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { SourceEntry } from "../journal/entry.ts";
import type { Verdict } from "./ownership.ts";

export interface WayBack {
  /** The container may run on the source again; false if the commit had won. */
  readonly isOpen: boolean;
  /** Of the owner key by this verdict. */
  readonly epoch: number;
}

/** Reads the verdict that the transaction has brought. OUTCOME_UNKNOWN where only a person can find out. */
export function wayBackOf(verdict: Verdict, entry: SourceEntry, node: string): WayBack {
  const { state, containerName, epoch, peerNode } = entry;
  switch (verdict.kind) {
    case "committed":
      return { isOpen: false, epoch: verdict.epoch };
    case "superseded":
      throw new DrayError(
        "OUTCOME_UNKNOWN",
        `the owner of ${containerName} is at epoch ${verdict.epoch}, far from ${epoch}`,
        {
          remedy:
            "The container stays frozen here. Compare the owner in etcd with what runs, then remove the wrong copy by hand.",
        },
      );
    case "open":
      // The switch had been entered in etcd before anything was sent, so etcd has lost data: the copy may run.
      if (state === "sent" || state === "finishing") {
        throw new DrayError("OUTCOME_UNKNOWN", `etcd knows nothing of the switch of ${containerName}`, {
          node,
          remedy: `etcd was emptied or restored from a backup. The container stays frozen here; see whether its copy runs on ${peerNode} before you remove either.`,
        });
      }
      return { isOpen: true, epoch };
    case "aborted":
      return { isOpen: true, epoch: verdict.epoch };
  }
}

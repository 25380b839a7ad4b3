/** What a command says while no coordinator answers, and when one does again. Pure. */
import type { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { printable } from "./table.ts";
import { showDuration } from "./units.ts";

/** A coordinator that was connected. */
export interface Peer {
  readonly name: string;
  readonly address: string;
}

export type ConnectionNews =
  /** `from` is undefined when nobody had answered before. `trying` are addresses. */
  | {
      readonly kind: "lost";
      readonly from: Peer | undefined;
      readonly error: DrayError;
      readonly trying: readonly string[];
    }
  | { readonly kind: "waiting"; readonly forMs: number; readonly error: DrayError; readonly trying: readonly string[] }
  | { readonly kind: "back"; readonly to: Peer; readonly afterMs: number };

export function connectionLine(news: ConnectionNews): string {
  switch (news.kind) {
    case "lost": {
      const who = news.from === undefined ? "no coordinator answers" : `${showPeer(news.from)} does not answer`;
      return printable(`${who} (${news.error.message}); trying ${news.trying.join(", ")}`);
    }
    case "waiting": {
      const what = `still no coordinator after ${showDuration(news.forMs)}`;
      return printable(`${what} (${news.error.message}); trying ${news.trying.join(", ")}`);
    }
    case "back":
      return printable(`${showPeer(news.to)} answers, after ${showDuration(news.afterMs)}`);
  }
}

function showPeer({ name, address }: Peer): string {
  return `${name} (${address})`;
}

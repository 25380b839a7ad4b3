/** The container that an order names, by what etcd has now. */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import type { ClusterView } from "./view.ts";

export type FindView = Pick<ClusterView, "refresh" | "resolve" | "hasJustLost" | "nodes">;

/** A node whose agent only lost its lease, for example while etcd's members elected a leader, is back by then. */
const RETURN_MS = 10_000;
const RETRY_MS = 200;

/**
 * What `use` makes of the container, by what etcd has now. NOT_FOUND, AMBIGUOUS, and whatever `use` throws.
 *
 * That it is unknown now does not mean that there is none. What may be on a
 * node that was lost a moment ago is waited for, and what is on its way from
 * one node to another, too: where `use` throws `ContainerGone`, the view was
 * behind, and may know neither place for a moment.
 */
export async function withContainer<T>(
  view: FindView,
  text: string,
  signal: AbortSignal,
  use: (container: InventoryRecord) => Promise<T>,
): Promise<T> {
  const endsAtMs = performance.now() + RETURN_MS;
  let isMoving = false;
  for (;;) {
    await view.refresh(signal);
    let failure: unknown;
    const container = known(view, text, (thrown) => {
      failure = thrown;
      return isMoving || view.hasJustLost(RETURN_MS);
    });
    if (container !== undefined) {
      try {
        return await use(container);
      } catch (thrown) {
        if (!(thrown instanceof ContainerGone)) throw thrown;
        isMoving = true;
        failure = thrown;
      }
    }
    if (signal.aborted || performance.now() > endsAtMs) throw failure;
    await pauseAtMost(RETRY_MS, signal);
  }
}

/** Undefined if there is none, and `mayComeBack` says that it is worth waiting for. */
function known(view: FindView, text: string, mayComeBack: (thrown: DrayError) => boolean): InventoryRecord | undefined {
  try {
    return resolveKnown(view, text);
  } catch (thrown) {
    if (thrown instanceof DrayError && thrown.reason === "NOT_FOUND" && mayComeBack(thrown)) return undefined;
    throw thrown;
  }
}

/** The node where the view has a container says that it has none of that Docker id. NOT_FOUND. */
export class ContainerGone extends DrayError {
  constructor({ name, node }: InventoryRecord, cause: DrayError) {
    super("NOT_FOUND", `${name} is not on ${node} any more: ${cause.message}`, {
      remedy: "See where it is with `dray container ls --all`, and try again.",
      node,
      cause,
    });
  }
}

/** As `ClusterView.resolve`; where there is none, with the nodes that are down: what they have, nobody knows. */
export function resolveKnown(view: Pick<ClusterView, "resolve" | "nodes">, text: string): InventoryRecord {
  try {
    return view.resolve(text);
  } catch (thrown) {
    const down = view.nodes().flatMap(({ record, state }) => (state === "down" ? [record.name] : []));
    if (!(thrown instanceof DrayError) || thrown.reason !== "NOT_FOUND" || down.length === 0) throw thrown;
    throw new DrayError("NOT_FOUND", `${thrown.message}; what is on ${down.join(", ")}, which is down, is not known`, {
      remedy: `If it is there, bring its agent back: \`systemctl start drayage-agent\`. ${thrown.remedy}`,
      cause: thrown,
    });
  }
}

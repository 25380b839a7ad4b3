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
 * NOT_FOUND, AMBIGUOUS. A container that may be on a node which was lost a
 * moment ago is waited for: that it is unknown now does not mean that there is none.
 */
export async function findContainer(view: FindView, text: string, signal: AbortSignal): Promise<InventoryRecord> {
  const endsAtMs = performance.now() + RETURN_MS;
  for (;;) {
    await view.refresh(signal);
    try {
      return resolveKnown(view, text);
    } catch (thrown) {
      const mayComeBack = thrown instanceof DrayError && thrown.reason === "NOT_FOUND" && view.hasJustLost(RETURN_MS);
      if (!mayComeBack || signal.aborted || performance.now() > endsAtMs) throw thrown;
    }
    await pauseAtMost(RETRY_MS, signal);
  }
}

/**
 * What `use` makes of the container. Where it throws `ContainerGone`, the view
 * is read again: a node that was cut off publishes what it has later than it
 * has it. NOT_FOUND, AMBIGUOUS, and whatever `use` throws.
 */
export async function withContainer<T>(
  view: FindView,
  text: string,
  signal: AbortSignal,
  use: (container: InventoryRecord) => Promise<T>,
): Promise<T> {
  const endsAtMs = performance.now() + RETURN_MS;
  for (;;) {
    const container = await findContainer(view, text, signal);
    try {
      return await use(container);
    } catch (thrown) {
      if (!(thrown instanceof ContainerGone) || signal.aborted || performance.now() > endsAtMs) throw thrown;
    }
    await pauseAtMost(RETRY_MS, signal);
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

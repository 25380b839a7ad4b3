/** Reads an order's stream to its result. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Progress } from "@drayage/shared/gen/drayage/common/v1/progress.ts";

interface OrderMessage<R> {
  readonly progress: Progress | undefined;
  readonly result: R | undefined;
}

/** INTERNAL if the stream ends without a result. */
export async function drain<R>(
  stream: AsyncIterable<OrderMessage<R>>,
  node: string,
  onProgress: (progress: Progress) => void,
): Promise<NonNullable<R>> {
  let result: R | undefined;
  for await (const message of stream) {
    if (message.progress !== undefined) onProgress(message.progress);
    if (message.result !== undefined) result = message.result;
  }
  if (result === undefined || result === null)
    throw new DrayError("INTERNAL", `node ${node} ended an order without a result`, { node });
  return result;
}

/** Receiving end of a transfer. */
import { DrayError } from "../errors/dray-error.ts";
import type { TransferServer, TransferServerOptions } from "./transfer-types.ts";

export type * from "./transfer-types.ts";

/** Listens. */
export async function startTransferServer(options: TransferServerOptions): Promise<TransferServer> {
  throw new DrayError("BAD_CONFIG", `cannot listen on ${options.address}`);
}

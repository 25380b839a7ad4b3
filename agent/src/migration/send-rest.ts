/** What has changed of the container's files since they were sent, while it stands still. */
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { writtenPaths } from "../layer/layer.ts";
import type { Rest } from "../layer/sent-tree.ts";
import type { AgentHost } from "./agent-host.ts";
import type { Report } from "./joinable-run.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";
import type { SwitchTarget } from "./switch-target.ts";

export async function sendLayerRest(
  host: AgentHost,
  connection: TransferConnection,
  { layer, pid }: SwitchTarget,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const written = writtenPaths(pid, signal);
  // Awaited by the tree, when it has looked.
  written.catch(() => undefined);
  const rest = await layer.rest(() => written, signal);
  const file = { kind: TRANSFER_KINDS.layerRest, name: "layer-rest" };
  account(host, report, "layer-rest", rest, await connection.send(file, rest.content, { signal }));
}

/** One after the other: each is read by a tar of its own. */
export async function sendTmpfsRest(
  host: AgentHost,
  connection: TransferConnection,
  { tmpfs }: SwitchTarget,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  for (const each of tmpfs) {
    const { number, mount } = each;
    const rest = await each.rest(signal);
    const file = { kind: TRANSFER_KINDS.tmpfsRest, name: mount.mountPoint, metadata: { number } };
    account(host, report, "tmpfs-rest", rest, await connection.send(file, rest.content, { signal }));
  }
}

function account(
  host: AgentHost,
  report: Report,
  kind: "layer-rest" | "tmpfs-rest",
  { comparedFiles, comparedPages }: Rest,
  { bytes }: { readonly bytes: number },
): void {
  host.metrics.transferBytesTotal.inc({ direction: "sent", kind }, bytes);
  const message = comparedFiles === 0 ? "" : `${comparedFiles} files compared, ${comparedPages} pages of them sent`;
  report({ step: `send-${kind}`, doneBytes: bytes, totalBytes: bytes, message });
}

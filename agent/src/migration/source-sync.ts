/** What is sent while the container runs: its image, if the destination lacks it, its writable layer, and memory in rounds. */
import { Readable } from "node:stream";
import type { SyncRequest, SyncResult } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { DESCRIPTORS_IMAGE } from "../criu/image-names.ts";
import { exportImage } from "../image/image-transfer.ts";
import {
  diffLayer,
  EMPTY_MANIFEST,
  layerDirectory,
  packLayer,
  scanLayer,
  SentContents,
  writtenPaths,
} from "../layer/layer.ts";
import type { Report } from "./joinable-run.ts";
import { runPhase } from "./run-phase.ts";
import { preCopy } from "./source-pre-copy.ts";
import type { SourceContext } from "./source-context.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";

interface Sent {
  /** Of content. */
  readonly bytes: number;
  /** Compressed, as it went over the wire. */
  readonly wireBytes: number;
}

/** Postconditions: all has been delivered, the connection stays open for the switch, state `synced`. */
export async function syncSource(
  context: SourceContext,
  request: SyncRequest,
  report: Report,
  signal: AbortSignal,
): Promise<SyncResult> {
  const { phases, transfer, record } = context;
  const connection = await transfer.connect(request, signal);
  let image: Sent = { bytes: 0, wireBytes: 0 };
  if (request.sendImage)
    image = await runPhase(phases, "send-image", () => sendImage(context, connection, report, signal));
  const layer = await runPhase(phases, "send-layer", () => sendLayer(context, connection, report, signal));
  await sendDescriptors(context, connection, signal);
  const memory =
    request.preCopy === undefined ? undefined : await preCopy(context, connection, request.preCopy, report, signal);
  if (memory !== undefined) context.host.metrics.preCopyRounds.observe(memory.rounds.length);
  const { transferBytesTotal, transferWireBytesTotal } = context.host.metrics;
  transferBytesTotal.inc({ direction: "sent", kind: "image" }, image.bytes);
  transferBytesTotal.inc({ direction: "sent", kind: "layer" }, layer.bytes);
  transferWireBytesTotal.inc({ direction: "sent" }, connection.wireBytes);
  await record.transition("synced");
  return {
    imageBytes: image.wireBytes,
    layerBytes: layer.wireBytes,
    rounds: memory?.rounds ?? [],
    decisions: memory?.decisions ?? [],
    postCopy: memory?.postCopy ?? false,
  };
}

async function sendImage(
  { host, record }: SourceContext,
  connection: TransferConnection,
  report: Report,
  signal: AbortSignal,
): Promise<Sent> {
  const inspect = await host.docker.inspectContainer(record.entry.dockerId, { signal });
  const stream = await exportImage(host.docker, inspect.Image, signal);
  const wireBytesBefore = connection.wireBytes;
  const { bytes } = await connection.send({ kind: TRANSFER_KINDS.image, name: "image" }, stream, {
    signal,
    onProgress: (doneBytes) => report({ step: "send-image", doneBytes, totalBytes: 0, message: "" }),
  });
  return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
}

async function sendLayer(
  { host, record, transfer }: SourceContext,
  connection: TransferConnection,
  report: Report,
  signal: AbortSignal,
): Promise<Sent> {
  const { dockerId } = record.entry;
  const directory = await layerDirectory(host.docker, dockerId, signal);
  const manifest = await scanLayer(directory, signal);
  const { State } = await host.docker.inspectContainer(dockerId, { signal });
  const contents = new SentContents(directory, await writtenPaths(State.Pid, signal));
  const difference = diffLayer(EMPTY_MANIFEST, manifest);
  const wireBytesBefore = connection.wireBytes;
  const { bytes } = await connection.send(
    { kind: TRANSFER_KINDS.layer, name: "layer" },
    packLayer(directory, difference, { live: true, contents, signal }),
    {
      signal,
      onProgress: (doneBytes) =>
        report({ step: "send-layer", doneBytes, totalBytes: difference.changedBytes, message: "" }),
    },
  );
  transfer.baseline = manifest;
  transfer.contents = contents;
  return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
}

/** They stay as they are while the process lives, and the destination's runc asks for them before anything else. */
async function sendDescriptors(
  { container, transfer }: SourceContext,
  connection: TransferConnection,
  signal: AbortSignal,
): Promise<void> {
  const descriptors = await container.descriptors();
  const content = Readable.from([Buffer.from(descriptors)], { objectMode: false });
  await connection.send({ kind: TRANSFER_KINDS.criuImage, name: DESCRIPTORS_IMAGE }, content, { signal });
  transfer.descriptors = descriptors;
}
